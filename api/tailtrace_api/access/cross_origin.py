"""Whether a request that changes something comes from a page of another origin, as its browser tells. Pure."""

from collections.abc import Mapping
from urllib.parse import urlsplit

CROSS_ORIGIN = "this request comes from a page of another origin"


def is_cross_origin(headers: Mapping[str, str]) -> bool:
    """Whether `Origin` or `Sec-Fetch-Site` name another origin than ours. What is no browser sends neither."""
    origin, fetched = headers.get("origin"), headers.get("sec-fetch-site")
    is_ours = origin is None or urlsplit(origin).netloc == headers.get("host", "")
    return not is_ours or fetched not in {None, "same-origin", "none"}
