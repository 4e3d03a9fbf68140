"""A batch of rows as columns, the form in which a store takes them and in which they pass between processes. Pure.

A batch names few identities, requests and agents many times: they stand in tables of their own, and a row holds its
places in these. So a store looks each of them up once, and what goes over a pipe is numbers for the most part.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

from tailtrace_bridge.core.records import Access, Identity, Row

_T = TypeVar("_T")
SWITCHED = 101
"""The status of a websocket: nginx writes its line when it is closed."""


class RequestShape(NamedTuple):
    """What was asked for and how it went: many rows of a log have the same."""

    endpoint: int
    """Its place in `Columns.endpoints`."""
    method: str
    path: str
    status: int
    traffic: int


class Columns(NamedTuple):
    """The tables, then a sequence for each column: they are of one length. What they hold stands in `records`."""

    identities: Sequence[Identity]
    endpoints: Sequence[tuple[str, str]]
    """Service and route."""
    requests: Sequence[RequestShape]
    agents: Sequence[str]
    identified_us: Sequence[int]
    """When each of `identities` was found out."""
    time_us: Sequence[int]
    key: Sequence[int]
    identity: Sequence[int]
    request: Sequence[int]
    agent: Sequence[int]
    request_time_us: Sequence[int | None]
    upstream_time_us: Sequence[int | None]
    app_time_us: Sequence[int | None]
    bytes_sent: Sequence[int]
    trace_id: Sequence[bytes | None]
    span_id: Sequence[bytes | None]
    error_type: Sequence[str | None]


class InterningTable(dict[_T, int]):
    """A table that grows: each value's place is the number of those that were asked for before it."""

    def __missing__(self, value: _T) -> int:
        place = self[value] = len(self)
        return place


def columns_of(rows: Sequence[Row]) -> Columns:
    """Turn rows by a quarter."""
    accesses = [row.access for row in rows]
    identities: InterningTable[tuple[Identity, int]] = InterningTable()
    endpoints: InterningTable[tuple[str, str]] = InterningTable()
    identity = [identities[(row.identity, row.identified_us)] for row in rows]
    endpoint = [endpoints[(row.access.service, row.route)] for row in rows]
    return join_columns(
        transposed(accesses),
        (list(identities), list(endpoints)),
        (identity, endpoint, [int(row.traffic) for row in rows]),
        ([row.app_time_us for row in rows], [row.error_type or None for row in rows]),
    )


def transposed(accesses: Sequence[Access]) -> Sequence[Sequence[Any]]:
    """Return the lines' columns, in the order of `Access`: `zip` turns all lines at once, in C."""
    return tuple(zip(*accesses, strict=True)) or ((),) * len(Access._fields)


def join_columns(
    lines: Sequence[Sequence[Any]],
    tables: tuple[Sequence[tuple[Identity, int]], Sequence[tuple[str, str]]],
    found: tuple[Sequence[int], Sequence[int], Sequence[int]],
    spans: tuple[Sequence[int | None], Sequence[str | None]],
) -> Columns:
    """Put together what the lines say, what was found out (identity, endpoint, traffic) and the spans' part.

    How long a websocket was open is no response time: no store counts it as one, nor the app's time of it.
    """
    (time_us, key, _, method, path, status, request_time_us, upstream_time_us, _, bytes_sent, _, trace_id, span_id,
     agent, *_) = lines  # fmt: skip
    agents: InterningTable[str] = InterningTable()
    agent_places = [agents[text] for text in agent]
    app_time_us, error_type = spans
    requests: InterningTable[tuple[Any, ...]] = InterningTable()
    request_time_us, app_time_us = (without_websockets(one, status) for one in (request_time_us, app_time_us))
    identity, endpoint, traffic = found
    identities, endpoints = tables
    request = [requests[one] for one in zip(endpoint, method, path, status, traffic, strict=True)]
    return Columns(
        [one for one, _ in identities], endpoints, list(map(RequestShape._make, requests)), list(agents),
        [identified_us for _, identified_us in identities],
        time_us, key, identity, request, agent_places,
        request_time_us, upstream_time_us, app_time_us, bytes_sent, from_hex(trace_id), from_hex(span_id), error_type,
    )  # fmt: skip


def without_websockets(times_us: Sequence[int | None], status: Sequence[int]) -> Sequence[int | None]:
    """Leave out the times of websockets: how long they were open."""
    if SWITCHED not in status:
        return times_us
    return [None if code == SWITCHED else time_us for time_us, code in zip(times_us, status, strict=True)]


def from_hex(texts: Sequence[str]) -> Sequence[bytes | None]:
    """Return ids as bytes; None where there is none."""
    if not any(texts):  # a log without ids
        return (None,) * len(texts)
    return [bytes.fromhex(text) if text else None for text in texts]
