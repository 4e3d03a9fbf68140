"""Follow logs while nginx writes and logrotate moves them. Never blocks: `read()` gives what there is.

| what is seen | what is done |
|---|---|
| a log for the first time | read it from its start (or its end); rotated files are history, for `import` |
| a log with a saved position | read the rest of that generation, then each newer one, then the live file |
| an empty live file | not opened: what it was when its first line came is then asked of the whole folder |
| another inode under the name (rename) | the new file is read; the old one too, until quiet for `DRAIN_SECONDS`: |
|  | workers of nginx write on to it until they have reopened their log |
| the file shrank or begins otherwise (copytruncate) | the rest is read from the copy, then the live file |
| a rotated file that was neither history nor read yet | read, whatever its name or time says about its order |
| a file that is open, or was read, also as a copy or gzipped | not opened again |
| a line without its newline | waits for it; it is given when its file is done with |
| a file that is missing or cannot be read | one log line, an entry in `problems()`, tried on each read |

"Begins otherwise" is looked at after a chunk was read and before its lines are given: a truncation in between cannot
mix two generations.
"""

import glob
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Self

from tailtrace_bridge.core.errors import LogFileError, SettingsError
from tailtrace_bridge.logs.checkpoint import Checkpoint, Ledger, Position, TailLine
from tailtrace_bridge.logs.files import LINE_KEPT_MAX, LineSplitter, fingerprint, is_packed_file, unreadable
from tailtrace_bridge.logs.packed import Unpacker, chunks, is_gzip
from tailtrace_bridge.logs.rotation import (
    GENERATIONS_MAX,
    TO_THE_END,
    Generation,
    after,
    index_of,
    is_rotated_name,
    list_generations,
)

__all__ = ["Tail", "TailCounters", "TailLine"]

READ_BYTES_MAX = 1024 * 1024
"""Bytes that one `read()` takes, over all logs."""
CHUNK_BYTES = 64 * 1024
"""Bytes that one log gives before it is the next one's turn."""
LOGS_MAX = 256
"""Logs that a glob may name; those beyond are counted in `logs_skipped`."""
HELD_LINES_MAX = 200_000
"""Lines given and not acknowledged, above which `read()` gives no more; counted in `reads_held`."""
DRAIN_SECONDS = 10.0
LOOK_SECONDS = 1.0
"""After a change of its folder, a log is looked for this long: two changes in one tick have the same time."""
DRAINING_MAX = 8
"""Rotated files of one log that are open at once."""
DONE_MAX = 2 * GENERATIONS_MAX
"""Files of one log that are known to be done with; beyond it, those are forgotten that have not been seen for longest.
A look sees half as many, so that it forgets none of its own: there is nothing to count."""

_LOGGER = logging.getLogger(__name__)


@dataclass(slots=True)
class TailCounters:
    """What happened since the start."""

    lines: int = 0
    bytes: int = 0
    """Uncompressed."""
    lines_cut: int = 0
    """Lines of more than `LINE_LENGTH_MAX` bytes: their ends were skipped."""
    rotations: int = 0
    truncations: int = 0
    truncations_without_copy: int = 0
    """The rest of the old content was nowhere to be found."""
    positions_lost: int = 0
    """Saved places whose file is gone."""
    logs_skipped: int = 0
    reads_held: int = 0
    files_damaged: int = 0


class _TruncatedError(Exception):
    """The content changed under the reader."""


class _Source:
    """An open generation of a log."""

    def __init__(self, generation: Generation, offset: int) -> None:
        self.live = generation.live
        self.path = generation.path
        self.quiet_since: float | None = None
        self._file: BinaryIO = Path(generation.path).open("rb", buffering=0)  # noqa: SIM115 - closed by close()
        status = os.fstat(self._file.fileno())
        self.inode, self.mtime_ns = status.st_ino, status.st_mtime_ns
        self.written_ns = self.mtime_ns  # as of the last look
        self.splitter = LineSplitter(offset)
        self._seen: tuple[int, int] | None = None  # size and mtime when all was read
        self._unpacked: Iterator[bytes] | None = None
        self._skip_bytes = 0
        self._head = b""
        self._follows = False
        if is_packed_file(self._file.fileno()):
            # nginx appends a whole member at each flush (`access_log … gzip`): that one is followed as it grows.
            self._follows = generation.live and is_gzip(os.pread(self._file.fileno(), 2, 0))
            self._unpacked = self._followed() if self._follows else chunks(self._file, self.path)
            self._skip_bytes = offset
            self.fingerprint = generation.fingerprint
            if not self.fingerprint:
                self._file.close()  # no whole line in it yet
                raise _TruncatedError
        else:
            self._extend_head(os.pread(self._file.fileno(), LINE_KEPT_MAX, 0))
            self.fingerprint = fingerprint(self._head.removesuffix(b"\n")) if self._head_is_complete else 0
            if generation.live and generation.fingerprint not in {0, self.fingerprint}:
                self._file.close()  # emptied or replaced since it was listed
                raise _TruncatedError

    @property
    def _head_is_complete(self) -> bool:
        return self._head.endswith(b"\n") or len(self._head) >= LINE_KEPT_MAX

    def _extend_head(self, chunk: bytes) -> None:
        line, newline, _ = (self._head + chunk).partition(b"\n")
        self._head = (line + newline)[:LINE_KEPT_MAX]

    @property
    def position(self) -> Position:
        return Position(self.inode, self.fingerprint, self.splitter.offset, self.mtime_ns)

    def read_chunk(self) -> bytes:
        """Return the next bytes, or nothing for now. Raises `_TruncatedError`, or `LogFileError` for bad gzip."""
        if self._unpacked is not None:
            return self._read_unpacked(self._unpacked)
        descriptor = self._file.fileno()
        status = os.fstat(descriptor)
        now = (status.st_size, status.st_mtime_ns)
        self.written_ns = status.st_mtime_ns
        if now == self._seen and now[0] == self.splitter.scanned:
            return b""
        if status.st_size < self.splitter.scanned:
            raise _TruncatedError
        chunk = os.pread(descriptor, CHUNK_BYTES, self.splitter.scanned)
        if not self._head_is_complete:
            before = self._head
            self._extend_head(chunk[len(before) - self.splitter.scanned :])
            if os.pread(descriptor, len(self._head), 0) != self._head:
                self._head = before
                raise _TruncatedError
            if self._head_is_complete:
                self.fingerprint = fingerprint(self._head.removesuffix(b"\n"))
        elif os.pread(descriptor, len(self._head), 0) != self._head:
            raise _TruncatedError
        self._seen = now
        return chunk

    def _followed(self) -> Iterator[bytes]:
        """Return what is inside a gzipped log that grows, and nothing where there is nothing new."""
        unpacker, packed = Unpacker(self.path, "gzip"), 0
        while True:
            status = os.fstat(self._file.fileno())
            self.written_ns = status.st_mtime_ns
            if status.st_size < packed:
                raise _TruncatedError
            data = os.pread(self._file.fileno(), CHUNK_BYTES, packed)
            packed += len(data)
            if data:
                yield from unpacker.feed(data)
            else:
                yield b""

    def _read_unpacked(self, unpacked: Iterator[bytes]) -> bytes:
        for chunk in unpacked:
            if not chunk:
                break
            kept = chunk[self._skip_bytes :]
            self._skip_bytes = max(0, self._skip_bytes - len(chunk))
            if kept:
                return kept
        return b""

    @property
    def is_packed(self) -> bool:
        """Whether it is compressed, and so as long as it will ever be."""
        return self._unpacked is not None and not self._follows

    def close(self) -> None:
        self._file.close()


class _Log:
    """One log: its open generations, oldest first. The last of them is the newest that has been reached."""

    def __init__(self, file: str, tail: "Tail", saved: tuple[Position, ...], from_start: bool) -> None:
        self.file = file
        self.sources: list[_Source] = []
        self._tail = tail
        self._saved = saved
        self._from_start = from_start
        self._done: dict[tuple[int, int], None] = {}  # inode and fingerprint: history, or read to the end
        self._waiting: list[Position] = []  # places whose file could not be found or opened yet
        self._since_ns = 0  # what was last written before is history, also if it was not looked at
        self._is_started = False
        self._folder_seen_ns = 0
        self._look_until_s = 0.0

    def start(self, inode: int | None) -> None:
        """Find the place to read from; not before the live file, if there is one, can be read."""
        generations = list_generations(self.file, self._tail.say, self._saved)
        if inode is not None and not (generations and generations[-1].live):
            return
        if self._saved:
            self._resume(self._saved, generations)
        else:
            self._begin(generations, self._from_start)
        self._is_started = True
        self._tail.save()  # from here on a crash knows what was history

    def _resume(self, saved: tuple[Position, ...], generations: list[Generation]) -> None:
        self._since_ns = min(position.mtime_ns for position in saved)
        places: list[tuple[int, Position]] = []
        for position in saved:
            index = index_of(position, generations)
            if index is not None:
                places.append((index, position))
                continue
            self._tail.ledger.begin(self.file, position)
            self._tail.ledger.finished(self.file, position.fingerprint)
            if position.fingerprint:
                self._waiting.append(position)
                self._tail.counters.positions_lost += 1
                self._tail.lose(
                    self.file,
                    f"{self.file}: the file that was read last is not in its folder any more (moved, as `olddir` does, "
                    f"or removed), and what was written to it after byte {position.offset} is not read. "
                    "`tailtrace import FILE` with the rotated file, wherever it is now, puts it in; what is known "
                    "already is not stored twice.",
                )
        places.sort(key=lambda place: place[0])
        newer = after(places[-1][1] if places else saved[-1], generations)
        self._done_with(one for one in generations if one not in newer)
        for index, position in places:
            generation = generations[index]
            self._tail.ledger.begin(self.file, position)
            if position.offset == TO_THE_END:
                self._done_with([generation])
                self._tail.ledger.finished(self.file, position.fingerprint)
                continue
            self._done.pop((generation.inode, generation.fingerprint), None)
            if not self._open(generation, position.offset):
                self._waiting.append(position)
        self._tail.ledger.written(self.file, max(position.mtime_ns for position in saved))
        self._look_until_s = self._tail.clock() + LOOK_SECONDS

    def _done_with(self, generations: Iterable[Generation]) -> None:
        for generation in generations:
            self._done[generation.inode, generation.fingerprint] = None

    def _is_new(self, generation: Generation) -> bool:
        """Say whether a file has neither been read, nor is being read, nor is history.

        Under the log's name another inode is another file, even if it begins with the same line; beside it, the same
        first line means a copy, or the gzipped file.
        """
        if any(source.inode == generation.inode for source in self.sources):
            return False  # if it was emptied since, its reader sees that first
        if (generation.inode, generation.fingerprint) in self._done:
            return False
        if generation.live:
            return generation.size > 0
        known = {seed for _, seed in self._done} | {source.fingerprint for source in self.sources}
        is_history = generation.mtime_ns < self._since_ns and not self._offset(generation)
        return not is_history and generation.fingerprint not in known - {0}

    def _offset(self, generation: Generation) -> int:
        """Return where to begin with a new file: where a place waits for it, from there on."""
        for position in self._waiting:
            is_same = position.inode == generation.inode or not generation.live
            if is_same and index_of(position, [generation]) is not None:
                return position.offset
        return 0

    def _begin(self, generations: list[Generation], from_start: bool) -> None:
        live = generations[-1] if generations and generations[-1].live else None
        self._done_with(one for one in generations if not one.live)
        seed = live.fingerprint if live else 0
        known = [one for one in generations if not one.live and one.fingerprint and one.fingerprint != seed]
        anchor = Position(0, 0, 0, 0)
        if known:
            anchor = Position(known[-1].inode, known[-1].fingerprint, TO_THE_END, known[-1].mtime_ns)
        if live and seed and not from_start:
            anchor = Position(live.inode, seed, _end_of_last_line(live.path), live.mtime_ns)
            if not self._open(live, anchor.offset):
                self._waiting.append(anchor)
        self._since_ns = anchor.mtime_ns
        self._tail.ledger.begin(self.file, anchor)
        if not self.sources:
            self._tail.ledger.finished(self.file, anchor.fingerprint)
            if live and live.size:
                self._open(live, 0)

    def _open(self, generation: Generation, offset: int) -> bool:
        try:
            source = _Source(generation, offset)
        except FileNotFoundError:
            return False  # moved since it was listed; the next look finds it
        except _TruncatedError:
            return False
        except OSError as error:
            self._tail.say(generation.path, str(unreadable(generation.path, error)))
            return False
        left = [one for one in self._waiting if index_of(one, [generation]) is None]
        if len(left) < len(self._waiting) and not left:
            self._tail.found(self.file)
        self._waiting = left
        self.sources.append(source)
        self.sources.sort(key=lambda one: one.live)  # stable: an older file found late comes before the live one
        if source.fingerprint:
            self._tail.ledger.begin(self.file, source.position)
        return True

    def read(self, bytes_max: int) -> tuple[list[TailLine], int, bool]:
        """Return lines, the bytes they took, and whether more waits: from the oldest source that has any."""
        try:
            status = self._live_status()
        except OSError as error:
            self._tail.say(self.file, str(unreadable(self.file, error)))
            return [], 0, False
        inode = status.st_ino if status else None
        if not self._is_started:
            self.start(inode)
            if not self._is_started:
                return [], 0, False
        for source in list(self.sources):
            lines, taken = self._read_source(source, inode)
            if taken or lines:
                return lines, taken, True
        if status is None or bytes_max <= 0:
            return [], 0, False
        return [], 0, self._go_on(status.st_size)

    def _live_status(self) -> os.stat_result | None:
        """Return what stands under the log's name: looked up before reading, so that what is read is not older."""
        try:
            return os.stat(self.file)  # noqa: PTH116 - once for each poll
        except FileNotFoundError:
            if not self.sources:
                self._tail.say(self.file, f"{self.file}: no such file yet; it is read as soon as it appears")
            return None

    def _read_source(self, source: _Source, inode: int | None) -> tuple[list[TailLine], int]:
        known = source.fingerprint
        try:
            chunk = source.read_chunk()
        except _TruncatedError:
            self._truncated(source)
            return [], 0
        except (OSError, LogFileError) as error:
            return self._broken(source, error)
        if not chunk:
            return self._quiet(source, inode)
        source.quiet_since = None
        lines = source.splitter.feed(chunk)
        if source.fingerprint and not known:
            self._tail.ledger.begin(self.file, Position(source.inode, source.fingerprint, 0, source.mtime_ns))
        self._tail.ledger.written(self.file, source.written_ns)
        return self._give(source, lines), len(chunk)

    def _quiet(self, source: _Source, inode: int | None) -> tuple[list[TailLine], int]:
        """Its end was reached: if it is not the live file any more, close it when it has been quiet long enough."""
        if source.live:
            if inode is None or inode == source.inode:
                return [], 0
            source.live = False
            self._tail.counters.rotations += 1
        if source is self.sources[-1]:
            return [], 0  # its inode or fingerprint leads to the next one
        now_s = self._tail.clock()
        if source.quiet_since is None:
            source.quiet_since = now_s
        over = len(self.sources) - 1 > DRAINING_MAX and source is self.sources[0]
        if source.is_packed or over or now_s - source.quiet_since >= DRAIN_SECONDS:
            return self._finish(source), 0
        return [], 0

    def _finish(self, source: _Source) -> list[TailLine]:
        rest = source.splitter.rest()
        if rest and not source.fingerprint:
            source.fingerprint = fingerprint(rest[0][0])
            self._tail.ledger.begin(self.file, Position(source.inode, source.fingerprint, 0, source.mtime_ns))
        lines = self._give(source, rest)
        self._close(source)
        return lines

    def _close(self, source: _Source) -> None:
        self._drop(source)
        self._done[source.inode, source.fingerprint] = None

    def _drop(self, source: _Source) -> None:
        """Read no more from `source`. Its entry in the ledger stays while another one that begins alike is read."""
        self.sources.remove(source)
        source.close()
        if all(other.fingerprint != source.fingerprint for other in self.sources):
            self._tail.ledger.finished(self.file, source.fingerprint)

    def _broken(self, source: _Source, error: OSError | LogFileError) -> tuple[list[TailLine], int]:
        text = str(error if isinstance(error, LogFileError) else unreadable(source.path, error))
        self._tail.say(source.path, text)
        if isinstance(error, LogFileError):
            self._tail.counters.files_damaged += 1
            self._close(source)
        return [], 0

    def _truncated(self, source: _Source) -> None:
        """Go on in the copy that was made before the file was emptied, if there is one."""
        self._tail.counters.truncations += 1
        if not source.fingerprint:
            self._drop(source)
            return  # nothing of it was given: the search for the next file finds the copy
        copies = [one for one in list_generations(self.file, self._tail.say) if not one.live]
        index = index_of(source.position, copies)
        place = self.sources.index(source)
        if index is not None and self._open(copies[index], source.splitter.offset):
            self.sources.remove(source)
            source.close()
            copy = next(one for one in self.sources if one.inode == copies[index].inode)
            self.sources.remove(copy)
            self.sources.insert(place, copy)
            return
        self._drop(source)
        # No inode: what now stands under the log's name is not it, a copy that turns up later is.
        self._waiting.append(replace(source.position, inode=0))
        self._tail.counters.truncations_without_copy += 1
        self._tail.lose(
            self.file,
            f"{self.file}: it was emptied (copytruncate, or `> {self.file}`), and no copy of it is in its folder: what "
            f"was written after byte {source.splitter.offset} and before that is not read. If there is a copy "
            "elsewhere, `tailtrace import FILE` puts it in; what is known already is not stored twice.",
        )

    def _go_on(self, live_size: int) -> bool:
        """All sources are quiet: open the oldest new file, and say whether there was one.

        While the live file is open, only for a while after a rotation: a file may have been renamed during the look.
        """
        now_s = self._tail.clock()
        has_live = bool(self.sources) and self.sources[-1].live
        if has_live and now_s > self._look_until_s:
            return False
        folder_ns = os.stat(Path(self.file).parent).st_mtime_ns  # noqa: PTH116 - as above
        if folder_ns != self._folder_seen_ns:
            self._folder_seen_ns, self._look_until_s = folder_ns, now_s + LOOK_SECONDS
        if (has_live or not live_size) and now_s > self._look_until_s:
            return False  # nothing was renamed or made since the last look, and nothing new is in the live file
        generations = list_generations(self.file, self._tail.say)
        new = [one for one in generations if self._is_new(one)]
        for key in [(one.inode, one.fingerprint) for one in generations]:
            if key in self._done:
                self._done[key] = self._done.pop(key)  # seen last
        for key in list(self._done)[: max(0, len(self._done) - DONE_MAX)]:
            del self._done[key]
        return any(self._open(one, self._offset(one)) for one in new)

    def _give(self, source: _Source, lines: list[tuple[bytes, int, int]]) -> list[TailLine]:
        file, seed, opened = self.file, source.fingerprint, self._tail.ledger.opened
        given = [TailLine(data, file, offset, end, seed) for data, offset, end in lines]
        for line in given:
            opened(line)
            if len(line.data) >= LINE_KEPT_MAX:
                self._tail.counters.lines_cut += 1
        return given

    def close(self) -> None:
        for source in self.sources:
            source.close()
        self.sources.clear()


class Tail:
    """Follows the logs that `pattern` names: paths and globs, comma separated.

    `read()` gives lines, `acknowledge()` takes them back when they are stored, `save()` writes the positions.
    Raises `SettingsError` for a pattern that names nothing.
    `clock` gives seconds and only measures how long a rotated file has been quiet.
    """

    def __init__(
        self,
        pattern: str,
        checkpoint: Checkpoint,
        from_start: bool = True,
        read_bytes_max: int = READ_BYTES_MAX,
        *,
        held_lines_max: int = HELD_LINES_MAX,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.counters = TailCounters()
        self.ledger = Ledger()
        self.clock = clock
        self._patterns = [part.strip() for part in pattern.split(",") if part.strip()]
        if not self._patterns:
            raise SettingsError("TAILTRACE_LOG names no log: set it to nginx's access log, a path or a glob")
        self._checkpoint = checkpoint
        self._from_start = from_start
        self._read_bytes_max = read_bytes_max
        self._held_lines_max = held_lines_max
        self._logs: dict[str, _Log] = {}
        self._turn = 0
        self._behind = False
        self._problems: dict[str, str] = {}
        self._seen_now: dict[str, str] = {}
        self._skipped: set[str] = set()
        self._lost: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def logs_forgotten(self) -> int:
        """Logs whose position was forgotten, since as many as are remembered were saved after them."""
        return self._checkpoint.logs_forgotten

    @property
    def behind(self) -> bool:
        """More is waiting than the last `read()` gave: read again at once."""
        return self._behind

    def problems(self) -> dict[str, str]:
        """Return the files that cannot be read now, and why."""
        return dict(self._problems)

    def losses(self) -> dict[str, str]:
        """Return the logs of which lines were lost since the start, and what puts them in."""
        return dict(self._lost)

    def lose(self, path: str, what: str) -> None:
        """Note lines that were not read and will not be."""
        self._lost[path] = what
        _LOGGER.warning("%s", what)

    def found(self, path: str) -> None:
        """Take a loss back: the file turned up."""
        if self._lost.pop(path, None) is not None:
            _LOGGER.info("%s: the file that was missing is read after all", path)

    def read(self) -> list[TailLine]:
        """Return new complete lines, at most about `read_bytes_max` bytes of them, in turn from each log."""
        if self.ledger.held_lines >= self._held_lines_max:
            self.counters.reads_held += 1
            self._behind = True
            return []
        self._find_logs()
        lines: list[TailLine] = []
        left_bytes = self._read_bytes_max
        waiting = list(self._logs.values())
        if waiting:
            self._turn = (self._turn + 1) % len(waiting)
            waiting = waiting[self._turn :] + waiting[: self._turn]
        while waiting and left_bytes > 0 and self.ledger.held_lines < self._held_lines_max:
            still: list[_Log] = []
            for log in waiting:
                if left_bytes <= 0:
                    still.append(log)
                    continue
                given, taken, more = log.read(left_bytes)
                lines += given
                left_bytes -= taken
                self.counters.bytes += taken
                if more:
                    still.append(log)
            waiting = still
        self._behind = bool(waiting)
        self.counters.lines += len(lines)
        self._from_start = True  # a log that appears later is new as a whole
        self._settle_problems()
        return lines

    def acknowledge(self, lines: Iterable[TailLine]) -> None:
        """Take back lines that are stored, in whatever order: a restart need not read them again."""
        done = self.ledger.done
        for line in lines:
            done(line)

    def save(self) -> None:
        """Save the positions. Raises `LogFileError` where that fails; nothing is lost by it."""
        self._checkpoint.save(self.ledger.positions())

    def close(self) -> None:
        """Close the files. Does not save."""
        for log in self._logs.values():
            log.close()

    def _find_logs(self) -> None:
        found: list[str] = []
        for pattern in self._patterns:
            paths = sorted(glob.glob(pattern)) if glob.has_magic(pattern) else [pattern]  # noqa: PTH207 - any root
            if not paths:
                self.say(pattern, f"{pattern}: names no file yet; logs are read as soon as they appear")
            found += paths
        new = [path for path in dict.fromkeys(found) if path not in self._logs]
        for path in new:
            if self._is_rotated(path, found) or path in self._skipped:
                continue
            if len(self._logs) >= LOGS_MAX:
                self._skipped.add(path)
                self.counters.logs_skipped += 1
                _LOGGER.warning(
                    "%s is not read: there are %d logs already. Name fewer in TAILTRACE_LOG", path, LOGS_MAX
                )
                continue
            self._logs[path] = _Log(path, self, self._checkpoint.positions.get(path, ()), self._from_start)

    @staticmethod
    def _is_rotated(path: str, found: list[str]) -> bool:
        return any(path != other and is_rotated_name(path, other) for other in found)

    def say(self, path: str, problem: str) -> None:
        """Note a problem of a file, for the log if it is a new one."""
        self._seen_now[path] = problem
        if self._problems.get(path) != problem:
            self._problems[path] = problem
            _LOGGER.warning("%s", problem)

    def _settle_problems(self) -> None:
        for path in [path for path in self._problems if path not in self._seen_now]:
            if path not in self._logs and path not in self._patterns and Path(path).exists():
                continue  # a rotated file is not looked at on each read; it stays damaged until it is removed
            del self._problems[path]
            _LOGGER.info("%s: can be read again", path)
        self._seen_now.clear()


def _end_of_last_line(path: str) -> int:
    with Path(path).open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        start = max(0, end - LINE_KEPT_MAX)
        file.seek(start)
        newline = file.read(end - start).rfind(b"\n")
    return start + newline + 1 if newline >= 0 else end
