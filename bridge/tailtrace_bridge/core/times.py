"""Times as texts: ISO 8601 in, microseconds since the epoch out, and back."""

from datetime import UTC, datetime, timedelta, tzinfo

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def parse_time(text: str, zone: tzinfo = UTC) -> datetime:
    """Read a time in ISO 8601, of `zone` where it names none. Raises `ValueError`."""
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=zone)


def since_epoch_us(time: datetime) -> int:
    """Return a time, which has a zone, in µs since the epoch."""
    return (time - EPOCH) // _MICROSECOND


def go_time_us(value: object) -> int | None:
    """Read a time in JSON that Go wrote, µs since the epoch; None: it is none, or Go's zero time of the year 1."""
    try:
        time = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return since_epoch_us(time) if time and time.tzinfo and time.year >= EPOCH.year else None
