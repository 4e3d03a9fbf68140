"""Where to go on reading after a stop or a crash.

A log's position is a list of places, oldest first: one for each of its files that is not done with.

| a file | its place |
|---|---|
| has lines that were given out and are not acknowledged | the start of the first of them |
| has none | the end of the last line given out |
| is finished, all acknowledged, and a newer one has begun | left out |
| is the newest | always kept, so that the next one can be told from it |

The positions are those of one store, whose id stands beside them. Where another store is to be filled, all files of
the logs are read from their start, rotated ones too: what that store has already, it knows by its keys.

A store that was restored from a backup is the same one, of an earlier time: it has had fewer writes than the file says.
With each write it keeps the positions of the last save before it, and from these the logs are read again.

Acknowledgements come in any order. What lies behind the place is read again after a crash: that doubles nothing, as a
row's key is made of the line and its place (`logs.files`), both the same on each reading.
"""

import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple, Protocol

from tailtrace_bridge.core.errors import LogFileError
from tailtrace_bridge.core.files.atomic import replace_file

LOGS_MAX = 4096
"""Logs remembered; beyond it, those that were saved first are forgotten. Counted in `Checkpoint.logs_forgotten`."""

_FORMAT_VERSION = 1
_LOGGER = logging.getLogger(__name__)


class TailLine(NamedTuple):
    """A line that the tail gives out; `(file, seed, offset)` names it.

    A named tuple for the reason that `records` gives: one is made for each line.
    """

    data: bytes
    """Without its newline, at most `files.LINE_KEPT_MAX` bytes."""
    file: str
    """The log as it was asked for, also where the line stood in a rotated file of it."""
    offset: int
    end: int
    """Where the next line begins."""
    seed: int
    """`files.fingerprint` of the file that the line stands in."""


@dataclass(frozen=True, slots=True)
class Position:
    """A place in one file of a log."""

    inode: int
    fingerprint: int
    """0: no file, the time before the first one."""
    offset: int
    mtime_ns: int
    """When the file was last written as of its first reading: older files of the log have an earlier one.
    Of the newest: when any file of the log was, as of the last reading. Files made since have a later one."""


BEFORE_ALL = Position(0, 0, 0, 0)
"""Before the first file, whichever is there."""


class _OpenFile:
    __slots__ = ("end", "finished", "held", "position")

    def __init__(self, position: Position) -> None:
        self.position = position
        self.end = position.offset
        self.held: dict[int, None] = {}  # offsets in the order of the file
        self.finished = False

    def now(self) -> Position:
        return replace(self.position, offset=next(iter(self.held), self.end))


class Ledger:
    """Which lines are out and not acknowledged yet, and the positions that follow from it. O(1) for each line."""

    def __init__(self) -> None:
        self.held_lines = 0
        """Lines given out and not acknowledged; the tail gives out no more above its limit."""
        self._logs: dict[str, dict[int, _OpenFile]] = {}

    def begin(self, file: str, position: Position) -> None:
        """Begin a file of the log `file`, read from `position` on. Beginning one again goes on with it."""
        log_files = self._logs.setdefault(file, {})
        known = log_files.setdefault(position.fingerprint, _OpenFile(position))
        known.position, known.finished = position, False
        self._drop_done(log_files)

    def opened(self, line: TailLine) -> None:
        """`line` was given out. Lines of one file come in the order of the file.

        A file that is read is one that began and did not finish: who reads it calls `finished` when no reader
        of it is left, and only such a one is ever dropped.
        """
        log_file = self._logs[line.file][line.seed]
        if line.offset not in log_file.held:
            log_file.held[line.offset] = None
            self.held_lines += 1
        log_file.end = line.end

    def done(self, line: TailLine) -> None:
        """`line` is stored (or rejected, and that is stored). A line that is not out is ignored."""
        log_files = self._logs.get(line.file, {})
        log_file = log_files.get(line.seed)
        if log_file is None or line.offset not in log_file.held:
            return
        del log_file.held[line.offset]
        self.held_lines -= 1
        if log_file.finished and not log_file.held:
            self._drop_done(log_files)

    def finished(self, file: str, fingerprint: int) -> None:
        """No more lines come from this file."""
        log_files = self._logs.get(file, {})
        if fingerprint in log_files:
            log_files[fingerprint].finished = True
            self._drop_done(log_files)

    def written(self, file: str, mtime_ns: int) -> None:
        """Note when a file of the log was last written, as of now."""
        log_files = self._logs.get(file)
        if log_files:
            last = next(reversed(log_files.values()))
            if mtime_ns > last.position.mtime_ns:
                last.position = replace(last.position, mtime_ns=mtime_ns)

    def positions(self) -> dict[str, tuple[Position, ...]]:
        """Return for each log the places to go on from."""
        return {
            file: tuple(log_file.now() for log_file in log_files.values()) for file, log_files in self._logs.items()
        }

    @staticmethod
    def _drop_done(log_files: dict[int, _OpenFile]) -> None:
        newest = next(reversed(log_files))
        for fingerprint, log_file in list(log_files.items()):
            if log_file.finished and not log_file.held and fingerprint != newest:
                del log_files[fingerprint]


class Filled(Protocol):
    """The store that is filled by what is read; `store.protocol.Store` has these."""

    @property
    def writes(self) -> int:
        """How many writes it has had, from the first one on. Raises `StoreError`."""

    def remember(self, text: str) -> None:
        """Keep a text with the next write, in the same transaction or after it."""

    def remembered(self) -> str:
        """Return the text that was kept last, or nothing."""


class Checkpoint:
    """Positions in a JSON file, replaced as a whole: a crash leaves the old one or the new one.

    `store_id`: of the store that is filled by what is read from these positions; empty where that is not known.
    `store` is that store, where it can tell how far it came.
    """

    def __init__(self, path: Path, store_id: str = "", store: Filled | None = None) -> None:
        self.path = path
        self.logs_forgotten = 0
        self._store_id = store_id
        self._store = store
        self._is_saved = False
        self._writes = 0
        """Of the store, as of the last save."""
        self._positions = self._load()
        self._is_compared = store is None

    @property
    def positions(self) -> dict[str, tuple[Position, ...]]:
        """Where to go on. Asks the store how far it came, the first time; raises `StoreError` where it cannot tell."""
        if self._store is not None and not self._is_compared:
            if self._is_saved and self._writes > self._store.writes:
                self._positions = self._of_store(self._store)
            self._store.remember(self._text(self._positions))
            self._is_compared = True
        return self._positions

    def save(self, positions: Mapping[str, Iterable[Position]]) -> None:
        """Keep `positions`; those of logs that are not among them stay. Nothing is written if nothing changed.

        Raises `LogFileError` where the file cannot be written; the one before stays.
        """
        merged = {**self.positions, **{file: tuple(places) for file, places in positions.items()}}
        if self._is_saved and merged == self.positions:
            return
        excess = max(0, len(merged) - LOGS_MAX)
        for file in [file for file in merged if file not in positions][:excess]:
            del merged[file]
            self.logs_forgotten += 1
        text = self._text(merged)
        try:
            replace_file(self.path, text.encode())
        except OSError as error:
            raise LogFileError(
                f"{self.path}: positions cannot be saved: {error.strerror or error}. Free or mount the disk; until "
                "then a restart reads the lines since the last save again."
            ) from error
        if self._store is not None:
            self._store.remember(text)
        self._positions, self._is_saved = merged, True

    def _text(self, positions: Mapping[str, Iterable[Position]]) -> str:
        content = {
            "version": _FORMAT_VERSION,
            "store": self._store_id,
            "writes": 0 if self._store is None else self._store.writes,
            "logs": {file: [asdict(place) for place in places] for file, places in positions.items()},
        }
        return json.dumps(content, indent=1)

    def _load(self) -> dict[str, tuple[Position, ...]]:
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise LogFileError(
                f"{self.path}: the positions cannot be read: {error.strerror or error}. Make it readable, or remove it "
                "to read the logs again."
            ) from error
        try:
            store_id, self._writes, positions = _decode(content)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            aside = self.path.with_name(self.path.name + ".corrupt")
            self.path.replace(aside)
            _LOGGER.warning(
                "%s is damaged (%s); kept as %s. The logs are read again from their start: nothing is stored twice.",
                self.path,
                error,
                aside,
            )
            return {}
        self._is_saved = store_id == self._store_id
        if self._is_saved or not (store_id and self._store_id and positions):
            return positions
        _LOGGER.warning(
            "%s is of another store: it was removed or replaced, or TAILTRACE_STORE has changed. All files of the %d "
            "logs are read again, the rotated ones too; what the store has already is not stored twice.",
            self.path,
            len(positions),
        )
        return dict.fromkeys(positions, (BEFORE_ALL,))

    def _of_store(self, store: Filled) -> dict[str, tuple[Position, ...]]:
        """Return how far the store says that it came; the file is ahead of it."""
        self._is_saved = False
        _LOGGER.warning(
            "%s is ahead of its store: the store was restored from a backup, or its disk lost what was written. The %d "
            "logs are read again from where the store ends; what it has already is not stored twice.",
            self.path,
            len(self._positions),
        )
        try:
            _, _, known = _decode(store.remembered().encode())
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            known = {}
        return {file: known.get(file, (BEFORE_ALL,)) for file in self._positions}


def _decode(content: bytes) -> tuple[str, int, dict[str, tuple[Position, ...]]]:
    """Return store id, its writes and the positions."""
    data = json.loads(content)
    if data["version"] != _FORMAT_VERSION:
        raise ValueError(f"version {data['version']!r}, not {_FORMAT_VERSION}")
    positions = {file: tuple(Position(**place) for place in places) for file, places in data["logs"].items()}
    for places in positions.values():
        for place in places:
            numbers = (place.inode, place.fingerprint, place.offset, place.mtime_ns)
            if not all(type(number) is int and number >= 0 for number in numbers):
                raise ValueError(f"not a position: {place}")
    writes = data.get("writes", 0)
    if type(writes) is not int:
        raise ValueError(f"not a number of writes: {writes!r}")
    return str(data.get("store", "")), writes, positions
