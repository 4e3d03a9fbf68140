"""`Retry-After`, as servers send it: https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3. Pure."""

from datetime import UTC
from email.utils import parsedate_to_datetime

RETRY_AFTER_S_MAX = 3600.0
"""The longest that we let a server send us away."""


def read_retry_after(value: str | None, now_us: int, at_most_s: float = RETRY_AFTER_S_MAX) -> float | None:
    """Read the header, seconds or a date, as seconds from now; None: there is none that can be read.

    `now_us` is µs since the epoch. Never negative, and never longer than `at_most_s`.
    """
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text), at_most_s)
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    at_s = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    return min(max(0.0, at_s - now_us / 1_000_000), at_most_s)
