"""The pieces of OTLP that differ from span to span, written by hand: protobuf's objects take ten times as long. Pure.

Concatenated protobuf messages merge, so pieces are put one behind the other
(https://protobuf.dev/programming-guides/encoding/#last-one-wins). The numbers of the fields are those of OTLP's
common.proto and trace.proto; `tests/bridge/test_export_wire.py` holds each piece against protobuf's own.
"""

from struct import Struct

_IDS = Struct("<2s16s2s8s")
_TIMES = Struct("<BQBQ")
_DOUBLE = Struct("<d")
_TRACE_ID, _SPAN_ID, _PARENT = b"\x0a\x10", b"\x12\x08", b"\x22\x08"
_START, _END = 0x39, 0x41
_ATTRIBUTES, _KEY, _VALUE = 9, 1, 2
_STRING, _INT, _DOUBLE_TAG = 1, b"\x18", b"\x21"
_VARINT_MAX = 10
"""Bytes of the longest number."""
_ONE_BYTE, _TWO_BYTES = 1 << 7, 1 << 14


def varint(number: int) -> bytes:
    """Return a number, at least 0, as protobuf writes it."""
    if number < _ONE_BYTE:
        return bytes((number,))
    if number < _TWO_BYTES:
        return bytes((number & 0x7F | 0x80, number >> 7))
    made = bytearray()
    while number >= _ONE_BYTE:
        made.append(number & 0x7F | 0x80)
        number >>= 7
    made.append(number)
    return bytes(made)


def field(number: int, data: bytes) -> bytes:
    """Return a message or a text as a field of another.

    https://protobuf.dev/programming-guides/encoding/#length-types
    """
    return bytes((number << 3 | 2,)) + varint(len(data)) + data


def head(trace_id: bytes, span_id: bytes, parent_id: bytes, start_ns: int, end_ns: int) -> bytes:
    """Return a `Span` with its ids (16, 8 and 8 bytes; no parent: none) and its times."""
    ids = _IDS.pack(_TRACE_ID, trace_id, _SPAN_ID, span_id)
    times = _TIMES.pack(_START, start_ns, _END, end_ns)
    return ids + _PARENT + parent_id + times if parent_id else ids + times


def text(key: str, value: str) -> bytes:
    """Return a `Span` with an attribute that is a text."""
    return _attribute(field(_KEY, key.encode()), field(_STRING, value.encode()))


class Number:
    """An attribute that is a whole number, at least 0, under one key: what stands before it depends on its length."""

    __slots__ = ("_before",)

    def __init__(self, key: str) -> None:
        named = field(_KEY, key.encode())
        self._before = [_attribute(named, _INT + bytes(length))[: -length or None] for length in range(_VARINT_MAX + 1)]

    def __call__(self, value: int) -> bytes:
        """Return a `Span` with it."""
        written = varint(value)
        return self._before[len(written)] + written


class Double:
    """An attribute that is a float, under one key: all but its eight bytes is the same each time."""

    __slots__ = ("_before",)

    def __init__(self, key: str) -> None:
        self._before = _attribute(field(_KEY, key.encode()), _DOUBLE_TAG + bytes(8))[:-8]

    def __call__(self, value: float) -> bytes:
        """Return a `Span` with it."""
        return self._before + _DOUBLE.pack(value)


def _attribute(key: bytes, value: bytes) -> bytes:
    return field(_ATTRIBUTES, key + field(_VALUE, value))
