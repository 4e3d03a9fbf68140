"""Look at what `tailtrace serve` runs, at its store, and at the clocks.

| what | failure | warning |
|---|---|---|
| API | nobody answers, or it is not ready | |
| OTLP receiver | it does not take an empty export; or only with a token, and no app can have one | |
| collector | it gave raw spans up and stored none; its metrics do not answer | it gave some up since it began |
| store | does not open, or its folder cannot be written; does not answer, or is none for us | not made yet, or empty |
| disk | less than `DISK_FAILURE_BYTES` free | less than `DISK_WARNING_BYTES` |
| clock | the newest line is more than `SKEW_FAILURE_US` ahead of now or of its file | more than `SKEW_WARNING_US` |

A line's time is nginx's clock, the time that its file was changed is the clock of the machine that holds the file. Only
a time ahead tells of a wrong clock: one behind may be that of a quiet service. The store keeps no span's time of
day, so an app's clock is not checked.
"""

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from http.client import HTTPException
from pathlib import Path
from urllib.parse import quote

import httpx

from tailtrace_api.doctor.checks import Check, make_check
from tailtrace_bridge.core.errors import StoreError
from tailtrace_bridge.settings.derived import unix_path
from tailtrace_bridge.spans.collector import CURE, ask
from tailtrace_bridge.store.sqlite.database import schema_version
from tailtrace_bridge.store.sqlite.read_only import connect_read_only, is_writable

TIMEOUT_S = 2.0
BODY_BYTES_MAX = 64 * 1024
CACHE_KIB = 200
DISK_WARNING_BYTES = 1024**3
DISK_FAILURE_BYTES = 100 * 1024**2
SKEW_WARNING_US = 2_000_000
SKEW_FAILURE_US = 60_000_000
_MAKE_ONE = (
    "`tailtrace token create APP --role spans`, and for the app "
    "OTEL_EXPORTER_OTLP_HEADERS='Authorization=Bearer%20TOKEN' with what it prints"
)
_START = "start it: `tailtrace serve`"


def check_api(listen: str) -> Check:
    """Ask `/ready`."""
    path = unix_path(listen)
    name, url = "API", f"http://{listen if path is None else 'localhost'}/ready"
    try:
        status, body = _exchange("GET", url, path)
    except httpx.HTTPError as error:
        return make_check(name, "failure", f"{url} does not answer: {error}", f"{_START}, or correct TAILTRACE_LISTEN")
    said = body.decode("utf-8", "replace")
    if status == 503:
        return make_check(name, "failure", f"{url}: not ready: {said}", "mend the problems that it names")
    if status != 200 or '"ready"' not in said:
        other = "something else listens there: end it, or choose another port with TAILTRACE_LISTEN"
        return make_check(name, "failure", f"{url} answers {status}, not as tailtrace does", other)
    return make_check(name, "ok", f"{url}: ready")


def check_receiver(listen: str, *, span_tokens: int = 0) -> Check:
    """Post an `ExportTraceServiceRequest` without spans, which in protobuf is no bytes at all.

    `span_tokens`: how many tokens there are that may send spans.
    """
    name, url = "OTLP receiver", f"http://{listen}/v1/traces"
    try:
        status, body = _exchange("POST", url)
    except httpx.HTTPError as error:
        cure = f"{_START}, or correct TAILTRACE_OTLP_LISTEN; apps send to OTEL_EXPORTER_OTLP_ENDPOINT"
        return make_check(name, "failure", f"{url} does not answer: {error}", cure)
    if status == 401:
        why = f"{url} takes no spans of this machine's own app without a token: {_detail(body)}"
        if span_tokens:
            words = f"{url} takes spans with a token alone, and there are {span_tokens}: {_detail(body)}"
            return make_check(name, "ok", words)
        return make_check(name, "failure", why, _MAKE_ONE)
    if status != 200:
        cure = "is it tailtrace that listens there? see its log, and TAILTRACE_OTLP_LISTEN"
        return make_check(name, "failure", f"{url} answers {status} to an empty export", cure)
    return make_check(name, "ok", f"{url} takes spans")


def _detail(body: bytes) -> str:
    try:
        return str(json.loads(body)["detail"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return body[:200].decode("utf-8", "replace")


def _exchange(method: str, url: str, path: Path | None = None) -> tuple[int, bytes]:
    """Return status and the first `BODY_BYTES_MAX` of the body."""
    headers = {"content-type": "application/x-protobuf"} if method == "POST" else {}
    with (
        httpx.Client(
            timeout=TIMEOUT_S, trust_env=False, transport=None if path is None else httpx.HTTPTransport(uds=str(path))
        ) as client,
        client.stream(method, url, headers=headers, content=b"" if method == "POST" else None) as response,
    ):
        body = bytearray()
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) >= BODY_BYTES_MAX:
                break
    return response.status_code, bytes(body[:BODY_BYTES_MAX])


def check_collector(url: str) -> Check:
    """Ask the collector how many raw spans InfluxDB refused: its exporter gives those up, and only counts."""
    name = "collector"
    try:
        spans = ask(url)
    except (OSError, HTTPException, ValueError) as error:
        cure = "start it, or correct TAILTRACE_COLLECTOR_METRICS_URL"
        return make_check(name, "failure", f"{url} does not answer: {error}", cure)
    words = f"{spans.stored} raw spans stored, {spans.given_up} given up since it began"
    if spans.given_up:
        return make_check(name, "warning" if spans.stored else "failure", words, CURE)
    return make_check(name, "ok", words)


def check_server(about: Callable[[], str]) -> Check:
    """Ask what server an InfluxDB store is on: `about` says it, or raises `StoreError`."""
    try:
        return make_check("store", "ok", about())
    except StoreError as error:
        cure = "mend what it names; the settings are INFLUXDB_V2_URL, _ORG, _BUCKET and _TOKEN_FILE"
        return make_check("store", "failure", str(error), cure)


def check_store(store: str) -> list[Check]:
    """Open a SQLite store for reading, and look at its folder and disk."""
    _, _, text = store.partition(":")
    path = Path(text).absolute()
    folder = path.parent
    if not folder.is_dir():
        cure = f"mkdir -p {folder}, or correct TAILTRACE_STORE"
        return [make_check("store", "failure", f"{folder}: no such folder", cure)]
    checks = [_check_file(path)]
    if path.exists() and path.stat().st_mode & 0o007:
        said = f"{path}: every user of this machine may read who did what"
        checks.append(make_check("store mode", "warning", said, f"chmod o= {path}*"))
    if not os.access(folder, os.W_OK | os.X_OK) or (path.exists() and not os.access(path, os.W_OK)):
        cure = f"run tailtrace as the owner, or `sudo chown {os.geteuid()} {folder}`; SQLite writes beside its file too"
        checks.append(make_check("store folder", "failure", f"this user may not write {path} and its folder", cure))
    else:
        checks.append(make_check("store folder", "ok", f"{folder} can be written"))
    free = shutil.disk_usage(folder).free
    words = f"{free // 1024**2} MiB free at {folder}"
    cure = "make room, or set TAILTRACE_RETENTION_DAYS"
    if free < DISK_FAILURE_BYTES:
        checks.append(make_check("disk", "failure", words, cure))
    elif free < DISK_WARNING_BYTES:
        checks.append(make_check("disk", "warning", words, cure))
    else:
        checks.append(make_check("disk", "ok", words))
    return checks


def _check_file(path: Path) -> Check:
    if not path.exists():
        return make_check("store", "warning", f"{path}: not made yet", f"`tailtrace serve` makes it; {_START}")
    try:
        with closing(_connect(path)) as connection:
            version = schema_version(connection, str(path))
            rows = connection.execute("SELECT EXISTS (SELECT 1 FROM access)").fetchone()[0] if version else 0
    except StoreError as error:
        return make_check("store", "failure", str(error), "correct TAILTRACE_STORE")
    except sqlite3.Error as error:
        cure = "is it a store of tailtrace, and may this user read it? correct TAILTRACE_STORE"
        return make_check("store", "failure", f"{path} does not open: {error}", cure)
    if not rows:
        return make_check("store", "warning", f"{path} opens, and holds no row yet", "send a request through nginx")
    return make_check("store", "ok", f"{path} opens and holds rows")


def _connect(path: Path) -> sqlite3.Connection:
    """Open a store for reading: a look must neither make nor upgrade it."""
    if not is_writable(str(path)):
        return connect_read_only(str(path), CACHE_KIB)
    return sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=TIMEOUT_S)


def check_clock(newest_us: int | None, changed_us: int | None, now_us: int) -> Check:
    """Compare the newest line's time with now, and with the time that its file was changed."""
    name = "clock"
    if newest_us is None or changed_us is None:
        return make_check(name, "skipped", "no line of the log to compare with")
    ahead_us = newest_us - min(now_us, changed_us)
    if ahead_us <= SKEW_WARNING_US:
        return make_check(name, "ok", "nginx's clock is not ahead of this machine's")
    return make_check(
        name,
        "failure" if ahead_us > SKEW_FAILURE_US else "warning",
        f"the newest line is {ahead_us / 1_000_000:.1f} s ahead: nginx's clock and this machine's differ",
        "run NTP on both (`timedatectl set-ntp true`); where the log's times name no zone, set TAILTRACE_TIMEZONE",
    )
