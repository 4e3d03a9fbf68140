"""Read log files as lines, plain or gzipped, each line with its place.

A line's place is `(seed, offset)`: the fingerprint of its log's first line, and its distance in uncompressed bytes from
the log's start. It stays the same when the log is renamed or gzipped, and so does the key that is made of it.

| the bytes | become |
|---|---|
| up to a newline | a line, without the newline and the carriage returns before it |
| a byte order mark at the start of the log | nothing: the first line begins behind it, its offset is 0 |
| more than `LINE_LENGTH_MAX` before the newline | a line of the first `LINE_KEPT_MAX` bytes: the parser refuses it |
| at the end, without a newline | a line |
| gzip that ends too early or is damaged | the whole lines before it, then `LogFileError` |
"""

import grp
import os
import pwd
import stat
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import xxhash

from tailtrace_bridge.core.errors import LogFileError
from tailtrace_bridge.logs.parser import LINE_LENGTH_MAX

CHUNK_BYTES = 256 * 1024
"""What is read, or unpacked, at once; with one line's length it bounds the memory of a reader."""
LINE_KEPT_MAX = LINE_LENGTH_MAX + 1
"""Bytes kept of a line: one more than the parser takes, so that it sees that the line was too long."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_GZIP_MAGIC = b"\x1f\x8b"
_GZIP_WINDOW = 31  # zlib's word for "gzip header and trailer, any window"
_MASK_63 = (1 << 63) - 1


def fingerprint(first_line: bytes) -> int:
    """Name a log by its first line (without the newline): 63 bits, never 0, whatever its file is called."""
    return (xxhash.xxh3_64_intdigest(_bare(first_line[:LINE_KEPT_MAX], 0)) & _MASK_63) or 1


def _bare(line: bytes, offset: int) -> bytes:
    """Take off what another system's editor added. Doing it twice does no more, so any reader's line has one name."""
    if len(line) > LINE_LENGTH_MAX:  # cut: it must not become short enough for the parser
        return line
    line = line.rstrip(b"\r")
    return line.lstrip(_BYTE_ORDER_MARK) if offset == 0 and line.startswith(_BYTE_ORDER_MARK) else line


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

    def rest(self) -> list[tuple[bytes, int, int]]:
        """Return what is left at the end of the log: a line without its newline, or nothing."""
        if not self.pending:
            return []
        lines = [(_bare(self.pending, self.offset), self.offset, self.scanned)]
        self.offset, self.pending = self.scanned, b""
        return lines


def read_lines(path: str | Path, *, on_bytes: Callable[[int], None] | None = None) -> Iterator[tuple[bytes, int, int]]:
    """Return `(line, offset, seed)` of every line of a whole log, gzipped or not: its first bytes say which.

    `on_bytes` is told the bytes of the file (compressed, where it is) that each step took.
    Raises `LogFileError` where the file cannot be read, or its gzip is damaged: after the lines before the damage.
    """
    splitter, seed = LineSplitter(), 0
    try:
        with Path(path).open("rb", buffering=0) as file:
            for chunk in chunks(file, str(path), on_bytes):
                lines = splitter.feed(chunk)
                if lines and not seed:
                    seed = fingerprint(lines[0][0])
                for line, offset, _ in lines:
                    yield line, offset, seed
    except OSError as error:
        raise unreadable(str(path), error) from error
    for line, offset, _ in splitter.rest():
        yield line, offset, seed or fingerprint(line)


def chunks(file: BinaryIO, path: str, on_bytes: Callable[[int], None] | None = None) -> Iterator[bytes]:
    """Return the uncompressed bytes from the start of `file` on, at most `CHUNK_BYTES` at once."""
    unpacker = None
    first = True
    while data := file.read(CHUNK_BYTES):
        if on_bytes is not None:
            on_bytes(len(data))
        if first and data.startswith(_GZIP_MAGIC):
            unpacker = _Unpacker(path)
        first = False
        if unpacker is None:
            yield data
        else:
            yield from unpacker.feed(data)
    if unpacker is not None:
        yield from unpacker.finish()


class _Unpacker:
    """Gzip of any number of members, in bounded pieces. Raises `LogFileError` where it is damaged."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._member: zlib._Decompress | None = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._member is None:
                data = data.lstrip(b"\0")  # zeros may stand between members: a tape's padding
                if not data:
                    return
                self._member = zlib.decompressobj(_GZIP_WINDOW)
            member = self._member
            try:
                unpacked = member.decompress(data, CHUNK_BYTES)
            except zlib.error as error:
                raise _damaged(self._path, str(error)) from None
            if unpacked:
                yield unpacked
            data = member.unused_data if member.eof else member.unconsumed_tail
            if member.eof:
                self._member = None

    def finish(self) -> Iterator[bytes]:
        member = self._member
        if member is None:
            return
        # All input is in, but more may come out of it than one piece takes.
        while unpacked := member.decompress(b"", CHUNK_BYTES):
            yield unpacked
        if not member.eof:
            raise _damaged(self._path, "it ends too early")


def first_line(path: str) -> tuple[bytes, bool]:
    """Return the first line of a log, at most `LINE_KEPT_MAX` bytes, and whether it is complete."""
    head = b""
    with Path(path).open("rb", buffering=0) as file:
        for chunk in chunks(file, path):
            head += chunk
            if b"\n" in chunk or len(head) >= LINE_KEPT_MAX:
                break
    line, newline, _ = head.partition(b"\n")
    return line[:LINE_KEPT_MAX], bool(newline) or len(line) >= LINE_KEPT_MAX


def is_gzip(descriptor: int) -> bool:
    """Say whether an open file is gzipped, by its first bytes; its name does not count."""
    return os.pread(descriptor, len(_GZIP_MAGIC), 0) == _GZIP_MAGIC


def unreadable(path: str, error: OSError) -> LogFileError:
    """Make the error for `path`: what is wrong, whose file it is, what to do."""
    if isinstance(error, FileNotFoundError):
        return LogFileError(f"{path}: no such file. Name the log with TAILTRACE_LOG, or make nginx write it.")
    if isinstance(error, IsADirectoryError):
        return LogFileError(f"{path}: {_owner_and_mode(path)} is a folder, not a log. Name a file in it: {path}/*.log")
    if isinstance(error, PermissionError):
        return LogFileError(_forbidden(path))
    return LogFileError(f"{path}: cannot be read: {error.strerror or error}. Look after the disk or mount it is on.")


def _damaged(path: str, detail: str) -> LogFileError:
    return LogFileError(
        f"{path}: damaged gzip: {detail}. The lines before the damage are read; `gzip -t {path}` shows the same."
    )


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
