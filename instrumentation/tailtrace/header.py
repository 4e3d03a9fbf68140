"""What goes home with an answer: one header that nginx logs and hides. Pure.

    X-Tailtrace: 1;t=5123;r=/items/{item_id};e=ValueError;s=shop;v=1.4.0

| part | says |
|---|---|
| `1` | the version of this form |
| `t` | whole microseconds from the request's arrival in the middleware until the answer began |
| `r` | `http.route`, the template; left out where none matched |
| `e` | `error.type` of a 5xx: the class of the exception that left the app, else the status; left out for no error |
| `i` | of a request that FastAPI refused as invalid: field and reason (`invalid`), no value |
| `s`, `v` | `service.name`, `service.version`; left out if unset |

Whatever is outside `[A-Za-z0-9._~/{}:*@!$&'()+,-]` is percent-encoded UTF-8. It is sent only for a request that carries
`MARKER`, which nginx's include files set and a client cannot: an app reached in another way says nothing of itself.
"""

from urllib.parse import quote

MARKER = b"x-tailtrace-request"
MARKER_VALUE = b"1"
BYTES_MAX = 1024
ROUTE_LENGTH_MAX = 256
TEXT_LENGTH_MAX = 128
"""Characters of the other texts. What is longer is cut, as the receiver of spans cuts it."""
_PLAIN = "/{}:*@!$&'()+,"
_TIME_BYTES_MAX = 24
FORM = b"1;t=%d%b"
"""The whole: version, whole microseconds, and what `tail` made."""


def tail(route: str, error_type: str, invalid: str, service: str, version: str) -> bytes:
    """Return all that stands behind the time. Parts that do not fit into `BYTES_MAX` are left out, the last first."""
    parts = (
        ("r", route[:ROUTE_LENGTH_MAX]),
        ("e", error_type[:TEXT_LENGTH_MAX]),
        ("i", invalid[:TEXT_LENGTH_MAX]),
        ("s", service[:TEXT_LENGTH_MAX]),
        ("v", version[:TEXT_LENGTH_MAX]),
    )
    text = ""
    for key, value in parts:
        more = f";{key}={quote(value, safe=_PLAIN, errors='replace')}" if value else ""
        if _TIME_BYTES_MAX + len(text) + len(more) <= BYTES_MAX:
            text += more
    return text.encode("ascii")
