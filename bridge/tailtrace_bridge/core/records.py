"""What flows through the bridge: one frozen record for each stage of a request's way.

Units stand last in the names. Times are integers: microseconds since the Unix epoch.

`Access`, `Row` and `Identity` are named tuples, not dataclasses: an import makes them for every line or address of the
log, and a frozen dataclass of their width costs four times as much to make (`bench/records.py` prints the ratio).
"""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

OTHER = "__other__"
"""The endpoint (or the name) of what is not kept apart: no path, or beyond a limit."""

ROOT_SPAN_ID = "7461696c74726163"
"""nginx's span id in each trace that it starts ("tailtrac"): an id must differ within its trace alone.

https://github.com/open-telemetry/opentelemetry-proto/blob/main/opentelemetry/proto/trace/v1/trace.proto (`span_id`)
"""

INVALID = "invalid "
"""Begins the error type of a request that the app refused as invalid: `invalid body.price: missing`."""


class Traffic(IntEnum):
    """What a request was for. Only `APP` counts as usage; nothing is thrown away."""

    APP = 0
    STATIC = 1
    HEALTH = 2
    BOT = 3
    CARD = 4


class Access(NamedTuple):
    """One line of an nginx access log: a request as the proxy saw it.

    `key` and `time_us` together name the request; both are a pure function of the line and, where the line has no
    `$request_id`, of its place in the log, so that reading a line twice makes the same record.
    """

    time_us: int
    """When the request began: `$msec` less `$request_time`; the time of the line where the format lacks these."""
    key: int
    """63 bits."""
    address: str
    method: str
    """An HTTP method, or `_OTHER` (OpenTelemetry's word) for a request line that is not HTTP."""
    path: str
    """Without the query string, at most `PATH_LENGTH_MAX` characters, never a lone surrogate."""
    status: int
    """0 where the line gives none."""
    request_time_us: int | None
    upstream_time_us: int | None
    proxied: bool
    """nginx passed the request on, or tried to: an app's span may follow."""
    bytes_sent: int
    service: str
    """`$server_name`, or empty."""
    trace_id: str
    """32 hex digits, or empty."""
    span_id: str
    """16 hex digits: nginx's own span, the parent of the app's."""
    user_agent: str
    card: str
    """The card that a `/_tailtrace/view` request names, with its variant as `cards.card_key` has it, or empty."""
    serve: str = ""
    """What `tailscale serve` said of the client, as it stands in the line: see `serve_headers`. Anyone may forge it."""
    peer: str = ""
    """Who really connected (`$realip_remote_addr`), where that is not `address`; `unix:` for a unix socket."""
    peer_port: int = 0
    """`$remote_port`, or 0."""
    proxy_protocol: str = ""
    """The client's address as the PROXY protocol named it (`$proxy_protocol_addr`), or empty."""
    proxy_protocol_at: str = ""
    """Which of its own addresses nginx took such a connection on (`$server_addr`), or empty: not told."""
    app: str = ""
    """What the app said of its answer, as it stands in the line: `rows.app_header` reads it. Not an old answer's."""
    parent_span_id: str = ""
    """16 hex digits: the span of a trusted peer that nginx's own hangs below, or empty."""
    sampled: bool = True
    """The flag in the `traceparent` that the app got: without it no span is to be expected."""
    exchange: str = ""
    """How the exchange went, unread: `logs.exchange.read_exchange` reads it. Empty in other formats than ours."""


@dataclass(frozen=True, slots=True)
class RejectedLine:
    """A line that is no record: why, where, and its beginning. Kept and counted, never raised."""

    reason: str
    """One of `access_log.REASONS`."""
    file: str
    offset: int
    """Bytes from the (uncompressed) start of the file to the start of the line."""
    text: str
    """At most the first `REJECTED_TEXT_MAX` characters, with `…` for query strings and credentials."""


@dataclass(frozen=True, slots=True)
class AppSpan:
    """What an app's SERVER span adds to its request."""

    trace_id: str
    parent_span_id: str
    route: str
    """`http.route`, or empty where no route matched."""
    duration_us: int
    error_type: str
    """`error.type`, or empty."""
    service: str
    """`service.name` of the resource."""
    # What it was asked for, by which it is told from other spans of the same parent. Two spans that differ in nothing
    # else are one, sent again.
    method: str = field(default="", compare=False)
    """As in `Access`, or empty."""
    path: str = field(default="", compare=False)
    """`url.path`, or empty."""
    status: int = field(default=0, compare=False)
    start_us: int = field(default=0, compare=False)


class WholeSpan(NamedTuple):
    """A span of any kind as an app sent it, on its way to a kept trace: nothing read but its ids and times."""

    trace_id: bytes
    """16 bytes."""
    data: bytes
    """An encoded `opentelemetry.proto.trace.v1.Span`: untrusted."""
    service: str
    """`service.name` of the resource."""
    version: str
    """`service.version` of the resource, or empty."""


class KeptTrace(NamedTuple):
    """The spans of one request, scrubbed and packed by `traces.pack`; `time_us` and `key` are the request's."""

    time_us: int
    key: int
    trace_id: bytes
    reason: str
    """Why it is kept, one of `traces.choice.REASONS`."""
    spans: int
    data: bytes
    """zlib of an encoded `ExportTraceServiceRequest`: nginx's spans and the app's, with nobody's name in them."""


class Failure(NamedTuple):
    """A failed request and its group, which `traces.groups` makes; `time_us` and `key` are the request's."""

    time_us: int
    key: int
    fingerprint: str
    type: str
    title: str
    frames: str
    version: str
    """`service.version` of the app that failed, or empty."""


class Marker(NamedTuple):
    """Something that happened at a moment: a deployment, or what somebody wrote down."""

    time_us: int
    kind: str
    """`version` or `note`."""
    service: str
    text: str


class Identity(NamedTuple):
    """Who stood behind an address at one moment: a snapshot, stored with the row and never looked up again.

    | kind | who it is |
    |---|---|
    | user | a person's device |
    | tagged | a service: a node with tags, no person |
    | shared | a node shared from or with another tailnet, and its person |
    | self | this machine: its own node, or loopback |
    | subnet | somebody in the network behind the subnet router or exit node `via`: no person |
    | funnel | somebody of the internet, through Tailscale Funnel |
    | external | a public address |
    | unknown | nobody can tell; `reason` says why |
    """

    address: str
    kind: str = "unknown"
    user: str = ""
    """The login name, or empty: a tagged node has none."""
    device: str = ""
    node_id: str = ""
    """Tailscale's stable node id, or empty."""
    tags: str = ""
    """Comma-separated, `tag:ci,tag:server`."""
    provider: str = ""
    """Who said so: `localapi`, `snapshot`, `control`, `static`, `serve` or empty."""
    user_id: str = ""
    """Tailscale's id of the user, which stays when the login changes; or empty."""
    via: str = ""
    """The subnet router or exit node that the request came through, or empty."""
    reason: str = ""
    """Why it is unknown, one of `identity.REASONS`; or empty."""
    expired: bool = False
    """The node's key had expired."""


class Row(NamedTuple):
    """A request as it is stored: line, identity and what the span added."""

    access: Access
    identity: Identity
    route: str
    traffic: Traffic
    app_time_us: int | None
    error_type: str
    identified_us: int = 0
    """When the identity was found out, or 0."""
