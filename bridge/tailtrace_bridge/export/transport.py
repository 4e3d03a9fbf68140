"""One POST of OTLP over HTTP, by httpx: TLS, gzip, headers, no redirect, a bounded answer."""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from ssl import create_default_context
from urllib.parse import unquote, urlsplit

import httpx

from tailtrace_bridge.core.errors import SettingsError
from tailtrace_bridge.core.retry_after import read_retry_after
from tailtrace_bridge.core.text import quoted

ATTEMPT_S = 10.0
ANSWER_BYTES_MAX = 64 * 1024
RETRY_AFTER_S_MAX = 120.0
TRACES_PATH = "/v1/traces"
_NAME = re.compile(r"[A-Za-z0-9_-]+")
_NOT_OF_URLS = re.compile(r"[^!-~]")


class UnreachableError(Exception):
    """There was no answer; its text says where and why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What an endpoint said."""

    status: int
    body: bytes
    retry_after_s: float | None
    """As it asked for, at most `RETRY_AFTER_S_MAX`; None where it did not."""


Send = Callable[[bytes], Answer]
"""Takes a gzipped `ExportTraceServiceRequest`. Raises `UnreachableError`."""


def traces_url(endpoint: str) -> str:
    """Return where traces go: `/v1/traces` behind an endpoint, or the URL itself if it ends so.

    https://opentelemetry.io/docs/specs/otel/protocol/exporter/#endpoint-urls-for-otlphttp
    Raises `SettingsError` for what is no URL.
    """
    try:
        parts = urlsplit(endpoint)
        is_url = parts.scheme in {"http", "https"} and parts.hostname and (parts.port is None or parts.port > 0)
        is_url = is_url and not (parts.query or parts.fragment or _NOT_OF_URLS.search(endpoint))
    except ValueError:
        is_url = False
    if not is_url:
        raise SettingsError(
            f"TAILTRACE_EXPORT_ENDPOINT: {quoted(endpoint)} is no OTLP endpoint; "
            "write http://HOST:4318 or https://HOST/PATH"
        )
    bare = endpoint.rstrip("/")
    return bare if bare.endswith(TRACES_PATH) else bare + TRACES_PATH


def metrics_url(url: str) -> str:
    """Return where metrics go, of what `traces_url` gave."""
    return url.removesuffix(TRACES_PATH) + "/v1/metrics"


def headers_of(text: str) -> dict[str, str]:
    """Read `key=value,key=value`, as in `OTEL_EXPORTER_OTLP_HEADERS`. Raises `SettingsError`; values stay unsaid."""
    headers = {}
    for part in filter(None, (one.strip() for one in text.replace("\n", ",").split(","))):
        name, equals, value = part.partition("=")
        plain = unquote(value.strip())
        if not equals or not _NAME.fullmatch(name.strip()) or not (plain.isascii() and plain.isprintable()):
            raise SettingsError(
                "TAILTRACE_EXPORT_HEADERS: write key=value, several with commas, values percent-encoded, of ASCII"
            )
        headers[name.strip().lower()] = plain
    return headers


class Transport:
    """Keeps one connection. Loopback goes direct; elsewhere the environment's proxy is used, as httpx does."""

    def __init__(self, url: str, headers: Mapping[str, str], certificate: Path | None = None) -> None:
        self._url, self._place = url, f"{urlsplit(url).scheme}://{urlsplit(url).netloc.rpartition('@')[2]}"
        try:
            verify = create_default_context(cafile=certificate) if certificate else True
        except (OSError, ValueError) as error:
            raise SettingsError(f"TAILTRACE_EXPORT_CERTIFICATE: cannot use {certificate}: {error}") from None
        is_here = (urlsplit(url).hostname or "") in {"127.0.0.1", "::1", "localhost"}
        self._client = httpx.Client(
            headers={**headers, "content-type": "application/x-protobuf", "content-encoding": "gzip"},
            timeout=ATTEMPT_S,
            verify=verify,
            trust_env=not is_here,
        )

    def __call__(self, body: bytes) -> Answer:
        """Send. Raises `UnreachableError`."""
        try:
            with self._client.stream("POST", self._url, content=body) as answer:
                read = bytearray()
                for chunk in answer.iter_bytes():
                    read += chunk
                    if len(read) > ANSWER_BYTES_MAX:
                        break
                told_s = read_retry_after(answer.headers.get("retry-after"), time.time_ns() // 1000, RETRY_AFTER_S_MAX)
                return Answer(answer.status_code, bytes(read), told_s)
        except httpx.HTTPError as error:
            raise UnreachableError(f"{self._place}: {error or type(error).__name__}") from error
