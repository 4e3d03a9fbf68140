"""The lines of an export, and back: newline-delimited JSON in UTF-8, which `tailtrace import` reads. Pure.

| line | what it holds |
|---|---|
| first | `{"tailtrace_export": 1, …}`: the version, the fields, the store, and how many requests it counts |
| who was ever named | `{"tailtrace_identity": {…}, "named_us": …}`, oldest first: names of now depend on them |
| a rejected line of a log | `{"tailtrace_refusal": {…}}` |
| a request | a flat object with the names of `FIELDS`; what is empty is left out |
| last | `{"tailtrace_end": {…}}`: how many of each there were, and a checksum of all bytes before it |

Reading it back:

| a line | becomes |
|---|---|
| a request | a `Row` with the key and the time that it had: what is known already changes nothing |
| too long, no JSON, or a value that no log could have | a `RejectedLine` with its reason and place, as in a log |
| a first line of a newer version | `LogFileError`: nothing of it is read |
| a last line that does not fit, or none | all lines count, and a problem is told: the file is cut or was changed |

A file is untrusted: every text must be printable and no longer than `TEXT_LENGTH_MAX`, every number
in the range that a log line can have.

https://github.com/ndjson/ndjson-spec
"""

import json
import re
from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

import xxhash

from tailtrace_bridge.core.columns import Columns, columns_of
from tailtrace_bridge.core.errors import LogFileError
from tailtrace_bridge.core.records import Access, Identity, RejectedLine, Row, Traffic
from tailtrace_bridge.logs.rejected import LINE_LENGTH_MAX, REASONS, REJECTED_TEXT_MAX, reject
from tailtrace_bridge.logs.request_line import METHODS
from tailtrace_bridge.logs.times import TIME_US_MAX
from tailtrace_bridge.store.names import Named

VERSION = 1
KEY_MAX = (1 << 63) - 1
NUMBER_MAX = 10**17
"""Of durations, µs, and of sizes: more than a line of a log can say."""
STATUS_MAX = 999
TEXT_LENGTH_MAX = 1024
FILE_LENGTH_MAX = 4096
_FIRST = b'{"tailtrace_export":'
_LAST = b'{"tailtrace_end":'
_TRAFFIC = {traffic.name.lower(): traffic for traffic in Traffic}
_KINDS = ("user", "tagged", "shared", "self", "subnet", "funnel", "external", "unknown")
_METHODS = METHODS | {"_OTHER"}
_IDENTITY_VALUES = attrgetter(
    "address", "kind", "user", "device", "node_id", "tags", "provider", "user_id", "via", "reason", "expired"
)


class Field(NamedTuple):
    """One value of an exported request."""

    name: str
    kind: type
    """`int`, `str` or `bool`."""
    meaning: str
    """With the unit; `docs/export.md` shows it."""
    default: int | str | bool | None = None
    """What it is where it is left out; `...` where it may not be."""
    highest: int = NUMBER_MAX
    reason: str = "no-format"
    """Why a line is rejected whose value is none."""
    pattern: re.Pattern[str] | None = None


_MUST: Any = ...
FIELDS = (
    Field("time_us", int, "when the request began, µs since 1970-01-01 UTC", _MUST, TIME_US_MAX - 1, "bad-time"),
    Field("key", int, "names the request among those of its time; 63 bits", _MUST, KEY_MAX, "bad-number"),
    Field("address", str, "the client's IP address", _MUST, reason="bad-address"),
    Field("kind", str, f"`{'`, `'.join(_KINDS)}`", _MUST, pattern=re.compile("|".join(_KINDS))),
    Field("user", str, "login name", ""),
    Field("device", str, "device name", ""),
    Field("node_id", str, "Tailscale's stable id of the device", ""),
    Field("tags", str, "the device's tags, comma-separated", ""),
    Field("provider", str, "who said who it is", ""),
    Field("user_id", str, "Tailscale's id of the user", ""),
    Field("via", str, "the subnet router or exit node in between", ""),
    Field("reason", str, "why the kind is unknown", ""),
    Field("expired", bool, "the device's key had expired", False),
    Field("identified_us", int, "when the identity was found out, µs since 1970-01-01 UTC; 0: never", 0, TIME_US_MAX),
    Field("service", str, "nginx's `$server_name`", ""),
    Field("endpoint", str, "the route's template, such as `/items/{item_id}`", ""),
    Field("method", str, "HTTP method, or `_OTHER`", _MUST, pattern=re.compile("|".join(sorted(_METHODS)))),
    Field("path", str, "without the query string", ""),
    Field("status", int, "HTTP status; 0 where the log has none", 0, STATUS_MAX, "bad-number"),
    Field("traffic", str, "`app`, `static`, `health`, `bot` or `card`", _MUST, pattern=re.compile("|".join(_TRAFFIC))),
    Field("request_time_us", int, "nginx's `$request_time`, µs; empty where not logged", reason="bad-number"),
    Field("upstream_time_us", int, "nginx's `$upstream_response_time`, µs; empty where none", reason="bad-number"),
    Field("app_time_us", int, "time in the app, of its span, µs; empty without a span", reason="bad-number"),
    Field("bytes_sent", int, "bytes of the response", 0, NUMBER_MAX, "bad-number"),
    Field("trace_id", str, "32 hex digits, or empty", "", pattern=re.compile("(?:[0-9a-f]{32})?")),
    Field("span_id", str, "16 hex digits, or empty: nginx's span", "", pattern=re.compile("(?:[0-9a-f]{16})?")),
    Field("user_agent", str, "`User-Agent`, cut", ""),
    Field("error_type", str, "the app's `error.type`, or empty", ""),
)
_IDENTITY_FIELDS = FIELDS[2:13]
NAMES = tuple(field.name for field in FIELDS)


def values_of(row: Row) -> tuple[Any, ...]:
    """Return a request's values in the order of `FIELDS`."""
    access = row.access
    return (
        access.time_us, access.key, *_IDENTITY_VALUES(row.identity), row.identified_us, access.service, row.route,
        access.method, access.path, access.status, row.traffic.name.lower(), access.request_time_us,
        access.upstream_time_us, row.app_time_us, access.bytes_sent, access.trace_id, access.span_id,
        access.user_agent, row.error_type,
    )  # fmt: skip


def row_of(document: Mapping[str, Any]) -> Row:
    """Make the request that `values_of` took apart. Raises `UnreadableError`; unknown names are passed over."""
    values = [_value(field, document) for field in FIELDS]
    (time_us, key, *who, identified_us, service, route, method, path, status, traffic, request_time_us,
     upstream_time_us, app_time_us, bytes_sent, trace_id, span_id, agent, error_type) = values  # fmt: skip
    access = Access(
        time_us, key, who[0], method, path, status, request_time_us, upstream_time_us, False, bytes_sent, service,
        trace_id, span_id, agent, "",
    )  # fmt: skip
    return Row(access, Identity(*who), route, _TRAFFIC[traffic], app_time_us, error_type, identified_us)


class UnreadableError(Exception):
    """A line that is none of ours; its argument is one of `access_log.REASONS`."""


class Lines:
    """Makes the lines of one export, and counts them."""

    def __init__(self) -> None:
        self.requests = self.rejected_lines = self.identities = 0
        self._checksum = xxhash.xxh3_64()

    def first(self, store: str, requests: int) -> bytes:
        """Make the first line. `requests`: how many the store counts, as far as that is known before they are read."""
        return self._line({"tailtrace_export": VERSION, "store": store, "requests": requests, "fields": list(NAMES)})

    def identity(self, named: Named) -> bytes:
        """Make the line of somebody who was named."""
        self.identities += 1
        return self._line({"tailtrace_identity": _without_empty(_IDENTITY_FIELDS, _IDENTITY_VALUES(named.identity)),
                           "named_us": named.named_us})  # fmt: skip

    def rejected_line(self, one: RejectedLine) -> bytes:
        """Make the line of a rejected line."""
        self.rejected_lines += 1
        values = {"reason": one.reason, "file": one.file, "offset": one.offset, "text": one.text}
        return self._line({"tailtrace_refusal": values})

    def rows(self, rows: Sequence[Row]) -> bytes:
        """Make the lines of requests."""
        self.requests += len(rows)
        lines = b"".join([_dumped(_without_empty(FIELDS, values_of(row))) for row in rows])
        self._checksum.update(lines)
        return lines

    def last(self) -> bytes:
        """Make the last line."""
        return _dumped(
            {
                "tailtrace_end": {
                    "requests": self.requests,
                    "refusals": self.rejected_lines,
                    "identities": self.identities,
                    "xxh3_64": self._checksum.hexdigest(),
                }
            }
        )

    def _line(self, document: Mapping[str, Any]) -> bytes:
        line = _dumped(document)
        self._checksum.update(line)
        return line


def is_export(first_line: bytes) -> bool:
    """Return whether a file that begins with this line is an export."""
    return first_line.startswith(_FIRST)


class ExportReader:
    """Reads the lines of one export, which come in order."""

    def __init__(self) -> None:
        self._checksum = xxhash.xxh3_64()
        self._end: Mapping[str, Any] | None = None
        self._is_changed = False

    def parse(self, line: bytes, file: str, offset: int, _seed: int = 0) -> Row | Named | RejectedLine | None:
        """Read a line; None is for the first and the last. Raises `LogFileError` for a version that is not ours."""
        try:
            self._is_changed = self._is_changed or self._end is not None  # nothing comes after the last line
            if line.startswith(_LAST):
                self._end = _document(line)
                return None
            self._checksum.update(line + b"\n")
            document = _document(line)
            if offset == 0:
                _check_version(document.get("tailtrace_export"), file)
                return None
            if "tailtrace_identity" in document:
                return _named_of(document)
            if "tailtrace_refusal" in document:
                return _rejected_line_of(document["tailtrace_refusal"])
            return row_of(document)
        except UnreadableError as error:
            return reject(str(error), line, file, offset)

    def columns(self, records: Sequence[Row | Named]) -> Columns:
        """Return what was read as a store takes it: who was named stands before who is behind the requests."""
        columns = columns_of([record for record in records if isinstance(record, Row)])
        named = [record for record in records if isinstance(record, Named)]
        return columns._replace(
            identities=[*(one.identity for one in named), *columns.identities],
            identified_us=[*(one.named_us for one in named), *columns.identified_us],
            identity=[len(named) + place for place in columns.identity],
        )

    def problem(self, file: str) -> str:
        """Return at the end what is wrong with the file as a whole, or nothing."""
        if self._end is None:
            return (
                f"{file}: the export is cut: its last line is missing. The lines before are stored; export again, and "
                "import that: what is known already changes nothing."
            )
        end = self._end.get("tailtrace_end")
        checksum = end.get("xxh3_64") if isinstance(end, dict) else None
        if self._is_changed or checksum != self._checksum.hexdigest():
            return (
                f"{file}: the export was changed on its way: its lines do not fit its checksum. What could be read is "
                "stored; export again, and import that."
            )
        return ""


def _dumped(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace") + b"\n"


def _without_empty(fields: Sequence[Field], values: Sequence[Any]) -> dict[str, Any]:
    return {
        field.name: value
        for field, value in zip(fields, values, strict=True)
        if value is not None and value != "" and value is not False
    }


def _document(line: bytes) -> dict[str, Any]:
    if len(line) > LINE_LENGTH_MAX:
        raise UnreadableError("too-long")
    if not line.strip():
        raise UnreadableError("empty")
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):  # not UTF-8, not JSON, a number without end, nested without end
        raise UnreadableError("no-format") from None
    if not isinstance(document, dict):
        raise UnreadableError("no-format")
    return document


def _check_version(version: object, file: str) -> None:
    if version != VERSION or version is True:
        raise LogFileError(
            f"{file}: an export of version {version!r}; this tailtrace reads version {VERSION}. Upgrade tailtrace."
        )


def _value(field: Field, document: Mapping[str, Any]) -> Any:
    value: Any = document.get(field.name, field.default)
    if value is None and field.default is None:
        return None
    is_of_kind = type(value) is field.kind  # neither true for 1, nor 1.0
    if not is_of_kind:
        raise UnreadableError(field.reason)
    if field.kind is int and not 0 <= value <= field.highest:
        raise UnreadableError(field.reason)
    if field.kind is str and (
        len(value) > TEXT_LENGTH_MAX
        or not value.isprintable()  # nor a lone surrogate, which no store can keep
        or (field.pattern is not None and field.pattern.fullmatch(value) is None)
        or (field.default is _MUST and not value)
    ):
        raise UnreadableError(field.reason)
    return value


def _named_of(document: Mapping[str, Any]) -> Named:
    who, named_us = document["tailtrace_identity"], document.get("named_us", 0)
    if not isinstance(who, dict):
        raise UnreadableError("no-format")
    if type(named_us) is not int or not 0 <= named_us <= TIME_US_MAX:
        raise UnreadableError("bad-time")
    return Named(Identity(*(_value(field, who) for field in _IDENTITY_FIELDS)), named_us)


def _rejected_line_of(values: object) -> RejectedLine:
    if not isinstance(values, dict):
        raise UnreadableError("no-format")
    reason, file, offset, text = (values.get(name) for name in ("reason", "file", "offset", "text"))
    if reason not in REASONS or not _is_text(file, FILE_LENGTH_MAX) or not _is_text(text, REJECTED_TEXT_MAX):
        raise UnreadableError("no-format")
    if type(offset) is not int or not 0 <= offset <= KEY_MAX:
        raise UnreadableError("bad-number")
    return RejectedLine(str(reason), str(file), offset, str(text))


def _is_text(value: object, length_max: int) -> bool:
    """Return whether it is a text that a store can keep; a rejected line's beginning may hold whatever UTF-8 can."""
    return isinstance(value, str) and len(value) <= length_max and not re.search("[\ud800-\udfff]", value)
