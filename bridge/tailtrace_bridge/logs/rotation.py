"""The files that one log has been: the rotated ones beside it, oldest first, and the live one.

| name | place in the order |
|---|---|
| `access.log.3`, `access.2.log.gz`, `access.log.old` | the higher number is the older, as logrotate has it; `old` is |
|  | the newest |
| the same, but the last writes say the opposite throughout | the higher number is the newer |
| the same, and the last writes say neither | by the time of the last write |
| `access.log-20250101`, `access-2025-01-02.log.gz`, `access_2025010214.log` | by the date, as text |
| both kinds | by the time of the last write |
| `access.log.1` and `access.log.1.gz` together | one: gzip is at work, the plain one is whole |

Compressed by gzip, zstd, xz or bzip2, it is the same file. A position is found again by its fingerprint, and by its
inode where several files begin with the same line: that one under whatever name, also up to two folders further down.
There a file that has the log's name in its own is known by its first line alone: it was moved, then compressed.
"""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from stat import S_ISDIR, S_ISREG

from tailtrace_bridge.core.errors import LogFileError
from tailtrace_bridge.logs.checkpoint import Position
from tailtrace_bridge.logs.files import fingerprint, first_line, is_packed_file, unreadable

ROTATED_MAX = 1000
"""Rotated files of one log that are looked at; older ones are left out."""
TO_THE_END = 1 << 62
"""An offset that means: this file is done with, however long it is."""

_PACKED = r"(?:\.(?:gz|zst|xz|bz2))?"
_DATE = r"\d{4}[._-]?\d{2}[._-]?\d{2}(?:[._T-]?\d{2}(?:[._:-]?\d{2}){0,2})?(?:[._-]\d+)?"
_ROTATED = re.compile(rf"[._-](?P<mark>old|{_DATE}|\d[\w-]*){_PACKED}")
_ROTATED_INSIDE = re.compile(
    rf"[._-](?P<mark>{_DATE}|\d{{6,}}[\d-]*|(?<=\.)\d{{1,5}})"
)  # as logrotate's `extension` has it
_ENDING = re.compile(r"\.(?:gz|zst|xz|bz2)\Z")
OTHERS_MAX = 2000
"""Files of other names, in the log's folder and the folders in it, among which one that was read is looked for."""
DEPTH_MAX, FOLDERS_MAX = 2, 50
"""How far below the log's folder, and in how many folders."""
_NUMBER_DIGITS_MAX = 5  # six and more are a date


@dataclass(frozen=True, slots=True)
class LogFile:
    """One file of a log, as it stood when it was looked at."""

    path: str
    live: bool
    inode: int
    fingerprint: int
    """0: it has no line yet."""
    size: int
    mtime_ns: int
    packed: bool


def is_rotated_name(name: str, live_name: str) -> bool:
    """Return whether `name` is what a rotation makes of `live_name`."""
    return _mark(name, live_name) is not None


def _mark(name: str, live_name: str) -> str | None:
    """Return the number or date that a rotation put into `name`, or None where `name` is no rotated `live_name`."""
    if name.startswith(live_name):
        match = _ROTATED.fullmatch(name, len(live_name))
    else:
        stem, dot, extension = live_name.rpartition(".")
        plain = _ENDING.sub("", name)
        if not (stem and name.startswith(stem) and plain.endswith(dot + extension)):
            return None
        match = _ROTATED_INSIDE.fullmatch(plain, len(stem), len(plain) - len(dot + extension))
    return match["mark"] if match else None


def list_log_files(
    live_path: str, on_problem: Callable[[str, str], None], saved: Sequence[Position] = ()
) -> list[LogFile]:
    """Look at all files of a log, the live one last if it is there. Tells `on_problem` the file that it cannot read.

    What `saved` places lie in is looked for elsewhere too, where no name of a rotated file leads to it.
    """
    folder, live_name = Path(live_path).parent, Path(live_path).name
    try:
        names = os.listdir(folder)  # noqa: PTH208 - names are what the pattern is for
    except OSError as error:
        on_problem(live_path, str(unreadable(live_path, error)))
        return []
    marks: dict[str, str] = {}
    for name in sorted(names, reverse=True):  # so that the plain file takes the place of its `.gz`
        mark = _mark(name, live_name)
        if mark is not None:
            marks[mark] = str(folder / name)
    found = [(mark, _look_at(path, False, on_problem)) for mark, path in marks.items()]
    rotated = _oldest_first([(mark, log_file) for mark, log_file in found if log_file is not None])
    live = _look_at(live_path, True, on_problem)
    known = [*rotated, *([live] if live else [])]
    lost = [position for position in saved if position.fingerprint and index_of(position, known) is None]
    if lost:
        rotated = sorted([*_elsewhere(folder, live_name, lost, on_problem), *rotated], key=lambda one: one.mtime_ns)
    return rotated[-ROTATED_MAX:] + ([live] if live else [])


def _elsewhere(
    folder: Path, live_name: str, lost: Sequence[Position], on_problem: Callable[[str, str], None]
) -> list[LogFile]:
    """Find files by inode and first line, whatever they are called now; by their first line, if by the log's name."""
    inodes = {position.inode for position in lost if position.inode}
    stem = live_name.partition(".")[0]
    found: dict[int, LogFile] = {}
    for path, inode in _files_near(folder):
        if inode not in inodes and (stem not in path.rpartition("/")[2] or Path(path) == folder / live_name):
            continue
        one = _look_at(path, False, on_problem)
        if one is None or one.fingerprint in found or all(index_of(position, [one]) is None for position in lost):
            continue
        found[one.fingerprint] = one
    return list(found.values())


def _files_near(folder: Path) -> Iterator[tuple[str, int]]:
    """Yield path and inode of the files in a log's folder and in those below it."""
    places, looked = [(str(folder), 0)], 0
    for place, depth in places:
        try:
            with os.scandir(place) as entries:
                for entry in sorted(entries, key=lambda entry: entry.name):
                    looked += 1
                    if looked > OTHERS_MAX:
                        return
                    if entry.is_dir(follow_symlinks=False):
                        if depth < DEPTH_MAX and len(places) < FOLDERS_MAX:
                            places.append((entry.path, depth + 1))
                    elif entry.is_file():
                        yield entry.path, entry.inode()
        except OSError:
            continue


def index_of(position: Position, log_files: Sequence[LogFile]) -> int | None:
    """Find the file that `position` lies in: the newest, where only the fingerprint says so."""
    best = None
    for index, log_file in enumerate(log_files):
        same_inode = position.inode == log_file.inode
        if not position.fingerprint:
            if position.inode and same_inode:
                return index
        elif log_file.fingerprint == position.fingerprint and _is_long_enough(log_file, position):
            if same_inode:
                return index
            best = index
    return best


def after(position: Position, log_files: Sequence[LogFile]) -> list[LogFile]:
    """Return what was written after the file of `position`. Where that is gone, time tells.

    Time has a say too where that was rotated: a late line in it can make it look newer than the next one is. A file
    that was written after all that had been seen may be a later one. Rather read again what is stored than not at all.
    """
    index = index_of(position, log_files)
    if index is None:
        return [log_file for log_file in log_files if log_file.live or log_file.mtime_ns >= position.mtime_ns]
    if log_files[index].live:
        return []
    before = [log_file for log_file in log_files[:index] if log_file.mtime_ns > position.mtime_ns]
    return before + list(log_files[index + 1 :])


def _is_long_enough(log_file: LogFile, position: Position) -> bool:
    return log_file.packed or position.offset == TO_THE_END or log_file.size >= position.offset


def _look_at(path: str, live: bool, on_problem: Callable[[str, str], None]) -> LogFile | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            status = os.fstat(descriptor)
            if S_ISDIR(status.st_mode) and live:
                raise IsADirectoryError(path)
            if not S_ISREG(status.st_mode):
                return None
            packed = is_packed_file(descriptor)
        finally:
            os.close(descriptor)
        line, complete = first_line(path)
    except FileNotFoundError:  # a rotation is at work
        return None
    except OSError as error:
        on_problem(path, str(unreadable(path, error)))
        return None
    except LogFileError as error:
        on_problem(path, str(error))
        return None
    named = complete or (not live and bool(line))
    return LogFile(
        path, live, status.st_ino, fingerprint(line) if named else 0, status.st_size, status.st_mtime_ns, packed
    )


def _oldest_first(marked: list[tuple[str, LogFile]]) -> list[LogFile]:
    numbers = [_number(mark) for mark, _ in marked]
    if all(number is not None for number in numbers):
        by_number = sorted(marked, key=lambda item: -(_number(item[0]) or 0))
        marked = next(
            (order for order in (by_number, by_number[::-1]) if _is_by_time(order)), sorted(by_number, key=_written_ns)
        )
    elif any(number is not None for number in numbers):
        marked = sorted(marked, key=_written_ns)
    else:
        marked = sorted(marked, key=lambda item: item[0])
    return [log_file for _, log_file in marked]


def _is_by_time(marked: list[tuple[str, LogFile]]) -> bool:
    return all(_written_ns(one) <= _written_ns(other) for one, other in pairwise(marked))


def _written_ns(item: tuple[str, LogFile]) -> int:
    return item[1].mtime_ns


def _number(mark: str) -> int | None:
    if mark == "old":
        return 0
    return int(mark) if mark.isdigit() and len(mark) <= _NUMBER_DIGITS_MAX else None
