"""The first half of a large import in a process of its own: it parses a chunk while the importer stores the last one.

| what happens | what follows |
|---|---|
| chunks are ready faster than they are stored | the worker waits: `MESSAGES_MAX` wait, and what the pipe holds |
| a log cannot be read, or not to its end | its last chunk says so |
| an identity file or a log format is wrong | the worker sends the error, and it is raised here |
| the worker is killed, or has a defect | `BridgeError`; what was stored before stays |
| the importer ends, for whatever reason | the worker is killed; if that cannot be, the broken pipe ends it |

It is a plain child with two pipes: no fork, which threads and SQLite would not bear. A message is its length and a
marshalled value: a chunk, an error (pickled), or None at the end. Both ends are this program, and marshal, which knows
plain values only, takes a third of the time of pickle.

Rows are counted (`store.tally`) by whoever has the time: here while a chunk still waits, be it in the pipe, else where
they are stored.
"""

import fcntl
import marshal
import os
import pickle
import signal
import subprocess
import sys
import termios
from array import array
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import fields
from operator import attrgetter
from queue import Queue
from threading import Thread
from typing import IO, TYPE_CHECKING, Any, Self

from tailtrace_bridge.core.errors import BridgeError
from tailtrace_bridge.core.records import RejectedLine

if TYPE_CHECKING:  # the worker is started first, and the importer loaded meanwhile
    from tailtrace_bridge.transfer.importer import Chunk, ImportJob

PIPE_BYTES = 1024 * 1024
"""Room for some chunks, so that neither side waits where the other is slow for a moment. Linux allows no more."""
MESSAGES_MAX = 1
"""Chunks that wait for the pipe; some MiB each."""
_LENGTH_BYTES = 8
_REJECTED_LINE = attrgetter(*(field.name for field in fields(RejectedLine)))


class ImportWorker:
    """A child process that does one `ImportJob`. Started before the job is known, it loads its code meanwhile."""

    def __init__(self) -> None:
        # -P: the folder that the user stands in, perhaps full of logs, is no place to load code from.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "tailtrace_bridge.transfer.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pipesize=PIPE_BYTES,
        )

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        with self._process:  # closes the pipes and waits
            pass

    def chunks(self, job: "ImportJob") -> "Iterator[Chunk]":
        """Do it there. Raises what the job raised, and `BridgeError` where the worker ends before its job."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # the other pipe will say that it ended
            _send(self._process.stdin, pickle.dumps(job))
        return self._chunks()

    def _chunks(self) -> "Iterator[Chunk]":
        process = self._process
        assert process.stdout is not None
        try:
            while (message := marshal.loads(_receive(process.stdout))) is not None:  # noqa: S302
                if isinstance(message, bytes):
                    raise pickle.loads(message)  # noqa: S301
                yield _unpacked(message)
        except EOFError:
            raise BridgeError(
                f"import: the process that reads the logs ended too early (exit status {process.wait()}); what was "
                "stored before stays, so run the import again"
            ) from None


def main() -> None:
    """Take a job from stdin, write its chunks to stdout, then None."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches both: the importer ends us
    from tailtrace_bridge.store.tally import tally  # noqa: PLC0415  # see above
    from tailtrace_bridge.transfer.importer import ImportJob, no_cycle_search  # noqa: PLC0415

    results = Sender(sys.stdout.buffer)
    try:
        job = pickle.loads(_receive(sys.stdin.buffer))  # noqa: S301
        assert isinstance(job, ImportJob)
        try:
            with no_cycle_search():
                for chunk in job.chunks():
                    counted = tally(chunk.columns) if results.is_behind else None
                    results.send(marshal.dumps(_packed(chunk._replace(counted=counted))))
            results.send(marshal.dumps(None))
        except BridgeError as error:
            results.send(marshal.dumps(pickle.dumps(error)))
    except EOFError:
        os._exit(1)  # the importer is gone: nobody is there to flush for
    results.close()


class Sender:
    """Writes messages to the pipe from a thread of its own: who makes them does not wait while the importer stores."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe
        self._messages: Queue[bytes | None] = Queue(MESSAGES_MAX)
        self._sent = self._written = 0
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def send(self, message: bytes) -> None:
        """Write it as soon as the pipe has room; waits where `MESSAGES_MAX` wait already."""
        self._sent += 1
        self._messages.put(message)

    @property
    def is_behind(self) -> bool:
        """Whether the importer has not taken all yet: it has enough to do."""
        return self._written < self._sent or _unread_bytes(self._pipe) > 0

    def close(self) -> None:
        """Wait until all is written."""
        self._messages.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (message := self._messages.get()) is not None:
            try:
                _send(self._pipe, message)
                self._written += 1
            except BrokenPipeError:
                os._exit(1)  # the importer is gone


def _unread_bytes(pipe: IO[bytes]) -> int:
    """Return what waits in a pipe. macOS does not tell it to the end that writes: 0."""
    count = array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, count)
    return count[0]


def _packed(chunk: "Chunk") -> tuple[Any, ...]:
    """Return a chunk in plain tuples, which is what marshal takes. It has no rows: nobody wants them from here."""
    from tailtrace_bridge.transfer.flat import flattened  # noqa: PLC0415

    columns, rejected_lines, *rest, understood, settled, counted, _ = chunk
    said = pickle.dumps(understood) if understood else None
    return (
        flattened(columns),
        list(map(_REJECTED_LINE, rejected_lines)),
        rest,
        said,
        settled,
        None if counted is None else tuple(counted),
    )


def _unpacked(message: tuple[Any, ...]) -> "Chunk":
    from tailtrace_bridge.store.tally import Tally  # noqa: PLC0415
    from tailtrace_bridge.transfer.flat import restored  # noqa: PLC0415
    from tailtrace_bridge.transfer.importer import Chunk  # noqa: PLC0415

    (
        columns,
        rejected_lines,
        (read_bytes, problem, numbers, note),
        said,
        settled,
        counted,
    ) = message
    return Chunk(
        restored(columns),
        [RejectedLine(*one) for one in rejected_lines],
        read_bytes,
        problem,
        numbers,
        note,
        () if said is None else pickle.loads(said),  # noqa: S301
        settled,
        None if counted is None else Tally(*counted),
    )


def _send(pipe: IO[bytes], data: bytes) -> None:
    pipe.write(len(data).to_bytes(_LENGTH_BYTES))
    pipe.write(data)
    pipe.flush()


def _receive(pipe: IO[bytes]) -> bytes:
    """Read a message. Raises `EOFError` where the pipe ends before it does."""
    return _whole(pipe, int.from_bytes(_whole(pipe, _LENGTH_BYTES)))


def _whole(pipe: IO[bytes], length: int) -> bytes:
    data = pipe.read(length)
    if len(data) < length:
        raise EOFError
    return data


if __name__ == "__main__":
    main()
