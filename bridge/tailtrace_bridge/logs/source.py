"""One open file of a log: its next bytes, as long as its content is what it was.

A truncation is looked for after a chunk was read and before its lines are given: one in between cannot mix two files.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from tailtrace_bridge.logs.checkpoint import Position
from tailtrace_bridge.logs.files import LINE_KEPT_MAX, LineSplitter, fingerprint, is_packed_file
from tailtrace_bridge.logs.packed import Unpacker, chunks, is_gzip
from tailtrace_bridge.logs.rotation import LogFile

CHUNK_BYTES = 64 * 1024
"""Bytes that one log gives before it is the next one's turn."""


class TruncatedError(Exception):
    """The content changed under the reader."""


class Source:
    """An open file of a log."""

    def __init__(self, log_file: LogFile, offset: int) -> None:
        self.live = log_file.live
        self.path = log_file.path
        self.quiet_since: float | None = None
        self._file: BinaryIO = Path(log_file.path).open("rb", buffering=0)  # noqa: SIM115 - closed by close()
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
            self._follows = log_file.live and is_gzip(os.pread(self._file.fileno(), 2, 0))
            self._unpacked = self._followed() if self._follows else chunks(self._file, self.path)
            self._skip_bytes = offset
            self.fingerprint = log_file.fingerprint
            if not self.fingerprint:
                self._file.close()  # no whole line in it yet
                raise TruncatedError
        else:
            self._extend_head(os.pread(self._file.fileno(), LINE_KEPT_MAX, 0))
            self.fingerprint = fingerprint(self._head.removesuffix(b"\n")) if self._head_is_complete else 0
            if log_file.live and log_file.fingerprint not in {0, self.fingerprint}:
                self._file.close()  # emptied or replaced since it was listed
                raise TruncatedError

    @property
    def _head_is_complete(self) -> bool:
        return self._head.endswith(b"\n") or len(self._head) >= LINE_KEPT_MAX

    def _extend_head(self, chunk: bytes) -> None:
        line, newline, _ = (self._head + chunk).partition(b"\n")
        self._head = (line + newline)[:LINE_KEPT_MAX]

    @property
    def position(self) -> Position:
        """How far its lines were given."""
        return Position(self.inode, self.fingerprint, self.splitter.offset, self.mtime_ns)

    def read_chunk(self) -> bytes:
        """Return the next bytes, or nothing for now. Raises `TruncatedError`, or `LogFileError` for bad gzip."""
        if self._unpacked is not None:
            return self._read_unpacked(self._unpacked)
        descriptor = self._file.fileno()
        status = os.fstat(descriptor)
        now = (status.st_size, status.st_mtime_ns)
        self.written_ns = status.st_mtime_ns
        if now == self._seen and now[0] == self.splitter.scanned:
            return b""
        if status.st_size < self.splitter.scanned:
            raise TruncatedError
        chunk = os.pread(descriptor, CHUNK_BYTES, self.splitter.scanned)
        if not self._head_is_complete:
            before = self._head
            self._extend_head(chunk[len(before) - self.splitter.scanned :])
            if os.pread(descriptor, len(self._head), 0) != self._head:
                self._head = before
                raise TruncatedError
            if self._head_is_complete:
                self.fingerprint = fingerprint(self._head.removesuffix(b"\n"))
        elif os.pread(descriptor, len(self._head), 0) != self._head:
            raise TruncatedError
        self._seen = now
        return chunk

    def _followed(self) -> Iterator[bytes]:
        """Return what is inside a gzipped log that grows, and nothing where there is nothing new."""
        unpacker, packed = Unpacker(self.path, "gzip"), 0
        while True:
            status = os.fstat(self._file.fileno())
            self.written_ns = status.st_mtime_ns
            if status.st_size < packed:
                raise TruncatedError
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
        """Close the file."""
        self._file.close()
