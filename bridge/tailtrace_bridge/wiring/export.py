"""What exports nginx's spans and the requests' metrics, of the settings. Imported only where there is an endpoint."""

import random
import socket
import time
from importlib.metadata import version
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tailtrace_bridge.core.errors import SettingsError
from tailtrace_bridge.export.exporter import SpanExporter
from tailtrace_bridge.export.nginx_span import Disclosure, resource
from tailtrace_bridge.export.transport import Transport, headers_of, metrics_url, traces_url
from tailtrace_bridge.identity.pseudonyms import Pseudonyms
from tailtrace_bridge.settings.derived import split_listen
from tailtrace_bridge.spans.otlp import NGINX_SCOPE
from tailtrace_bridge.wiring.parts import required_key

if TYPE_CHECKING:
    from tailtrace_bridge.export.metric_exporter import RequestMetrics
    from tailtrace_bridge.export.request_durations import RequestDurations
    from tailtrace_bridge.settings.table import Settings

_HERE = frozenset({"localhost", "127.0.0.1", "::1", "0.0.0.0", "::"})


def make_exporter(settings: "Settings") -> SpanExporter:
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
        _disclosure(settings),
        monotonic_s=time.monotonic,
        jitter=random.random,  # noqa: S311  # it only spreads retries
    )


def make_request_metrics(settings: "Settings", durations: "RequestDurations") -> "RequestMetrics":
    """Make what sends the metrics, not started. Raises `SettingsError`."""
    from opentelemetry.exporter.otlp.proto.http import Compression  # noqa: PLC0415 - few send metrics
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter  # noqa: PLC0415
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope  # noqa: PLC0415

    from tailtrace.transport import DirectSession  # noqa: PLC0415
    from tailtrace_bridge.export.metric_exporter import RequestMetrics  # noqa: PLC0415

    url = traces_url(settings.export_endpoint or "")
    _check_loop(url, settings.otlp_listen)
    headers = settings.secret("export_headers")
    exporter = OTLPMetricExporter(
        metrics_url(url),
        certificate_file=str(settings.export_certificate) if settings.export_certificate else None,
        headers=headers_of(headers.get_secret_value()) if headers else None,
        compression=Compression.Gzip,
        session=DirectSession(),
    )
    host = socket.gethostname()
    named = {"service.name": settings.export_service, "service.instance.id": settings.source or host, "host.name": host}
    return RequestMetrics(
        durations,
        exporter,
        Resource(named),
        InstrumentationScope(NGINX_SCOPE, version("tailtrace")),
        interval_s=settings.export_metrics_s,
        wall_ns=time.time_ns,
    )


def _disclosure(settings: "Settings") -> Disclosure:
    pseudonyms = None
    if settings.export_identity == "pseudonyms" and not settings.pseudonyms:
        pseudonyms = Pseudonyms(required_key(settings, "TAILTRACE_EXPORT_IDENTITY=pseudonyms"))
    return Disclosure(
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
