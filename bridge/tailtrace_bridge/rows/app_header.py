"""What an app said of its answer in the response header that nginx logged (`Access.app`). Pure.

    1;t=5123;r=/items/{item_id};e=ValueError;s=shop;v=1.4.0

| part | is |
|---|---|
| `1` | the version of the form: another one is malformed |
| `t` | whole microseconds from the request's arrival in the app until its answer began |
| `r`, `e` | `http.route`; `error.type` |
| `i` | of a request that FastAPI refused: field and reason, `body.price:missing`; here an error type that says so |
| `s`, `v` | `service.name`, `service.version` |

Parts may be missing and stand in any order; unknown keys are passed over. What is outside the form is percent-encoded
UTF-8. An app may be wrong, and may pass on untrusted text:

| the value | is |
|---|---|
| over `BYTES_MAX`, of another version, with a character that the form has not, a key twice, not UTF-8 | malformed |
| a route that does not begin with `/`; a time of more digits than a month has | malformed |
| a time longer than the whole request was, by more than `CLOCK_US` | implausible |
| any other | believed |

What is malformed or implausible is as if it were not there, and counted.

**When the answer went on.** `t` ends where the answer began. Of an answer that took nginx `STREAM_US` or more to read
behind its head, that time is added: it is as long as the app's own, and so the app time means the same for all.
"""

import re
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from tailtrace_bridge.core.records import INVALID, Access
from tailtrace_bridge.core.text import printable
from tailtrace_bridge.logs.exchange import attempts, digits, read_exchange, streamed_us, streamed_us_of

BYTES_MAX = 1024
ROUTE_LENGTH_MAX = 256
TEXT_LENGTH_MAX = 128
CLOCK_US = 100_000
"""nginx takes the time once for all that it does in a turn: on a busy machine its end of a request is that much off."""
STREAM_US = 100_000
TIME_DIGITS_MAX = 13
SWITCHED = 101
_WITHOUT_BODY = frozenset({204, 304})

_TEXT = r"(?:[A-Za-z0-9._~/{}:*@!$&'()+,-]|%[0-9A-Fa-f]{2})*"
_VALUE = re.compile(rf"1(;t=[0-9]{{1,{TIME_DIGITS_MAX}}})?((?:;[A-Za-z][A-Za-z0-9_-]{{0,15}}={_TEXT})*)")


class AppAnswer(NamedTuple):
    """What the app said; an empty text is what it did not say."""

    time_us: int | None
    route: str = ""
    error_type: str = ""
    service: str = ""
    version: str = ""


def read(access: Access) -> AppAnswer | str | None:
    """Return what the app said of a line's request, why it is not believed, or None where it said nothing."""
    if not access.app:
        return None
    found = read_text(access.app)
    if found is None:
        return "malformed"
    said, time_us = found
    if time_us is None:
        return said
    went_on_us = streamed_us_of(access.exchange) if is_long(access.upstream_time_us) else 0
    whole_us = whole_time_us(time_us, access.request_time_us, went_on_us)
    return "implausible" if whole_us is None else said._replace(time_us=whole_us)


def read_text(value: str) -> tuple[AppAnswer, int | None] | None:
    """Return what an app's words say, and the time in them; None: malformed. Nothing else of the line is asked."""
    if len(value) > BYTES_MAX or not (match := _VALUE.fullmatch(value)):
        return None
    said = _rest(match[2])
    if said is None or (match[1] and said.time_us is not None):
        return None
    return said, int(match[1][3:]) if match[1] else said.time_us


def whole_time_us(time_us: int, request_time_us: int | None, went_on_us: int) -> int | None:
    """Return the app's time with that of an answer that went on; None: implausible.

    `went_on_us` is how long it did, or 0 where nginx did not take long for the answer (`is_long`).
    """
    if request_time_us is not None and time_us > request_time_us + CLOCK_US:
        return None
    return time_us + (went_on_us if went_on_us >= STREAM_US else 0)


def is_long(upstream_time_us: int | None) -> bool:
    """Return whether the servers took so long that the answer may have gone on."""
    return (upstream_time_us or 0) >= STREAM_US


def needs_span(access: Access) -> bool:
    """Return whether a span may know more: the answer went on for long, broke off, or had no length."""
    if not access.exchange:
        return False
    exchange = read_exchange(access.exchange)
    tried = attempts(exchange)
    if not tried:
        return False
    last = tried[-1]
    if last.status == SWITCHED:
        return True
    if access.method == "HEAD" or last.status in _WITHOUT_BODY:
        return False
    announced = digits(exchange.content_length)
    # None at all was taken where nginx answers with something else (`error_page`, `X-Accel-Redirect`).
    cut = announced is None or last.length not in {0, announced}
    return cut or streamed_us(tried) >= STREAM_US


def last_attempt_us(access: Access) -> int | None:
    """Return how long the last server took that was asked, as nginx saw it."""
    tried = attempts(read_exchange(access.exchange)) if access.exchange else []
    return tried[-1].response_us if tried else access.upstream_time_us


def last_status(access: Access) -> int:
    """Return the status of the last server that was asked; the request's own where the line does not tell."""
    tried = attempts(read_exchange(access.exchange)) if access.exchange else []
    return (tried[-1].status if tried else 0) or access.status


@lru_cache(maxsize=4096)
def _rest(text: str) -> AppAnswer | None:
    """Read what stands behind the time, which differs in each answer: the rest is one of few."""
    found: dict[str, str] = {}
    for part in text.split(";")[1:]:
        key, _, value = part.partition("=")
        try:
            plain = unquote_to_bytes(value).decode("utf-8")
        except UnicodeDecodeError:
            return None
        if key in found:
            return None
        found[key] = plain
    route, time = found.get("r", ""), found.get("t", "")
    if (route and not route.startswith("/")) or (
        "t" in found and (digits(time) is None or len(time) > TIME_DIGITS_MAX)
    ):
        return None
    error_type = found.get("e", "") or _refusal(found.get("i", ""))
    return AppAnswer(
        int(time) if time else None,
        printable(route, ROUTE_LENGTH_MAX),
        printable(error_type, TEXT_LENGTH_MAX),
        *(printable(found.get(key, ""), TEXT_LENGTH_MAX) for key in ("s", "v")),
    )


def _refusal(invalid: str) -> str:
    field, _, reason = invalid.partition(":")
    return f"{INVALID}{field}: {reason}" if field and reason else ""
