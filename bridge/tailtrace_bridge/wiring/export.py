"""The exporter of nginx's spans, made of the settings. Imported only where there is an endpoint."""

import random
import socket
import time
from importlib.metadata import version
from urllib.parse import urlsplit

from tailtrace_bridge.core.errors import SettingsError
from tailtrace_bridge.export.exporter import SpanExporter
from tailtrace_bridge.export.nginx_span import Shown, resource
from tailtrace_bridge.export.transport import Transport, headers_of, traces_url
from tailtrace_bridge.identity.pseudonyms import Pseudonyms
from tailtrace_bridge.settings.table import Settings, split_listen
from tailtrace_bridge.wiring.parts import required_key

_HERE = frozenset({"localhost", "127.0.0.1", "::1", "0.0.0.0", "::"})


def make_exporter(settings: Settings) -> SpanExporter:
    """Make the exporter, not started. Raises `SettingsError`, for a loop too: spans must not come back to us."""
    url = traces_url(settings.export_endpoint or "")
    _check_loop(url, settings.otlp_listen)
    headers = settings.secret("export_headers")
    transport = Transport(
        url, headers_of(headers.get_secret_value()) if headers else {}, certificate=settings.export_certificate
    )
    host = socket.gethostname()
    return SpanExporter(
        transport,
        resource(settings.export_service, settings.source or host, host, version("tailtrace")),
        _shown(settings),
        monotonic_s=time.monotonic,
        jitter=random.random,  # noqa: S311  # it only spreads retries
    )


def _shown(settings: Settings) -> Shown:
    pseudonyms = None
    if settings.export_identity == "pseudonyms" and not settings.pseudonyms:
        pseudonyms = Pseudonyms(required_key(settings, "TAILTRACE_EXPORT_IDENTITY=pseudonyms"))
    return Shown(
        names=settings.export_identity != "none",
        paths=settings.export_paths,
        agents=settings.export_agents,
        pseudonyms=pseudonyms,
    )


def _check_loop(url: str, otlp_listen: str) -> None:
    parts = urlsplit(url)
    host, port = split_listen(otlp_listen)
    asked = (parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
    names = {host, socket.gethostname(), *(_HERE if host in _HERE else ())}
    if asked[1] == port and asked[0] in names:
        raise SettingsError(
            f"TAILTRACE_EXPORT_ENDPOINT: port {port} is where tailtrace itself listens (TAILTRACE_OTLP_LISTEN):"
            " its spans would come back; name the collector or the backend"
        )
