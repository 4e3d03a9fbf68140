"""How well a span fits a line of the same trace and parent. Pure.

nginx hands the same parent to every server that it asks for one request: to a second upstream, to the app behind
`auth_request` and `mirror`, and behind a redirect by `X-Accel-Redirect` or `error_page`. Each of them may send a span.
The one of the request itself is found by, in this order:

| compared | fits best | because |
|---|---|---|
| path | the line's own, or one of them ends in the other (a prefix) | the others are asked for something else |
| method | the line's | nginx asks for permission and mirrors with GET |
| outcome | both failed or neither (with 499 any): `agrees` | of two upstreams the client saw one |
| status | that of the last server asked | |
| start | the latest | permission is asked, and a copy sent, before the request itself |

A span that fits in path, method and outcome settles its line. Any other stays with it until a better one comes or its
time is up; then it is taken only if it *may* be the request's (a rewrite changes the path): the same method, and begun
when nginx asked for the request itself; one that ended then was asked for permission. Where the app said its route with
the answer (`app_header`), a span of another route is never taken. A span without a path is compared by the rest alone.
"""

import re
from urllib.parse import unquote

from tailtrace_bridge.core.records import Access, AppSpan
from tailtrace_bridge.logs.scrub import scrub
from tailtrace_bridge.rows.app_header import AppAnswer, last_attempt_us, last_status, read

CLIENT_CLOSED = 499
CUT_PATH_LENGTH = 256
"""A path of so many characters may be the beginning of a longer one."""
CLOCK_US = 2_000
"""What nginx's times, in milliseconds, and an app's may be apart on one machine."""

OTHER, PART, SAME = 0, 1, 2
_SLASHES = re.compile("//+")


def agrees(span: AppSpan, access: Access) -> bool:
    """Return whether span and line tell of the same outcome: both failed, or neither."""
    if access.status == CLIENT_CLOSED:  # the client left before it saw one
        return True
    return bool(span.error_type) == (access.status >= 500)


def settles(span: AppSpan, access: Access) -> bool:
    """Return whether no other span could fit better."""
    return (
        agrees(span, access)
        and _path(span, access) != OTHER
        and _same_method(span, access)
        and _same_route(span, access)
    )


def rank(span: AppSpan, access: Access) -> tuple[bool, int, bool, bool, bool, int]:
    """Return what is greater for the span that fits better."""
    status_fits = not span.status or span.status == last_status(access)
    path, method = _path(span, access), _same_method(span, access)
    return _same_route(span, access), path, method, agrees(span, access), status_fits, span.start_us


def may_belong(span: AppSpan, access: Access) -> bool:
    """Return whether a span for which no better one came is to be taken."""
    if not _same_route(span, access):
        return False
    if _path(span, access) != OTHER:
        return True
    if not _same_method(span, access):
        return False
    asked_us, request_us = last_attempt_us(access), access.request_time_us
    if not span.start_us or asked_us is None or request_us is None:
        return True
    began_us = access.time_us + request_us - asked_us
    to_start_us, to_end_us = abs(span.start_us - began_us), abs(span.start_us + span.duration_us - began_us)
    return to_start_us <= to_end_us + CLOCK_US


def _same_method(span: AppSpan, access: Access) -> bool:
    return not span.method or span.method == access.method


def _same_route(span: AppSpan, access: Access) -> bool:
    said = read(access) if access.app else None
    return not (isinstance(said, AppAnswer) and said.route and span.route) or said.route == span.route


def _path(span: AppSpan, access: Access) -> int:
    theirs, ours = span.path, access.path
    if not theirs or theirs == ours:
        return SAME
    theirs, ours = _plain(theirs), _plain(ours)
    if theirs == ours:
        return SAME
    if len(theirs) >= CUT_PATH_LENGTH or len(ours) >= CUT_PATH_LENGTH:
        length = min(len(theirs), len(ours))
        if theirs[:length] == ours[:length]:
            return SAME
    if len(theirs) > len(ours):
        theirs, ours = ours, theirs
    return PART if len(theirs) > 1 and theirs.startswith("/") and ours.endswith(theirs) else OTHER


def _plain(path: str) -> str:
    """Write a path in one way: nginx logs it as it came, and passes it on with its escapes undone."""
    return _SLASHES.sub("/", scrub(unquote(path)))
