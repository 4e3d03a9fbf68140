"""The history in a file beside the checkpoint: replaced as a whole, for its owner alone (0600).

| the file | what follows |
|---|---|
| is not there | nobody was seen yet |
| is damaged, or of another version | it is removed, for it has names that no erasure would find; nobody was seen yet |
| has a new one beside it, which a crash left | an erasure removes that, and so does a start |
| was changed since it was last written here (`tailtrace erase`) | what is no longer in it is forgotten here too |
| cannot be written | counted and logged; lines of an outage that begins then are unknown |

Who writes it holds the lock beside it, so that an erasure and a bridge do not undo each other.
"""

import json
import logging
import time
from collections.abc import Callable
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tailtrace_bridge.core.errors import LogFileError
from tailtrace_bridge.core.files.atomic import has_left_over, remove_left_over, replace_file
from tailtrace_bridge.core.files.lock import FileLock, FileLockedError
from tailtrace_bridge.core.files.signature import signature_of
from tailtrace_bridge.core.records import Identity
from tailtrace_bridge.identity.history import Held, History

if TYPE_CHECKING:
    from collections.abc import Iterator

_VERSION = 1
LOCK_S_MAX = 5.0
_log = logging.getLogger(__name__)


class HistoryFile:
    """One history and its file. Used by one thread."""

    def __init__(self, path: Path, history: History) -> None:
        self._path = path
        self._history = history
        with suppress(FileLockedError, OSError):  # who has the lock writes it, or erases
            _remove_left_over(path)
        self._signature = signature_of(self._path)
        entries, seen_us = read(path)
        history.restore(entries, seen_us)
        self._revision = -1
        self._said = False

    def save(self, now_us: int) -> None:
        """Write it, if it has anything to say. Never raises: what is wrong is counted."""
        history = self._history
        if not history.seen_us:
            return
        try:
            with _locked(self._path, 0.0):
                if signature_of(self._path) != self._signature:
                    self._heed_erasure(now_us)
                self._revision = history.revision
                write(self._path, history.entries(), history.seen_us)
                self._signature = signature_of(self._path)
        except FileLockedError:
            self._revision = -1  # somebody erases: the next time
        except OSError as error:
            history.counters.unsaved += 1
            if not self._said:
                self._said = True
                _log.warning(
                    "%s: who had which address cannot be saved: %s. Mend the mode or the disk; until then lines of an "
                    "outage of tailtrace are unknown.",
                    self._path,
                    error.strerror or error,
                )
        else:
            self._said = False

    def has_changes(self) -> bool:
        """Whether something changed hands since it was written."""
        return self._history.revision != self._revision

    def _heed_erasure(self, now_us: int) -> None:
        entries, seen_us = read(self._path)
        known = {(held.identity.address, held.key, held.from_us) for held in entries}
        self._history.forget(
            lambda held: held.from_us > seen_us or (held.identity.address, held.key, held.from_us) in known, now_us
        )


def read(path: Path) -> tuple[list[Held], int]:
    """Return what a file has, and its last look, µs since the epoch. Raises `LogFileError` where it cannot be read."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return [], 0
    except OSError as error:
        raise LogFileError(
            f"{path}: who had which address cannot be read: {error.strerror or error}. Make it readable, or remove it: "
            "then lines from before now are unknown."
        ) from error
    try:
        document = json.loads(content)
        if document["version"] != _VERSION:
            raise ValueError(f"version {document['version']!r}, not {_VERSION}")  # noqa: TRY301
        held = [_decode(entry) for entry in document["held"]]
        seen_us = document["seen_us"]
        if type(seen_us) is not int or seen_us < 0:
            raise ValueError("seen_us is no time")  # noqa: TRY301
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        path.unlink(missing_ok=True)
        _log.warning("%s is damaged (%s) and was removed: lines from before now are unknown.", path, error)
        return [], 0
    return held, seen_us


def write(path: Path, entries: list[Held], seen_us: int) -> None:
    """Replace the file. Raises OSError."""
    document = {"version": _VERSION, "seen_us": seen_us, "held": [[*held.identity, *held[1:]] for held in entries]}
    replace_file(path, json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace"))


def erase(path: Path, is_theirs: Callable[[Identity], bool], *, is_dry: bool = False) -> int:
    """Remove what the file has of somebody, and return how much that is. Raises `LogFileError`."""
    if not (path.exists() or has_left_over(path)):
        return 0
    try:
        with _locked(path, LOCK_S_MAX):
            if not is_dry:
                remove_left_over(path)
            entries, seen_us = read(path)
            kept = [held for held in entries if not is_theirs(held.identity)]
            if not is_dry and len(kept) < len(entries):
                write(path, kept, seen_us)
            return len(entries) - len(kept)
    except FileLockedError:
        raise LogFileError(f"{path}: the bridge writes it all the time; erase again") from None
    except OSError as error:
        raise LogFileError(f"{path}: cannot be written: {error.strerror or error}; erase again as its owner") from error


def _remove_left_over(path: Path) -> None:
    if has_left_over(path):
        with _locked(path, 0.0):
            remove_left_over(path)


def _decode(entry: list[object]) -> Held:
    width = len(Identity._fields)
    held = Held(Identity(*entry[:width]), *entry[width:])  # type: ignore[arg-type]
    texts = (*held.identity[:-1], held.key)  # the last is `expired`
    times = (held.from_us, held.until_us, held.ended_us)
    if not all(isinstance(text, str) for text in texts) or not all(type(time_us) is int for time_us in times):
        raise ValueError("an entry of other types")
    return held


@contextmanager
def _locked(path: Path, wait_s: float) -> "Iterator[None]":
    """Hold the lock beside a file. Raises `FileLockedError` where another has it for longer than `wait_s`."""
    until_s = time.monotonic() + wait_s
    while True:
        try:
            lock = FileLock(path.with_name(path.name + ".lock"))
            break
        except FileLockedError:
            if time.monotonic() >= until_s:
                raise
            time.sleep(0.05)
    try:
        yield
    finally:
        lock.release()
