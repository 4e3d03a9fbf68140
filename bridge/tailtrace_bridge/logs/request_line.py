"""A request line, as method, path and card."""

import re
from functools import lru_cache
from urllib.parse import parse_qs

from tailtrace_bridge.core.cards import CARD_LENGTH_MAX, VIEW_PATH, card_key
from tailtrace_bridge.logs.scrub import scrub
from tailtrace_bridge.logs.texts import PATH_LENGTH_MAX, clean, clean_path

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"})
"""https://opentelemetry.io/docs/specs/semconv/http/http-spans/ : known methods; any other is `_OTHER`."""
_USUAL = re.compile(
    rf"({'|'.join(sorted(METHODS))}) ((?:/(?!SG\.)[A-Za-z0-9_.-]{{0,13}}+)++)(?:\?[^ ]*+)? HTTP/[0-9.]+"
)
"""Most lines: the segments of their path are too short for `scrub` to change it."""
_REQUEST = re.compile(r"([^ ]+) (.(?:[^ ]++| (?!HTTP/[0-9.]+\Z))*+)( HTTP/[0-9.]+)?", re.DOTALL)
"""The target by words, not by characters: a stranger's may have blanks in it, and the last word counts."""
_ORIGIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")


@lru_cache(maxsize=8192)
def request_of(request: str) -> tuple[str, str, str]:
    """Do as `new_request_of`, for requests that are asked for again."""
    return new_request_of(request)


def new_request_of(request: str) -> tuple[str, str, str]:
    """Return method, path and card of `$request`; a line that is no HTTP request is all path."""
    if (usual := _USUAL.fullmatch(request)) and usual[2] != VIEW_PATH:
        return usual[1], usual[2][:PATH_LENGTH_MAX], ""
    match = _REQUEST.fullmatch(request)
    if match and (match[3] or match[1] in METHODS):
        return new_target_of(match[1], match[2].strip(" "))
    return new_target_of("", request)


@lru_cache(maxsize=8192)
def target_of(method: str, target: str) -> tuple[str, str, str]:
    """Do as `new_target_of`, for targets that are asked for again."""
    return new_target_of(method, target)


def new_target_of(method: str, target: str) -> tuple[str, str, str]:
    """Return method, path and card. An absolute-form target (RFC 9112 section 3.2.2) becomes its path."""
    if not target.startswith("/") and (origin := _ORIGIN.match(target)):
        target = target[origin.end() :] or "/"
    address, _, query = target.partition("?")
    path = "" if target == "-" else scrub(clean_path(address.partition("#")[0]))
    return method if method in METHODS else "_OTHER", path, card_of(query) if path == VIEW_PATH else ""


def card_of(query: str) -> str:
    """Return the card that a view names, with its variant."""
    try:
        fields = parse_qs(query, max_num_fields=16, encoding="utf-8", errors="replace")
    except ValueError:
        return ""
    card = clean(fields.get("card", [""])[0].strip(), CARD_LENGTH_MAX)
    return card_key(card, fields.get("variant", [""])[0])
