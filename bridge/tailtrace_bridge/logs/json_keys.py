r"""JSON logs whose keys name what they hold: Caddy's, Traefik's, and those of nginx with other keys than ours. Pure.

| product | told by | unit of its duration |
|---|---|---|
| Caddy | `request` is an object with `remote_ip` or `client_ip` | seconds |
| Traefik | `ClientHost` and `DownstreamStatus` | nanoseconds; `StartUTC` is the request's begin |
| any other | keys for the time, the address, the status, and for request or path | seconds, as nginx writes them |

`KEYS` has the keys, by the variable that they stand for; case and `_`, `-`, `.` do not count. What nginx writes with no
quotes though it is no JSON (`-`, `0.1, 0.2`, `0.1 : 0.2`, `009`) and the `\xHH` of `escape=default` are read. A key that stands twice
with two values is a forged one (`escape=none`): the line is rejected.

A key inside another object is read with that one's name before it (`upstream.status`, `source.ip`), and by its own name
only in an object of `REQUESTS`: the `ip` of a host, the `path` of a log file and the headers that a client made up say
nothing of the request. Caddy's error log tells of a request that its access log tells of too: it is no line.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tailtrace_bridge.logs.format import unescape_default

KEYS: dict[str, tuple[str, ...]] = {
    "msec": ("msec",),
    "time_iso8601": ("timeiso8601", "time", "timestamp", "@timestamp", "ts", "datetime", "timelocal", "date", "localtime"),
    "remote_addr": ("remoteaddr", "remoteip", "clientip", "client", "clienthost", "clientaddr", "clientaddress", "sourceip", "sourceaddress", "ip", "remotehost", "remote", "remoteaddress"),
    "realip_remote_addr": ("realipremoteaddr",),
    "proxy_protocol_addr": ("proxyprotocoladdr",),
    "http_x_real_ip": ("httpxrealip", "xrealip", "realip"),
    "http_x_forwarded_for": ("httpxforwardedfor", "xforwardedfor", "xff", "forwardedfor"),
    "request": ("request", "requestline", "req"),
    "request_method": ("requestmethod", "method", "verb", "httpmethod"),
    "request_uri": ("requesturi", "uri", "path", "url", "requestpath", "target", "requesturl", "urloriginal", "urlpath"),
    "status": ("status", "statuscode", "responsestatus", "responsecode", "httpstatus", "code", "downstreamstatus", "response"),
    "bytes_sent": ("bytessent", "bodybytessent", "bytes", "size", "responsesize", "responsebytes", "responsebodybytes", "bytesout", "downstreamcontentsize", "length"),
    "request_time": ("requesttime", "duration", "requestduration", "responsetime", "latency", "elapsed", "reqtime", "rt"),
    "upstream_response_time": ("upstreamresponsetime", "upstreamtime", "urt", "apptime"),
    "upstream_addr": ("upstreamaddr", "upstream", "proxyupstream"),
    "upstream_status": ("upstreamstatus",),
    "server_name": ("servername", "vhost", "host", "httphost", "requesthost", "domain"),
    "http_user_agent": ("httpuseragent", "useragent", "agent", "ua", "requestuseragent", "useragentoriginal", "headersuseragent"),
    "request_id": ("requestid", "reqid", "xrequestid"),
}  # fmt: skip
# ruff: noqa: E501 - the table of keys
REQUESTS = frozenset(
    {
        "", "access", "attributes", "client", "data", "event", "fields", "http", "httprequest", "json", "jsonpayload", "log",
        "message", "msg", "nginx", "payload", "record", "req", "request", "res", "response",
    }
)  # fmt: skip
"""Objects whose keys tell of the request as those beside them do."""
_SIZES = frozenset({"bytes", "size", "length"})
"""Of what a client sent, where they stand in `request` with no other word."""
_VARIABLES = {key: (name, rank) for name, keys in KEYS.items() for rank, key in enumerate(keys)}
_SQUASH = re.compile(r"[^a-z0-9@]+")
_PIECE = re.compile(
    r"""("(?:[^"\\]++|\\.)*+(?:"|\\?\Z)) | ([^\s"{}\[\],:](?:[^"{}\[\]:]++|(?<=[0-9-]\x20):(?=\x20[0-9-]))*+) (?=(["}\]]|\Z)?)""",
    re.DOTALL | re.VERBOSE,
)
"""A string, closed or not, or what stands bare up to the next of JSON's own characters; whether a value can end there."""
_WALL = re.compile(r"\A([0-9]{4})/([0-9]{2})/")
"""Caddy's `wall` times."""
_BYTE = re.compile(r"\\x([0-9A-Fa-f]{2})")
_NO_CHARACTER = re.compile("[\ud800-\udc7f\udd00-\udfff]")
"""Halves of a pair that some write alone; the others are bytes that were no UTF-8."""
_EPOCH = re.compile(r"\A([0-9]{10})([0-9]{3}|[0-9]{6}|[0-9]{9})\Z")
"""A whole number that is a time of our days in milli-, micro- or nanoseconds, and thousands of years off in seconds."""
_SECONDS = re.compile(r"[0-9]{1,10}\.[0-9]{1,12}|-|[0-9.-]+(?:(?:, | : )[0-9.-]+)+")
_TARGET = re.compile(r"(?:/|[a-z]{2,8}://)[^ ]*+\Z")
"""Of a request line, without what stands around it."""
_WHOLE = re.compile(r"(?<=[0-9])\.0+\Z")
"""Of a number that some write as `200.0`."""
_ZONE = re.compile(r"\A(\[?fe80:[0-9a-f:]{1,36})%[A-Za-z0-9_.-]{1,15}(?=\]|\Z)", re.IGNORECASE)
"""What Go writes behind a link-local address: the interface of ours that it came by, which says nothing of the client."""
_NUMBERS_NAMED = frozenset({"requesttime", "upstreamresponsetime"})
CADDY_LOGGER = "http.log.access"
DEPTH_MAX = 8
TEXT_MAX = 2048
Line = dict[str, str]


class _ForgedError(Exception):
    pass


@dataclass(frozen=True, slots=True)
class KeyedFormat:
    """A log whose values have names."""

    source: str
    """What is shown of it."""
    name: str
    match: Callable[[str], Line | None]
    """Gives the values of a line by variable, or None for what is no such line."""


def format_of(text: str) -> KeyedFormat | None:
    """Return which of the three a line is of; None: it is none."""
    values = _read(text)
    if values is None:
        return None
    return {"caddy": CADDY_FORMAT, "traefik": TRAEFIK_FORMAT}.get(values.get("product", ""), KEYS_FORMAT)


def _read(text: str) -> Line | None:
    if not text.lstrip().startswith("{") or '"tailtrace_' in text:  # of our own format, which is read as such or not
        return None
    try:
        data = _parse(text)
    except (_ForgedError, ValueError, RecursionError):
        return None
    if not isinstance(data, dict):
        return None
    request = data.get("request")
    if isinstance(request, dict) and ("remote_ip" in request or "client_ip" in request or "remote_addr" in request):
        return _caddy(data, request)
    if "ClientHost" in data and "DownstreamStatus" in data:
        return _traefik(data)
    return named(data)


def _parse(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_once)
    except ValueError:
        quoted = _PIECE.sub(_with_quotes, _BYTE.sub(r"\\\\x\1", text))
        return json.loads(quoted, object_pairs_hook=_once)


def _with_quotes(piece: re.Match[str]) -> str:
    """Put quotes around a value that stands bare, as nginx writes an empty one or `-`; leave all else."""
    string, bare, follower = piece.groups()
    if string or follower is None:
        return piece[0]
    value = bare.rstrip()
    if follower == '"':  # the next key: a comma is between
        value = value.removesuffix(",").rstrip() if value.endswith(",") else ""
    if not value or value.endswith(",") or value in {"true", "false", "null"}:
        return piece[0]
    return f'"{value}"{bare[len(value) :]}'


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs) and any(found[key] != value for key, value in pairs):
        raise _ForgedError
    return found


def named(data: Mapping[str, Any]) -> Line | None:
    """Return the values by variable of what is given by keys; None: it says too little."""
    best: dict[str, tuple[tuple[int, int], str, str]] = {}
    asked = False
    for keys, value in _flat(data, ()):
        squashed = _known_key(keys)
        if not squashed or value is None:
            continue
        name, known_as = _VARIABLES[squashed]
        asked |= name in {"request", "request_uri"}  # empty where a client sent no request at all
        text, rank = _text(value), (known_as, len(keys))
        if text in {"", "-"} or (name in best and best[name][0] <= rank):
            continue
        best[name] = (rank, text, squashed)
    values = {name: text for name, (_, text, _) in best.items()}
    if " HTTP/" in values.get("request", "") and "request_uri" in best and best["request_uri"][2] != "requesturi":
        del values["request_uri"]  # it may be `$uri`, which nginx rewrites
    for name in ("request_time", "upstream_response_time"):
        # A whole number may be of any unit: only nginx's own name says that it is seconds.
        if name in best and not _SECONDS.fullmatch(values[name]) and best[name][2] not in _NUMBERS_NAMED:
            del values[name]
    if _TARGET.match(values.get("request", "")):  # of those who write method and protocol under keys of their own
        values.setdefault("request_uri", values["request"])
        del values["request"]
    has_address = any(name in values for name in list(KEYS)[2:7])
    if not ({"msec", "time_iso8601"} & values.keys() and has_address and asked and "status" in values):
        return None
    if not re.match(r"[0-9]", values.get("msec") or values["time_iso8601"]):
        return None
    return _rounded(values)


def _flat(data: Mapping[str, Any], above: tuple[str, ...]) -> list[tuple[tuple[str, ...], Any]]:
    found: list[tuple[tuple[str, ...], Any]] = []
    for key, value in data.items():
        keys = (*above, known_as(key))
        if not isinstance(value, dict):
            found.append((keys, value))
        elif len(keys) <= DEPTH_MAX:
            found += _flat(value, keys)
    return found


def _known_key(keys: tuple[str, ...]) -> str:
    """Return as which of `KEYS` a key counts, with the names of the objects that it stands in; empty: none."""
    if keys[-1] in _SIZES and keys[-2:-1] in {("request",), ("req",)}:
        return ""
    for start in range(len(keys)):
        if "".join(keys[start:]) in _VARIABLES:
            return "".join(keys[start:])
        if keys[start] not in REQUESTS:
            break
    return ""


def known_as(key: str) -> str:
    """Return how a key stands in `KEYS`."""
    return _SQUASH.sub("", key.lower())


def _text(value: Any) -> str:
    if isinstance(value, list):  # a header that came several times: which of them a client made up, `client_of` tells
        return ", ".join(map(_text, value))
    if isinstance(value, float):
        return f"{value:.6f}"
    text = str(value) if str(value).isascii() else _NO_CHARACTER.sub("\ufffd", str(value))
    return unescape_default(text) if "\\x" in text else text


def _caddy(data: dict[str, Any], request: dict[str, Any]) -> Line | None:
    if not str(data.get("logger", CADDY_LOGGER)).startswith(CADDY_LOGGER):
        return None
    headers = request.get("headers")
    agent = next(
        (_text(value) for key, value in headers.items() if key.lower() == "user-agent"), ""
    ) if isinstance(headers, dict) else ""  # fmt: skip
    values = {
        "product": "caddy",
        "time_iso8601": _WALL.sub(r"\1-\2-", _text(data.get("ts", "")).replace("Z", "+00:00")),
        "remote_addr": _without_port(
            _text(request.get("client_ip") or request.get("remote_ip") or request.get("remote_addr"))
        ),
        "request_method": _text(request.get("method", "")),
        "request_uri": _text(request.get("uri", "")),
        "status": _text(data.get("status", "")),
        "bytes_sent": _text(data.get("size", "")),
        "server_name": _text(request.get("host", "")),
        "http_user_agent": agent,
    }
    duration = data.get("duration")
    if isinstance(duration, (int, float)) and not isinstance(duration, bool):
        values["request_time"] = f"{max(duration, 0):.6f}"
    return values if re.match("[0-9]", values["time_iso8601"]) and "status" in data else None


def _traefik(data: dict[str, Any]) -> Line | None:
    values = {
        "product": "traefik",
        "time_iso8601": _nanoseconds_cut(_text(data.get("StartUTC") or data.get("time") or "")),
        "remote_addr": _without_port(_text(data["ClientHost"])),
        "request_method": _text(data.get("RequestMethod", "")),
        "request_uri": _text(data.get("RequestPath", "")),
        "status": _text(data["DownstreamStatus"]),
        "bytes_sent": _text(data.get("DownstreamContentSize", "")),
        "server_name": _text(data.get("RequestHost", "")),
        "http_user_agent": _text(data.get("request_User-Agent", "")),
    }
    for name, key in (("request_time", "Duration"), ("upstream_response_time", "OriginDuration")):
        if isinstance(duration := data.get(key), int):
            values[name] = f"{max(duration, 0) / 1e9:.6f}"
    if "StartUTC" in data:
        values["begins"] = "1"
    return values if re.match("[0-9]", values["time_iso8601"]) else None


def _rounded(values: Line) -> Line:
    for name in ("msec", "time_iso8601"):
        if name in values:
            values[name] = _nanoseconds_cut(_EPOCH.sub(r"\1.\2", values[name]))
    if address := values.get("remote_addr"):
        values["remote_addr"] = _without_port(address)
    return values | {name: _WHOLE.sub("", values[name]) for name in ("status", "bytes_sent") if name in values}


def _nanoseconds_cut(text: str) -> str:
    return re.sub(r"(\.[0-9]{6})[0-9]+", r"\1", text)


def _without_port(text: str) -> str:
    text = _ZONE.sub(r"\1", text)
    found = re.fullmatch(r"\[([0-9A-Fa-f:.]+)\](?::[0-9]+)?|([0-9.]+):[0-9]+", text)
    return (found[1] or found[2]) if found else text


KEYS_FORMAT = KeyedFormat("JSON, read by the names of its keys", "json", _read)
CADDY_FORMAT = KeyedFormat("JSON of Caddy", "caddy", _read)
TRAEFIK_FORMAT = KeyedFormat("JSON of Traefik", "traefik-json", _read)
