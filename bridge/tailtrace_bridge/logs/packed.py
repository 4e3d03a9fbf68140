"""Unpack a log as it is read, in bounded pieces: what its first bytes say counts, not its name.

| begins as | becomes |
|---|---|
| gzip, bzip2, xz, lzma, zstd | the bytes inside, of all members |
| zip with one file in it | the bytes of that file |
| zip with more, any tar archive (also inside one of these) | `LogFileError`: nothing of it is read |
| compressed twice, or by one of `OTHERS` | the same, with the command that helps |
| UTF-16, with its mark or without | the same text in UTF-8 |
| a byte order mark | what stands behind it: places are counted from there |
| anything else | itself |
"""

import bz2
import codecs
import lzma
import shlex
import zipfile
import zlib
from collections.abc import Callable, Iterator
from itertools import chain
from typing import BinaryIO

from tailtrace_bridge.core.errors import LogFileError

CHUNK_BYTES = 256 * 1024
"""What is read, or unpacked, at once; with one line's length it bounds the memory of a reader."""
BYTE_ORDER_MARK = b"\xef\xbb\xbf"

_GZIP = b"\x1f\x8b"
_BZIP2 = b"BZh"
_XZ = b"\xfd7zXZ\x00"
_LZMA = b"\x5d\x00\x00"
_ZSTD = b"\x28\xb5\x2f\xfd"
_ZSTD_SKIPPED = tuple(bytes([0x50 + n]) + b"\x2a\x4d\x18" for n in range(16))
"""What pzstd and others write before a frame."""
_ZIP = b"PK\x03\x04"
_PACKED = (_GZIP, _BZIP2, _XZ, _LZMA, _ZSTD, *_ZSTD_SKIPPED, _ZIP)
OTHERS = {
    b"\x04\x22\x4d\x18": ("compressed by lz4", "lz4 -dc"),
    b"\x1f\x9d": ("compressed by compress", "zcat"),
    b"7z\xbc\xaf\x27\x1c": ("a 7-Zip archive", "7z x -so"),
    b"Rar!\x1a\x07": ("a RAR archive", "unrar p -inul"),
    b"\x89LZO\x00": ("compressed by lzop", "lzop -dc"),
    b"LZIP": ("compressed by lzip", "lzip -dc"),
    b"LPKSHHRH": ("a journal of systemd", "journalctl -o json --file"),
}
"""What is told by its first bytes and not read: what it is, and the command that unpacks it."""
ZSTD_FED_BYTES = 256
"""Of a zstd file, unpacked at once: four bytes may become 128 KiB, so this bounds the memory to 8 MiB."""
_GZIP_WINDOW = 31  # zlib's word for "gzip header and trailer, any window"
_MAKE: dict[str, Callable[[], object]] = {
    "gzip": lambda: zlib.decompressobj(_GZIP_WINDOW),
    "bzip2": bz2.BZ2Decompressor,
    "xz": lzma.LZMADecompressor,
}
_OF_MACOS = "__MACOSX/"
"""What the Finder adds to a zip archive."""
_TAR_BLOCK_BYTES = 512
_UTF16_SAMPLE_BYTES = 256
MAGIC_BYTES_MAX = 6


def is_gzip(head: bytes) -> bool:
    """Return whether a file is gzipped, by its first bytes."""
    return head.startswith(_GZIP)


def is_packed(head: bytes) -> bool:
    """Return whether a file is compressed, by its first bytes."""
    return head.startswith(_PACKED)


def chunks(file: BinaryIO, path: str, on_bytes: Callable[[int], None] | None = None) -> Iterator[bytes]:
    """Return the text of a log from the start of `file` on, about `CHUNK_BYTES` at once.

    Raises `LogFileError` for what is damaged, after what was whole, and for archives, before anything.
    """
    return _text(_unpacked(file, path, on_bytes), path)


def _reads(file: BinaryIO, on_bytes: Callable[[int], None] | None) -> Iterator[bytes]:
    while data := file.read(CHUNK_BYTES):
        if on_bytes is not None:
            on_bytes(len(data))
        yield data


def _unpacked(file: BinaryIO, path: str, on_bytes: Callable[[int], None] | None) -> Iterator[bytes]:
    reads = _reads(file, on_bytes)
    first = next(reads, b"")
    while first and len(first) < _TAR_BLOCK_BYTES and (more := next(reads, b"")):
        first += more  # a pipe gives what it has
    if not first:
        return
    for magic, (what, command) in OTHERS.items():
        if first.startswith(magic):
            raise LogFileError(
                f"{path}: {what}; nothing of it is read. Unpack it: "
                f"`{command} {shlex.quote(path)} | tailtrace import -`"
            )
    if first.startswith(_ZIP):
        yield from _zipped(file, path)
        return
    if first.startswith((_ZSTD, *_ZSTD_SKIPPED)):
        yield from _zstd(first, reads, path)
        return
    kinds = (("gzip", _GZIP), ("bzip2", _BZIP2), ("xz", _XZ), ("xz", _LZMA))
    kind = next((kind for kind, magic in kinds if first.startswith(magic)), "")
    unpacker = Unpacker(path, kind) if kind else None
    if unpacker is None:
        yield first
        yield from reads
        return
    yield from unpacker.feed(first)
    for data in reads:
        yield from unpacker.feed(data)
    yield from unpacker.finish()


class Unpacker:
    """Any number of members of gzip, bzip2 or xz, in bounded pieces. Raises `LogFileError` where one is damaged."""

    def __init__(self, path: str, kind: str) -> None:
        self._path, self._kind, self._make = path, kind, _MAKE[kind]
        self._member: object = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Return what comes out of the next bytes."""
        while data:
            if self._member is None:
                data = data.lstrip(b"\0")  # zeros may stand between members: a tape's padding
                if not data:
                    return
                self._member = self._make()
            member = self._member
            try:
                unpacked = member.decompress(data, CHUNK_BYTES)  # type: ignore[attr-defined]
            except (zlib.error, lzma.LZMAError, OSError, ValueError) as error:
                raise damaged(self._path, self._kind, str(error)) from None
            if unpacked:
                yield unpacked
            if member.eof:  # type: ignore[attr-defined]
                data = member.unused_data  # type: ignore[attr-defined]
                self._member = None
            elif isinstance(member, (bz2.BZ2Decompressor, lzma.LZMADecompressor)):
                while not member.needs_input and not member.eof:
                    yield member.decompress(b"", CHUNK_BYTES)
                if not member.eof:
                    return
                data, self._member = member.unused_data, None
            else:
                data = member.unconsumed_tail  # type: ignore[attr-defined]

    def finish(self) -> Iterator[bytes]:
        """Return what is left at the end."""
        member = self._member
        if member is None:
            return
        if not isinstance(member, (bz2.BZ2Decompressor, lzma.LZMADecompressor)):
            # All input is in, but more may come out of it than one piece takes.
            while unpacked := member.decompress(b"", CHUNK_BYTES):  # type: ignore[attr-defined]
                yield unpacked
        if not member.eof:  # type: ignore[attr-defined]
            raise damaged(self._path, self._kind, "it ends too early")


def _zstd(first: bytes, reads: Iterator[bytes], path: str) -> Iterator[bytes]:
    try:
        import zstandard  # noqa: PLC0415 - few logs are
    except ModuleNotFoundError:
        raise LogFileError(
            f"{path}: compressed by zstd, and the Python package zstandard is not there: `pip install zstandard`, or "
            f"`zstdcat {shlex.quote(path)} | tailtrace import -`"
        ) from None
    make = zstandard.ZstdDecompressor().decompressobj
    frame, unpacked = None, b""
    for data in chain([first], reads):
        for at in range(0, len(data), ZSTD_FED_BYTES):
            left = data[at : at + ZSTD_FED_BYTES]
            while left:
                frame = frame or make()
                try:
                    unpacked += frame.decompress(left)
                except zstandard.ZstdError as error:
                    yield unpacked
                    raise damaged(path, "zstd", str(error)) from None
                left = frame.unused_data if frame.eof else b""
                frame = None if frame.eof else frame
            if len(unpacked) >= CHUNK_BYTES:
                yield unpacked
                unpacked = b""
    yield unpacked
    if frame is not None:  # its own reader ends there without a word
        raise damaged(path, "zstd", "it ends too early")


def _zipped(file: BinaryIO, path: str) -> Iterator[bytes]:
    try:
        if not file.seekable():
            raise LogFileError(f"{path}: a zip archive on a pipe; use `unzip -p FILE.zip | tailtrace import -`")
        with zipfile.ZipFile(file) as archive:
            members = [one for one in archive.infolist() if not (one.is_dir() or one.filename.startswith(_OF_MACOS))]
            if len(members) != 1:
                raise LogFileError(
                    f"{path}: a zip archive of {len(members)} files; nothing of it is read. Unpack it "
                    f"(`unzip {shlex.quote(path)}`) and name the logs in it."
                )
            with archive.open(members[0]) as member:
                while data := member.read(CHUNK_BYTES):
                    yield data
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError) as error:
        raise damaged(path, "zip", str(error)) from None


def _text(pieces: Iterator[bytes], path: str) -> Iterator[bytes]:  # noqa: C901
    first, broken = b"", None
    try:
        for piece in pieces:
            first += piece
            if len(first) >= _TAR_BLOCK_BYTES:
                break
    except LogFileError as error:
        if not first:
            raise
        broken = error
    if _is_tar(first):
        raise LogFileError(
            f"{path}: a tar archive; nothing of it is read. Unpack it (`tar xf {shlex.quote(path)}`) and name the logs "
            "in it."
        )
    if first.startswith(_PACKED):
        raise LogFileError(
            f"{path}: compressed twice; nothing of it is read. Unpack it once, as with "
            f"`gzip -dc {shlex.quote(path)} | tailtrace import -`"
        )
    encoding = _utf16(first)
    if encoding:
        decoder = codecs.getincrementaldecoder(encoding)("replace")
        yield decoder.decode(first).lstrip("\ufeff").encode("utf-8", "surrogatepass")
        for piece in pieces:
            yield decoder.decode(piece).encode("utf-8", "surrogatepass")
        return
    if first.startswith(BYTE_ORDER_MARK):
        while first.startswith(BYTE_ORDER_MARK):
            first = first.removeprefix(BYTE_ORDER_MARK)
    if first:
        yield first
    if broken is not None:
        raise broken
    yield from pieces


def _is_tar(head: bytes) -> bool:
    if len(head) < _TAR_BLOCK_BYTES or not head[0]:
        return False
    if head[257:262] == b"ustar":
        return True
    if b"\0" not in head[:_TAR_BLOCK_BYTES]:  # text: an archive fills its first block up
        return False
    import tarfile  # noqa: PLC0415 - a plain log does not wait for it

    try:  # one of before 1988 has nothing but its checksum
        return (
            bool(tarfile.TarInfo.frombuf(head[:_TAR_BLOCK_BYTES], "utf-8", "replace").name) and b"\n" not in head[:100]
        )
    except tarfile.TarError:
        return False


def _utf16(head: bytes) -> str:
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    sample = head[: _UTF16_SAMPLE_BYTES & ~1]
    if len(sample) >= 16:
        half = len(sample) // 2
        if sample[1::2].count(0) > 0.8 * half and sample[::2].count(0) == 0:
            return "utf-16-le"
        if sample[::2].count(0) > 0.8 * half and sample[1::2].count(0) == 0:
            return "utf-16-be"
    return ""


def damaged(path: str, kind: str, detail: str) -> LogFileError:
    """Make the error for a compressed file that cannot be unpacked to its end."""
    test = {"gzip": "gzip -t", "bzip2": "bzip2 -t", "xz": "xz -t", "zstd": "zstd -t", "zip": "unzip -t"}[kind]
    return LogFileError(
        f"{path}: damaged {kind}: {detail}. The lines before the damage are read; "
        f"`{test} {shlex.quote(path)}` shows the same."
    )
