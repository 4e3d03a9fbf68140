"""Requests as line protocol, and back. Pure.

Measurement `api_access`, one point for each request:

| tags | fields |
|---|---|
| user, user_id, device, node_id, kind | ip, id_tags, provider, via, reason, expired, identified_us |
| endpoint (the route), service, method, status_class, source | status_code, traffic, path, agent, error_type, bytes |
| | response_time_ms, app_time_ms, upstream_time_ms |
| | trace_id, span_id, key, time_us |

The first line is the identity. What has no value is left out. Tags are what people group by and what is bounded; ids of
requests and addresses are fields, since as tags each would be a series of its own.

A point's time is the request's millisecond and, within it, an offset that follows from its key (nginx knows no more
than milliseconds). Where another request of the same source has that time, the next free one is taken: so (time,
source) names a request, and nothing overwrites another. `time_us` has the exact time.

Tags can hold neither control characters nor a backslash at their end: these are written as the pictures that Unicode
has for them, and read back as what they were.

https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from tailtrace_bridge.core.columns import Columns
from tailtrace_bridge.core.records import Access, Identity, Row, Traffic

RAW = "api_access"
MS_NS = 1_000_000
MS_US = 1_000
_TAG_SPECIAL = re.compile(r"([, =])")
_PICTURES = {**{code: 0x2400 + code for code in range(32)}, 0x7F: 0x2421, ord("\\"): 0x29F5}
_PICTURED = {picture: code for code, picture in _PICTURES.items()}
_IDENTITY_COLUMNS = (
    "ip", "kind", "user", "device", "node_id", "id_tags", "provider", "user_id", "via", "reason", "expired",
)  # fmt: skip
"""In the order of `Identity`."""
_ROW_COLUMNS = (
    "time_us", "endpoint", "service", "method", "status_code", "traffic", "response_time_ms", "app_time_ms", "bytes",
    "key", "path", "trace_id", "span_id", "error_type", "identified_us", "upstream_time_ms", "agent",
)  # fmt: skip


def _select(columns: Sequence[str]) -> str:
    quoted = ", ".join(f'"{one}"' for one in columns)
    return f"SELECT {quoted} FROM {RAW}"  # noqa: S608  # our own names


SELECT_ROWS = _select(_IDENTITY_COLUMNS + _ROW_COLUMNS)
IDENTITY_WIDTH = len(_IDENTITY_COLUMNS)


def tag(value: str) -> str:
    """Write a tag's value so that it can stand in a tag: not yet escaped."""
    return value.translate(_PICTURES)


def untag(value: str | None) -> str:
    """Read a tag's value back."""
    return value.translate(_PICTURED) if value else ""


def first_slot(time_us: int, key: int) -> int:
    """Return the time, ns, that a request has unless another has it."""
    return time_us // MS_US * MS_NS + key % MS_NS


def next_slot(slot_ns: int) -> int:
    """Return the next time of the same millisecond; after its last comes its first."""
    return slot_ns // MS_NS * MS_NS + (slot_ns + 1) % MS_NS


def point(measurement: str, tags: Mapping[str, str], fields: Mapping[str, object], time_ns: int) -> bytes:
    """Write one point. Empty tags and fields that are None or empty are left out."""
    return f"{_head(measurement, tags)} {','.join(_fields(fields))} {time_ns}".encode()


Head = tuple[str, str, str, str, str, str, str, str, int]
"""What the tags of a point are made of."""
HEADS_MAX = 4_000


class LineMaker:
    """Makes lines of the rows of one batch: what rows share is written once.

    `made` keeps the tags of a batch for those that follow.
    """

    def __init__(
        self,
        columns: Columns,
        identities: Sequence[Identity],
        routes: Sequence[str],
        source: str,
        made: dict[Head, str] | None = None,
    ) -> None:
        self._columns, self._identities, self._routes, self._source = columns, identities, routes, source
        self._heads: dict[tuple[int, int, str, int], str] = {}
        self._made = {} if made is None else made
        self._shared: dict[int, str] = {}

    def line(self, row: int, time_ns: int) -> bytes:
        """Write the point of row number `row`."""
        columns = self._columns
        identity = columns.identity[row]
        endpoint, method, path, status, traffic = columns.requests[columns.request[row]]
        group = (identity, endpoint, method, status // 100)
        head = self._heads.get(group)
        if head is None:
            head = self._heads[group] = self._make_head(*group)
        shared = self._shared.get(identity)
        if shared is None:
            shared = self._shared[identity] = self._make_shared(identity)
        parts = [f"{head} key={columns.key[row]}i,time_us={columns.time_us[row]}i,status_code={status}i"]
        parts.append(f"traffic={traffic}i,bytes={columns.bytes_sent[row]}i")
        parts += (f"path={_text(path)}", shared)
        for name, took_us in (
            ("response_time_ms", columns.request_time_us[row]),
            ("upstream_time_ms", columns.upstream_time_us[row]),
            ("app_time_ms", columns.app_time_us[row]),
        ):
            if took_us is not None:
                parts.append(f"{name}={took_us / MS_US!r}")
        if (trace_id := columns.trace_id[row]) is not None:
            parts.append(f'trace_id="{trace_id.hex()}"')
        if (span_id := columns.span_id[row]) is not None:
            parts.append(f'span_id="{span_id.hex()}"')
        if error_type := columns.error_type[row]:
            parts.append(f"error_type={_text(error_type)}")
        if agent := columns.agents[columns.agent[row]]:
            parts.append(f"agent={_text(agent)}")
        return f"{','.join(parts)} {time_ns}".encode()

    def _make_head(self, identity: int, endpoint: int, method: str, status_class: int) -> str:
        who, route, service = self._identities[identity], self._routes[endpoint], self._columns.endpoints[endpoint][0]
        shared = (who.user, who.user_id, who.device, who.node_id, who.kind, route, service, method, status_class)
        if (made := self._made.get(shared)) is not None:
            return made
        if len(self._made) >= HEADS_MAX:
            self._made.clear()
        tags = {
            "device": who.device, "endpoint": route, "kind": who.kind, "method": method,
            "node_id": who.node_id, "service": service, "source": self._source,
            "status_class": f"{status_class}xx", "user": who.user, "user_id": who.user_id,
        }  # fmt: skip
        made = self._made[shared] = _head(RAW, tags)
        return made

    def _make_shared(self, identity: int) -> str:
        who = self._identities[identity]
        fields = {
            "ip": who.address, "id_tags": who.tags, "provider": who.provider, "via": who.via, "reason": who.reason,
            "expired": who.expired, "identified_us": self._columns.identified_us[identity],
        }  # fmt: skip
        return ",".join(_fields(fields))


class RowReader:
    """Reads rows of `SELECT_ROWS`: one object for each identity, not for each row."""

    def __init__(self) -> None:
        self._known: dict[tuple[Any, ...], Identity] = {}

    def identity(self, values: Sequence[Any]) -> Identity:
        """Return the identity of a row, without its time."""
        key = tuple(values[:IDENTITY_WIDTH])
        known = self._known.get(key)
        if known is None:
            ip, kind, user, device, node_id, tags, provider, user_id, via, reason, expired = key
            known = self._known[key] = Identity(
                ip or "", kind or "", untag(user), untag(device), untag(node_id), tags or "", provider or "",
                untag(user_id), via or "", reason or "", bool(expired),
            )  # fmt: skip
        return known

    def row(self, values: Sequence[Any]) -> Row:
        """Return a row of `SELECT_ROWS`, as `Store.rows` does."""
        identity, values = self.identity(values[1:]), values[1 + IDENTITY_WIDTH :]
        (time_us, route, service, method, status, traffic, request_ms, app_ms, sent, key,
         path, trace_id, span_id, error_type, identified_us, upstream_ms, agent) = values  # fmt: skip
        access = Access(
            time_us, key, identity.address, untag(method), path or "", status, to_us(request_ms), to_us(upstream_ms),
            False, sent, untag(service), trace_id or "", span_id or "", agent or "", "",
        )  # fmt: skip
        return Row(
            access, identity, untag(route), Traffic(traffic), to_us(app_ms), error_type or "", identified_us or 0
        )


def to_us(took_ms: float | None) -> int | None:
    """Read a duration back: exact, since a float has digits enough."""
    return None if took_ms is None else round(took_ms * MS_US)


def _head(measurement: str, tags: Mapping[str, str]) -> str:
    written = [(name, _TAG_SPECIAL.sub(r"\\\1", tag(value))) for name, value in tags.items() if value]
    return measurement + "".join(f",{name}={value}" for name, value in written)


def _fields(fields: Mapping[str, object]) -> list[str]:
    written = []
    for name, value in fields.items():
        if isinstance(value, bool):
            written.append(f"{name}={str(value).lower()}")  # `t` is not a boolean to every server
        elif isinstance(value, int):
            written.append(f"{name}={value}i")
        elif isinstance(value, str) and value:
            written.append(f"{name}={_text(value)}")
    return written


def _text(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
