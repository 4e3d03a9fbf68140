"""A span as it is kept: bounded, and without what names a person or opens a door. Pure.

| of a span | becomes |
|---|---|
| `client.*`, `user.*`, `enduser.*`, `user_agent.*`, captured headers, parameters of queries, a peer's address of a
  SERVER span, and their older names | goes: who asked stands in the request's row, under its rules |
| what its name calls a person: `app.user`, `customerEmail`, `login_name` | goes, numbers too |
| the login, device and address of who asked, in any text | `[person]`: the row alone says who it was |
| what its name calls a secret: `app.password`, `x-api-key`, `auth.token` | goes, but for a number: `llm.token.count` |
| `Bearer …`, `Basic …`, `password: …`, `token=…` in a text, but SQL and a stack | loses what stands behind |
| a URL, a path | loses query, fragment and credentials, then as below |
| SQL | loses its literals in quotes, and comments |
| any other text | without e-mail addresses, logins of GitHub and passkeys and tokens (`logs.scrub`), cut, printable |
| `error.type`, `exception.type` | the class alone |
| `exception.message`, the status' message, the messages in `exception.stacktrace` | go, unless they are let in |
| attributes, events, links beyond a limit | go |
| links' attributes, the trace's state | go |
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tailtrace_bridge.core.records import Identity
from tailtrace_bridge.core.text import replaced
from tailtrace_bridge.logs.scrub import EMAIL, TOKEN, scrub
from tailtrace_bridge.spans.otlp import error_class
from tailtrace_bridge.store.person import names_of
from tailtrace_bridge.traces.stack import without_messages

ATTRIBUTES_MAX = 64
EVENTS_MAX = 32
LINKS_MAX = 32
ITEMS_MAX = 32
"""Of a list."""
KEY_LENGTH_MAX = 128
NAME_LENGTH_MAX = 256
TEXT_LENGTH_MAX = 1024
STACK_LENGTH_MAX = 16 * 1024
_STACK = "exception.stacktrace"
_PERSONAL = re.compile(
    r"client\..*|user\..*|enduser\..*|user_agent\..*|session\..*|http\.(?:client_ip|user_agent)"
    r"|(?:http|rpc)(?:\.[a-z_]+)?\.(?:request|response)\.(?:header|metadata)\..*|(?:http|rpc)\.(?:request|response)\.body"
    r"|db\.(?:query|operation)\.parameter\..*|db\.(?:user|connection_string|statement\.parameters)|url\.(?:query|fragment)"
)
_OF_SOMEBODY = re.compile(
    r"(?<![a-z])(?:end_?user|user|user_?(?:name|id)|login|log_?name|e_?mail|mail|phone|principal|person"
    r"|(?:full|first|last|sur|nick|display|real|given|family)_?name)(?![a-z])"
)
"""In an attribute's name, in lower case, its words parted. `user`, not `users`: that is a number of them or a table."""
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
PERSON = "[person]"
_LOGIN = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}+@(?:github|passkey)(?![\w.-])", re.IGNORECASE)
"""Of https://tailscale.com/kb/1013/sso-providers, those that are no e-mail addresses."""
_SECRET = re.compile(
    r"authorization|cookie|passw|passphrase|secret|credential|api[-_.]?key|private[-_.]?key|session[-_.]?id"
    r"|(?<![^-_.])(?:token|pwd|jwt)(?![^-_.])",
    re.IGNORECASE,
)
"""In an attribute's name. `token`, not `tokens`. The collector of the stack (`otel-collector.yaml`) hides the same."""
_SAID = re.compile(
    r"\b((?:bearer|basic)\s++)(?=[a-z]*+[^a-z\s])[a-z0-9._~+/=-]{8,}+"
    r"|\b((?:password|passwd|passphrase|secret|token|api[-_]?key)\s*+[=:]\s*+)[^\s&;,]++",
    re.IGNORECASE,
)
_PEER = re.compile(r"net\.(?:sock\.)?peer\..*|network\.peer\..*")
_MESSAGES = frozenset({"exception.message", "otel.status_description", "error.message"})
_CLASSES = frozenset({"error.type", "exception.type"})
_NUMBERS = frozenset({"bool_value", "int_value", "double_value"})
_ADDRESSES = frozenset({"url.full", "url.path", "http.url", "http.target", "http.path", "url.original"})
_SQL = frozenset({"db.statement", "db.query.text", "db.query.summary"})
_QUERY = re.compile(r"[?#].*", re.DOTALL)
_CREDENTIALS = re.compile(r"(?<=//)[^/@\s]*@")
_LITERAL = re.compile(
    r"/\*.*?(?:\*/|\Z)|--[^\n]*+"
    r"|'(?:[^'\\]|''|\\(?!'))*+(?:'|\\'.*|\Z)"
    r"|\$(\w*)\$.*?(?:\$\1\$|\Z)"
    r"|(?i:(?<=[=<>,(\[:])|(?<=[=<>,(\[:] )|(?<=like ))\"(?:[^\"\\]|\"\"|\\.)*+(?:\"|\Z)",
    re.DOTALL,
)
"""Behind `\\'` some databases go on with the text and others do not: all goes. MySQL has texts in double quotes too;
where no value stands these are names."""


class _Rules(NamedTuple):
    """What holds for all texts of a request's spans."""

    has_messages: bool
    person: re.Pattern[str] | None
    """Who asked."""


def scrubbed(span: Span, *, has_messages: bool, who: Identity | None = None) -> Span:
    """Return a span as it may be kept, of a request that `who` made."""
    is_server = span.kind == Span.SPAN_KIND_SERVER
    rules = _Rules(has_messages, None if who is None else _named(who))
    message = _text("", span.status.message, TEXT_LENGTH_MAX, rules) if has_messages else ""
    return Span(
        trace_id=span.trace_id,
        span_id=span.span_id,
        parent_span_id=span.parent_span_id,
        name=_text("url.path" if "/" in span.name else "", span.name, NAME_LENGTH_MAX, rules),
        kind=span.kind,
        start_time_unix_nano=span.start_time_unix_nano,
        end_time_unix_nano=span.end_time_unix_nano,
        attributes=_attributes(span.attributes, rules, is_server=is_server),
        events=[
            Span.Event(
                time_unix_nano=event.time_unix_nano,
                name=_text("", event.name, NAME_LENGTH_MAX, rules),
                attributes=_attributes(event.attributes, rules, is_server=is_server),
            )
            # The last exception is the one that ended the request.
            for event in span.events[-EVENTS_MAX:]
        ],
        links=[
            Span.Link(trace_id=link.trace_id, span_id=link.span_id)
            for link in span.links[:LINKS_MAX]
            if len(link.trace_id) == 16 and len(link.span_id) == 8
        ],
        status=Status(code=span.status.code, message=message),
    )


def bare(span: Span) -> Span:
    """Return what a waterfall needs of a scrubbed span: ids, times, name, whether it failed."""
    made = Span()
    made.CopyFrom(span)
    for name in ("attributes", "events", "links"):
        made.ClearField(name)
    return made


@lru_cache(maxsize=256)
def _named(who: Identity) -> re.Pattern[str] | None:
    """Return what finds somebody in a text. The machine of nobody in particular has a name like any word: `web`."""
    return names_of({who.user, who.address, who.device if who.user else ""})


@lru_cache(maxsize=4096)
def _is_of_somebody(key: str) -> bool:
    return bool(_PERSONAL.fullmatch(key) or _OF_SOMEBODY.search(_CAMEL.sub("_", key).lower()))


def _attributes(pairs: Iterable[KeyValue], rules: _Rules, *, is_server: bool) -> list[KeyValue]:
    kept: list[KeyValue] = []
    for pair in pairs:
        if len(kept) >= ATTRIBUTES_MAX:
            break
        key = replaced(pair.key[:KEY_LENGTH_MAX], but="\n\t")
        if not key or _is_of_somebody(key) or (is_server and _PEER.fullmatch(key)):
            continue
        if key in _MESSAGES and not rules.has_messages:
            continue
        if _SECRET.search(key) and pair.value.WhichOneof("value") not in _NUMBERS:
            continue
        value = _value(key, pair.value, rules)
        if value is not None:
            kept.append(KeyValue(key=_text("", key, KEY_LENGTH_MAX, rules), value=value))
    return kept


def _value(key: str, value: AnyValue, rules: _Rules) -> AnyValue | None:
    """Return a value; None for one that is empty, bytes or nested."""
    kind = value.WhichOneof("value")
    if kind == "string_value":
        if key == _STACK:
            stack = value.string_value if rules.has_messages else without_messages(value.string_value)
            return AnyValue(string_value=_text(key, stack[-STACK_LENGTH_MAX:], STACK_LENGTH_MAX, rules))
        text = error_class(value.string_value[:NAME_LENGTH_MAX]) if key in _CLASSES else value.string_value
        return AnyValue(string_value=_text(key, text, TEXT_LENGTH_MAX, rules))
    if kind in _NUMBERS:
        return value
    if kind == "array_value":
        items = [_value(key, one, rules) for one in value.array_value.values[:ITEMS_MAX]
                 if one.WhichOneof("value") != "array_value"]  # fmt: skip
        made = AnyValue()
        made.array_value.values.extend(one for one in items if one is not None)
        return made
    return None


def _text(key: str, text: str, length_max: int, rules: _Rules) -> str:
    if key in _ADDRESSES:
        text = _CREDENTIALS.sub("", _QUERY.sub("", text[: 4 * length_max]))
    elif key in _SQL:
        text = _LITERAL.sub("?", text[: 4 * length_max])
    elif key != _STACK:  # its lines of code assign to `token`
        text = _SAID.sub(rf"\1\2{TOKEN}", text[: 4 * length_max])
    # Cut only then: a token that is cut in half would not be known as one.
    text = replaced(text[: 2 * length_max], but="\n\t")
    if rules.person is not None:
        text = rules.person.sub(PERSON, text)
    if "@" in text:
        text = _LOGIN.sub(EMAIL, text)
    return scrub(text)[:length_max]
