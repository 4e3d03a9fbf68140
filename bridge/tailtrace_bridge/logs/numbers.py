"""Durations, sizes and status codes as access logs write them."""

import re
from functools import lru_cache

from tailtrace_bridge.logs.rejected import UnreadableError

SIZE_DIGITS_MAX = 14
"""Sizes have fewer: no answer has 100 TB, and sums of forged ones must not outgrow the store's 64 bits."""
SECONDS = re.compile(r"([0-9]{1,10})(?:\.([0-9]{1,9}))?")


@lru_cache(maxsize=4096)
def duration_us(value: str) -> int | None:
    """Return a duration in seconds as microseconds; None for `-`. Raises `UnreadableError`."""
    if value == "-":
        return None
    match = SECONDS.fullmatch(value)
    if match is None:
        if value.endswith("ms") and value[:-2].isdecimal() and value.isascii() and len(value) < SIZE_DIGITS_MAX:
            return int(value[:-2]) * 1000  # Traefik's
        raise UnreadableError("bad-number")
    return int(match[1]) * 1_000_000 + int(((match[2] or "") + "000000")[:6])


def upstream_us(value: str) -> int | None:
    """Sum a list such as `-, 0.001` or `0.004 : 0.200`: every server tried cost its time."""
    if "," not in value and ":" not in value:
        return duration_us(value)
    times = [duration_us(item) for part in re.split("[,:]", value) if (item := part.strip())]
    known = [time for time in times if time is not None]
    return sum(known) if known else None


@lru_cache(maxsize=1024)
def status_of(value: str) -> int:
    """Return a status, 0 where there was none. Raises `UnreadableError`."""
    if value in {"-", "0", "000"}:
        return 0
    if not (value.isascii() and value.isdecimal() and len(value) == 3):
        raise UnreadableError("bad-number")
    return int(value)


def no_size(value: str | None) -> int:
    """Return 0 for a size that is missing. Raises `UnreadableError` for what is no size."""
    if value and value != "-":
        raise UnreadableError("bad-number")
    return 0
