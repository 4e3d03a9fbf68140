"""What broke, as groups: which failures are the same one. Pure.

| of a failed request is known | it is grouped by |
|---|---|
| an exception with a Python stack | its class, and the app's own functions in the stack |
| an exception without lines of the app's own | its class, and the endpoint |
| a class alone, from the app's header or its span | likewise; or as the last one like it that had a stack |
| that the app refused it as invalid | field and reason, and the endpoint |
| nothing: 502, 504, a 5xx of the app's own making, a run of 499 (`runs`) | status and endpoint |

Line numbers and libraries are left out, so that a change elsewhere in a file, or an upgrade, makes no new group; of a
file's path the last two parts count, since a deployment may have a folder of its own. A comprehension is no function:
until Python 3.11 it has a frame, and from 3.12 on none.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from xxhash import xxh3_64

from tailtrace_bridge.core.records import Failure, Row
from tailtrace_bridge.core.text import exception_of
from tailtrace_bridge.rows.app_header import read_text
from tailtrace_bridge.store.values import LogEntry, may_fail
from tailtrace_bridge.traces.stack import Frame, frames_of

if TYPE_CHECKING:  # an import groups without spans, and need not wait for protobuf
    from tailtrace_bridge.traces.pack import TraceSpan

FRAMES_KEPT = 8
"""Of a group: the innermost of the app's own."""
TITLE_LENGTH_MAX = 200
_INLINED = frozenset({"<listcomp>", "<dictcomp>", "<setcomp>"})
REMEMBERED_MAX = 1_000


class Failed(NamedTuple):
    """What of a failed request it is grouped by."""

    time_us: int
    key: int
    service: str
    route: str
    status: int
    error_type: str
    version: str = ""
    """`service.version`, where the app said it with its answer; a stored request has it no more."""


def failed(row: Row) -> Failed:
    """Return what a row is grouped by."""
    access = row.access
    one = Failed(access.time_us, access.key, access.service, row.route, access.status, row.error_type)
    if not access.app or not (row.error_type or may_fail(access.status)):
        return one
    said = read_text(access.app)
    return one if said is None else one._replace(version=said[0].version)


def failed_entry(entry: LogEntry) -> Failed:
    """Return what a stored request is grouped by."""
    return Failed(entry.time_us, entry.key, entry.service, entry.endpoint, entry.status, entry.error_type)


class Group(NamedTuple):
    """What failures have in common."""

    fingerprint: str
    """16 hex digits."""
    type: str
    """The exception's class; empty where none is known."""
    title: str
    """Where: the app's innermost function, or status and endpoint."""
    frames: str
    """The app's own functions, `shop/orders.py total`, a line each, the innermost last."""


class Grouping:
    """Groups one failure after another; remembers what those with a stack were, for those like them without one."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str, int, str], Group] = OrderedDict()

    def failure(self, one: Failed, spans: "Sequence[TraceSpan]") -> Failure:
        """Return the failure of a request, with the spans that are known of it."""
        group = _by_stack(one, spans)
        if group is not None:
            self._remember(one, group)
        else:
            group = self._known.get(_like(one)) or _by_name(one)
        version = one.version or next((span.version for span in spans if not span.is_nginx and span.version), "")
        return Failure(one.time_us, one.key, *group, version)

    def recall(self, one: Failed, was: Failure) -> None:
        """Remember what a failure was before this process began."""
        if was.frames:
            self._remember(one, Group(was.fingerprint, was.type, was.title, was.frames))

    def _remember(self, one: Failed, group: Group) -> None:
        self._known[_like(one)] = group
        self._known.move_to_end(_like(one))
        if len(self._known) > REMEMBERED_MAX:
            self._known.popitem(last=False)


def _like(one: Failed) -> tuple[str, str, int, str]:
    return one.service, one.route, one.status, one.error_type


def _by_stack(failed: Failed, spans: "Iterable[TraceSpan]") -> Group | None:
    for type_, frames in _exceptions(spans):
        own: list[str] = []
        for name in map(_named, (one for one in frames if one.is_own and one.function not in _INLINED)):
            if not own or own[-1] != name:  # a function that calls itself is as deep as its data
                own.append(name)
        if own:
            own = own[-FRAMES_KEPT:]
            title = f"{own[-1]} ({failed.route})"[:TITLE_LENGTH_MAX]
            return Group(_fingerprint(type_, *own), type_, title, "\n".join(own))
    return None


def _by_name(failed: Failed) -> Group:
    type_ = exception_of(failed.error_type)
    title = failed.route if type_ else f"{failed.status} {failed.route}"
    fingerprint = _fingerprint(type_ or str(failed.status), failed.service, failed.route)
    return Group(fingerprint, type_, title[:TITLE_LENGTH_MAX], "")


def _exceptions(spans: "Iterable[TraceSpan]") -> list[tuple[str, list[Frame]]]:
    """Return the exceptions, that of the app's own SERVER span first: it ended the request."""
    found = [
        (span.kind != "server", -event.time_us, event.attributes)
        for span in spans
        if not span.is_nginx
        for event in span.events
        if event.name == "exception"
    ]
    return [
        (str(attributes.get("exception.type", "")), frames_of(str(attributes.get("exception.stacktrace", ""))))
        for _, _, attributes in sorted(found, key=lambda one: one[:2])
    ]


def _named(frame: Frame) -> str:
    return f"{'/'.join(frame.file.replace(chr(92), '/').split('/')[-2:])} {frame.function}".rstrip()


def _fingerprint(*parts: str) -> str:
    return xxh3_64("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
