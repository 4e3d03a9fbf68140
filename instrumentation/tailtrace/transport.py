"""How OTLP gets out of the process: what the standard exporters do, but on a way that we know.

| what `requests` would take from the environment | here |
|---|---|
| a proxy, for whatever host | none to loopback; else what `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` say |
| a login of `~/.netrc` | never read |
| `REQUESTS_CA_BUNDLE`, `CURL_CA_BUNDLE` | used, unless the exporter has a certificate of its own |

gRPC has its own variables for proxies; to loopback and unix sockets it is told to use none.
"""

import gzip
import ipaddress
import os
import zlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies

from tailtrace.settings import SettingsError, Signal


def is_local(target: str) -> bool:
    """Return whether a URL or a gRPC target names this machine's loopback or a unix socket."""
    if target.startswith(("unix:", "unix-abstract:")):
        return True
    try:
        host = urlsplit(target if "://" in target else f"//{target}").hostname or ""
    except ValueError:
        return False
    host = host.rstrip(".").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    address = mapped or address
    return address.is_loopback or address.is_unspecified


class DirectSession(requests.Session):
    """A session that asks the environment for nothing but what the table above says."""

    def __init__(self) -> None:
        super().__init__()
        self.trust_env = False
        self._pid = os.getpid()
        self._inherited: list[Any] = []

    def request(self, method: str, url: str | bytes, **options: Any) -> requests.Response:  # type: ignore[override]
        """Send a request on the way that its URL has."""
        text = url.decode() if isinstance(url, bytes) else url
        if self._pid != os.getpid():  # A fork: the connections are the parent's, and stay open for it.
            self._pid = os.getpid()
            self._inherited.append(dict(self.adapters))
            self.mount("https://", HTTPAdapter())
            self.mount("http://", HTTPAdapter())
        if not is_local(text):
            options.setdefault("proxies", get_environ_proxies(text))
            if options.get("verify", self.verify) in {True, None}:
                bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
                if bundle:
                    options["verify"] = bundle
        return super().request(method, url, **options)


class BodySession(DirectSession):
    """A session whose next body is `body`, whatever its caller encoded.

    So OpenTelemetry's exporter brings its headers, certificates, timeouts and retries, and we the bytes.
    """

    def __init__(self, compression: str) -> None:
        super().__init__()
        self.body = b""
        self._compression = compression

    def request(self, method: str, url: str | bytes, **options: Any) -> requests.Response:  # type: ignore[override]
        """Send `body`, compressed as the settings say."""
        if self._compression != "none":
            headers: Mapping[str, str] = options.get("headers") or {}
            options["headers"] = {**headers, "Content-Encoding": self._compression}
        options["data"] = _compressed(self.body, self._compression)
        return super().request(method, url, **options)


def _compressed(body: bytes, compression: str) -> bytes:
    if compression == "gzip":
        return gzip.compress(body, 6)
    return zlib.compress(body) if compression == "deflate" else body


def grpc_class(module: str, name: str) -> Any:
    """Return one of OpenTelemetry's gRPC exporters; `SettingsError` if its package is missing."""
    from importlib import import_module  # noqa: PLC0415

    try:
        return getattr(import_module(f"opentelemetry.exporter.otlp.proto.grpc.{module}"), name)
    except ImportError as error:
        raise SettingsError(
            "OTEL_EXPORTER_OTLP_PROTOCOL is 'grpc', for which a package is missing: "
            "`pip install 'tailtrace[grpc]'`, or set it to http/protobuf"
        ) from error


def grpc_options(signal: Signal) -> dict[str, Any]:
    """Return what to make a gRPC exporter with."""
    options: dict[str, Any] = {"endpoint": signal.endpoint}
    if is_local(signal.endpoint):
        options["channel_options"] = (("grpc.enable_http_proxy", 0),)
        if signal.endpoint.startswith("unix"):
            options["insecure"] = True
    return options
