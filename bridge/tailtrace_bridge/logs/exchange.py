"""The end of a line of our own format: how the exchange with client and servers went. Pure.

A row needs none of it, so the parser leaves it as it stands (`Access.exchange`); who makes spans of lines reads it
here. Lists, for a request that several servers were asked for, are as nginx prints them: `a, b` for a second attempt,
`a : b` behind an internal redirect, `-` for what an attempt lacks.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from tailtrace_bridge.core.text import replaced
from tailtrace_bridge.logs.format import TAILTRACE_EXCHANGE, unescape_json

SIZE_DIGITS_MAX = 16
_SEPARATOR = re.compile(r", | : ")


class Exchange(NamedTuple):
    """The fields of `format.TAILTRACE_EXCHANGE`, in their order; an empty text is a value that nginx had not."""

    cache_status: str = ""
    """`HIT`, `MISS` …, or empty where nothing is cached."""
    upstream_addr: str = ""
    upstream_response_time: str = ""
    """Seconds, from the attempt's start until the answer's last byte."""
    upstream_status: str = ""
    upstream_connect_time: str = ""
    """Seconds."""
    upstream_header_time: str = ""
    """Seconds, from the attempt's start until the answer's head."""
    upstream_response_length: str = ""
    """Bytes of the body as nginx got it."""
    content_length: str = ""
    """The same as the server announced it; empty where it did not know."""
    protocol: str = ""
    """`HTTP/1.1`."""
    scheme: str = ""
    request_length: str = ""
    """Bytes: request line, headers and body."""
    body_bytes_sent: str = ""
    host: str = ""
    """`Host` as the client sent it, perhaps with a port: untrusted text, made printable."""


class Attempt(NamedTuple):
    """One server that nginx asked. Times are microseconds, None where it did not come so far; 0 is no status."""

    address: str
    status: int
    connect_us: int | None
    header_us: int | None
    response_us: int | None
    length: int
    """Bytes of the body that nginx got."""


_SCHEME = TAILTRACE_EXCHANGE.index("scheme")
_FIRST, _LAST = TAILTRACE_EXCHANGE.index("upstream_addr"), TAILTRACE_EXCHANGE.index("upstream_http_content_length")
"""Between these, in this order, stands what each server that was asked did."""


def scheme_of(text: str) -> str:
    """Return `http` or `https`, or an empty text where nothing is known: the rest is not read for it."""
    values = text.split("\t", _SCHEME + 1)
    return values[_SCHEME] if len(values) == _SCHEME + 2 else ""


def read_exchange(text: str) -> Exchange:
    """Read `Access.exchange`; what does not have the fields of this version reads as if nothing were known."""
    values = text.split("\t")
    if len(values) != len(TAILTRACE_EXCHANGE):
        return Exchange()
    # All but the lines of who plays with the log: nothing to undo, one look for all values.
    if "\\" not in text and "".join(values).isprintable():
        return Exchange._make(values)
    return Exchange(*(value if value.isprintable() and "\\" not in value else _plain(value) for value in values))


def _plain(value: str) -> str:
    return replaced(unescape_json(value))


def streamed_us(tried: Sequence[Attempt]) -> int:
    """Return how long the answer of the last server went on behind its head; 0 where that is not known."""
    last = tried[-1] if tried else None
    return (
        0 if last is None or last.header_us is None or last.response_us is None else last.response_us - last.header_us
    )


def streamed_us_of(text: str) -> int:
    """Return `streamed_us` of `Access.exchange`."""
    return streamed_us(attempts(read_exchange(text)))


def attempts(exchange: Exchange) -> list[Attempt]:
    """Return the servers that were asked, in order."""
    if not exchange.upstream_addr:
        return []
    if " " not in exchange.upstream_addr:
        return [_attempt(*exchange[_FIRST:_LAST])]
    addresses = _SEPARATOR.split(exchange.upstream_addr)
    columns = [
        _SEPARATOR.split(values)
        for values in (
            exchange.upstream_response_time,
            exchange.upstream_status,
            exchange.upstream_connect_time,
            exchange.upstream_header_time,
            exchange.upstream_response_length,
        )
    ]
    return [
        _attempt(address, *(column[position] if position < len(column) else "" for column in columns))
        for position, address in enumerate(addresses)
    ]


def _attempt(address: str, response: str, status: str, connect: str, header: str, length: str) -> Attempt:
    known = int(status) if len(status) == 3 and status.isascii() and status.isdecimal() else 0
    return Attempt(
        address, known, _seconds_us(connect), _seconds_us(header), _seconds_us(response), digits(length) or 0
    )


def digits(text: str) -> int | None:
    """Read a number of bytes."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < SIZE_DIGITS_MAX else None


_SECONDS = re.compile(r"([0-9]{1,10})\.([0-9]{3})")


@lru_cache(maxsize=4096)
def _seconds_us(text: str) -> int | None:
    match = _SECONDS.fullmatch(text)
    return int(match[1]) * 1_000_000 + int(match[2]) * 1000 if match else None
