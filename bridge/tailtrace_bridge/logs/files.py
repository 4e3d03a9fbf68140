"""Read log files as lines, plain or compressed (`packed`), each line with its place.

A line's place is `(seed, offset)`: the fingerprint of its log's first line, and its distance in uncompressed bytes from
the log's start. It stays the same when the log is renamed or compressed, and so does the key that is made of it.

| the bytes | become |
|---|---|
| up to a newline | a line, without the newline and the carriage returns before it |
| a byte order mark at the start of the log | nothing: the first line begins behind it, its offset is 0 |
| more than `LINE_LENGTH_MAX` before the newline | a line of the first `LINE_KEPT_MAX` bytes: the parser rejects it |
| NUL bytes: a hole after copytruncate, a crash | nothing: they part lines as a newline does |
| at the end, without a newline | a line; of a plain file, what `on_cut` makes of it |
| compressed, and it ends too early or is damaged | the whole lines before it, then `LogFileError` |
| `-` | standard input |
"""

import grp
import os
import pwd
import re
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import BinaryIO, NamedTuple

import xxhash

from tailtrace_bridge.core.errors import LogFileError
from tailtrace_bridge.logs.packed import BYTE_ORDER_MARK, CHUNK_BYTES, MAGIC_BYTES_MAX, chunks, is_packed
from tailtrace_bridge.logs.rejected import LINE_LENGTH_MAX

__all__ = ["CHUNK_BYTES", "chunks"]

STDIN = "-"
GROWING_S = 24 * 3600
"""A plain file that was written later than this ago may still grow."""
LINE_KEPT_MAX = LINE_LENGTH_MAX + 1
"""Bytes kept of a line: one more than the parser takes, so that it sees that the line was too long."""
NAME_IT = "Name the log with TAILTRACE_LOG, or make nginx write it."
NAME_ANOTHER = "Name one that is there."

_BETWEEN_NAMES = re.compile(r"[\s;]+")
_BREAK = re.compile(rb"\0*\n|\0+")
_MASK_63 = (1 << 63) - 1


def fingerprint(first_line: bytes) -> int:
    """Name a log by its first line (without the newline): 63 bits, never 0, whatever its file is called."""
    line = first_line[:LINE_KEPT_MAX]
    if b"\0" in line:
        line = next(filter(None, line.split(b"\0")), b"")
    return (xxhash.xxh3_64_intdigest(_bare(line, 0)) & _MASK_63) or 1


def _bare(line: bytes, offset: int) -> bytes:
    """Take off what another system's editor added. Doing it twice does no more, so any reader's line has one name."""
    if len(line) > LINE_LENGTH_MAX:  # cut: it must not become short enough for the parser
        return line
    line = line.rstrip(b"\r")
    return line.lstrip(BYTE_ORDER_MARK) if offset == 0 and line.startswith(BYTE_ORDER_MARK) else line


class LineSplitter:
    """Cuts chunks into `(line, offset, end)`; holds at most `LINE_KEPT_MAX` bytes of a line that is not complete."""

    def __init__(self, offset: int = 0) -> None:
        self.offset = offset
        """Where the line that is not complete begins."""
        self.scanned = offset
        """Where the next chunk begins."""
        self.pending = b""

    def feed(self, chunk: bytes) -> list[tuple[bytes, int, int]]:
        """Take the next chunk, give the lines that it completes."""
        if b"\0" in chunk:
            return self._feed_holed(chunk)
        lines: list[tuple[bytes, int, int]] = []
        parts = chunk.split(b"\n")
        last = parts.pop()
        offset, end = self.offset, self.scanned
        # Asked once for all: few logs have any.
        is_bare = offset > 0 and b"\r" not in chunk and b"\r" not in self.pending[-1:]
        if parts:
            parts[0] = self.pending + parts[0]
            # Of a long line `pending` holds less than was scanned: its end is counted from what was scanned.
            end += len(parts[0]) - len(self.pending) + 1
            for line in parts:
                if offset != self.offset:
                    end = offset + len(line) + 1
                lines.append((line if len(line) <= LINE_LENGTH_MAX else line[:LINE_KEPT_MAX], offset, end))
                offset = end
            self.offset, self.pending = offset, b""
            if not is_bare:
                lines = [(_bare(line, offset), offset, end) for line, offset, end in lines]
        if len(self.pending) < LINE_KEPT_MAX:
            self.pending = (self.pending + last)[:LINE_KEPT_MAX]
        self.scanned += len(chunk)
        return lines

    def _feed_holed(self, chunk: bytes) -> list[tuple[bytes, int, int]]:
        """Do it where NUL bytes stand in the chunk: each run of them ends a line, and is none."""
        lines: list[tuple[bytes, int, int]] = []
        base, position = self.scanned, 0
        for found in _BREAK.finditer(chunk):
            line = (self.pending + chunk[position : found.start()])[:LINE_KEPT_MAX]
            position = found.end()
            if line or found[0] == b"\n":
                lines.append((_bare(line, self.offset), self.offset, base + position))
            self.offset, self.pending = base + position, b""
        self.pending = (self.pending + chunk[position:])[:LINE_KEPT_MAX]
        self.scanned += len(chunk)
        return lines

    def feed_block(self, chunk: bytes) -> tuple[bytes, int] | None:
        """Take the next chunk; return the lines that it completes as one block, with its offset.

        None, and nothing is taken: lines must be looked at one by one (`feed`), as holes, carriage returns, the first
        or a long one.
        """
        end = chunk.rfind(b"\n") + 1
        pending = self.pending
        if not end or not self.offset or b"\0" in chunk or b"\r" in chunk or b"\r" in pending:
            return None
        if len(pending) >= LINE_LENGTH_MAX or len(chunk) - end > LINE_LENGTH_MAX:
            return None
        offset = self.offset
        block = pending + chunk[:end]
        self.scanned += len(chunk)
        self.offset, self.pending = offset + len(block), chunk[end:]
        return block, offset

    def rest(self) -> list[tuple[bytes, int, int]]:
        """Return what is left at the end of the log: a line without its newline, or nothing."""
        if not self.pending:
            return []
        lines = [(_bare(self.pending, self.offset), self.offset, self.scanned)]
        self.offset, self.pending = self.scanned, b""
        return lines


class Piece(NamedTuple):
    """What comes of the next bytes of a log: whole lines as one block, with their newlines, or each with its offset."""

    seed: int
    lines: Sequence[tuple[bytes, int]]
    block: bytes = b""
    offset: int = 0


def read_pieces(
    path: str | Path,
    *,
    on_bytes: Callable[[int], None] | None = None,
    on_cut: Callable[[bytes, int, int, bool], None] | None = None,
    now_s: float = 0.0,
) -> Iterator[Piece]:
    """Return all lines of a whole log, compressed or not: its first bytes say which.

    `on_bytes` is told the bytes of the file (compressed, where it is) that each step took. With `on_cut`, the
    unterminated last line of a plain file is left out: `on_cut` is told it, its offset, the seed, and whether the file
    may still grow, as of `now_s`, seconds since the epoch.
    Raises `LogFileError` where the file cannot be read, or is damaged: after the lines before the damage.
    """
    splitter, seed = LineSplitter(), 0
    try:
        with _opened(path) as file:
            is_plain = on_cut is not None and _is_plain(file.fileno())
            grows = now_s - os.fstat(file.fileno()).st_mtime < GROWING_S
            for chunk in chunks(file, str(path), on_bytes):
                if not seed:
                    newline = (splitter.pending + chunk).find(b"\n")
                    if newline >= 0:
                        seed = fingerprint((splitter.pending + chunk)[:newline])
                if (block := splitter.feed_block(chunk)) is not None:
                    yield Piece(seed, (), *block)
                    continue
                lines = splitter.feed(chunk)
                if lines:
                    yield Piece(seed or fingerprint(lines[0][0]), [(line, offset) for line, offset, _ in lines])
    except OSError as error:
        raise unreadable(str(path), error, missing=NAME_ANOTHER) from error
    for line, offset, _ in splitter.rest():
        if is_plain and on_cut is not None:
            on_cut(line, offset, seed or fingerprint(line), grows)
        else:
            yield Piece(seed or fingerprint(line), [(line, offset)])


def read_lines(
    path: str | Path,
    *,
    on_bytes: Callable[[int], None] | None = None,
    on_cut: Callable[[bytes, int, int, bool], None] | None = None,
    now_s: float = 0.0,
) -> Iterator[tuple[bytes, int, int]]:
    """Return `(line, offset, seed)` of every line that `read_pieces` reads."""
    for piece in read_pieces(path, on_bytes=on_bytes, on_cut=on_cut, now_s=now_s):
        for line, offset in piece.lines or lines_of(piece.block, piece.offset):
            yield line, offset, piece.seed or fingerprint(line)


def lines_of(block: bytes, offset: int) -> list[tuple[bytes, int]]:
    """Return the lines of a block, without their newlines, each with its offset; of one that is too long, its start."""
    lines = block.split(b"\n")
    lines.pop()
    offsets = accumulate(map(len, lines), lambda at, length: at + length + 1, initial=offset)
    return [(line[:LINE_KEPT_MAX], at) for line, at in zip(lines, offsets, strict=False)]


def with_next(read: Iterator[Piece]) -> Iterator[tuple[Piece, Piece | None]]:
    """Return each piece and the one after it. Raises what ended the log too early after the last of them."""
    before: Piece | None = None
    failed: LogFileError | None = None
    try:
        for piece in read:
            if before is not None:
                yield before, piece
            before = piece
    except LogFileError as error:
        failed = error
    if before is not None:
        yield before, None
    if failed is not None:
        raise failed


def texts_of(piece: Piece) -> list[bytes]:
    """Return the lines of a piece, without their places."""
    return [line for line, _ in piece.lines or lines_of(piece.block, piece.offset)]


def last_of(piece: Piece) -> bytes:
    """Return the last line of a piece, as `texts_of` does; a block is not split for it."""
    if not piece.block:
        return piece.lines[-1][0]
    return piece.block[piece.block.rfind(b"\n", 0, -1) + 1 : -1][:LINE_KEPT_MAX]


def _opened(path: str | Path) -> BinaryIO:
    if str(path) == STDIN:
        return os.fdopen(os.dup(sys.stdin.fileno()), "rb", buffering=0)
    return Path(path).open("rb", buffering=0)


def _is_plain(descriptor: int) -> bool:
    return stat.S_ISREG(os.fstat(descriptor).st_mode) and not is_packed_file(descriptor)


def first_line(path: str) -> tuple[bytes, bool]:
    """Return the first line of a log, at most `LINE_KEPT_MAX` bytes, and whether it is complete."""
    head = head_of(path, LINE_KEPT_MAX, lines_max=1)
    line, newline, _ = head.partition(b"\n")
    return line[:LINE_KEPT_MAX], bool(newline) or len(line) >= LINE_KEPT_MAX


def head_of(path: str, bytes_max: int, *, lines_max: int) -> bytes:
    """Return the first bytes of a log: until it has so many lines or bytes."""
    head = b""
    with Path(path).open("rb", buffering=0) as file:
        for chunk in chunks(file, path):
            head += chunk
            if head.count(b"\n") >= lines_max or len(head) >= bytes_max:
                break
    return head


def is_packed_file(descriptor: int) -> bool:
    """Return whether an open file is compressed, by its first bytes; its name does not count."""
    return is_packed(os.pread(descriptor, MAGIC_BYTES_MAX, 0))


def if_several(name: str) -> str:
    """Return how TAILTRACE_LOG names several logs, where a name that names none may be those of several; else nothing.

    A file's name may have a blank, so only one that is not there tells.
    """
    names = [one for one in _BETWEEN_NAMES.split(name) if one]
    return f" (read as one name; several are written with commas: {','.join(names)})" if len(names) > 1 else ""


def unreadable(path: str, error: OSError, *, missing: str = NAME_IT) -> LogFileError:
    """Make the error for `path`: what is wrong, whose file it is, what to do; `missing`: where there is no file."""
    if isinstance(error, FileNotFoundError):
        return LogFileError(f"{path}: no such file{if_several(path) if missing == NAME_IT else ''}. {missing}")
    if isinstance(error, IsADirectoryError):
        return LogFileError(f"{path}: {_owner_and_mode(path)} is a folder, not a log. Name a file in it: {path}/*.log")
    if isinstance(error, PermissionError):
        return LogFileError(_forbidden(path))
    return LogFileError(f"{path}: cannot be read: {error.strerror or error}. Look after the disk or mount it is on.")


def _forbidden(path: str) -> str:
    blocker = path
    while True:
        try:
            status = Path(blocker).stat()
        except PermissionError:  # a folder above does not let us see it
            blocker = str(Path(blocker).parent)
            continue
        except OSError:
            return f"{path}: permission denied."
        break
    group = _group(status.st_gid)
    user = _user(os.geteuid())
    bit = stat.S_IXGRP if stat.S_ISDIR(status.st_mode) else stat.S_IRGRP
    if status.st_mode & bit and group != "root":
        advice = f"Let {user} into the group: `sudo usermod -aG {group} {user}`, then start again."
    else:
        advice = f"Let {user} read it: `sudo setfacl -m u:{user}:{'x' if blocker != path else 'r'} {blocker}`."
    return f"{path}: permission denied: {_owner_and_mode(blocker)}. {advice}"


def _owner_and_mode(path: str) -> str:
    try:
        status = Path(path).stat()
    except OSError:
        return path
    return f"{path} (owner {_user(status.st_uid)}:{_group(status.st_gid)}, mode {stat.S_IMODE(status.st_mode):04o})"


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
