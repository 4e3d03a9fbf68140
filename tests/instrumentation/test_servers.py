"""Every server and every end of the versions that we allow, each in an environment of its own.

The environments are made once, under `~/.cache/tailtrace/servers`, from the package index. `make matrix` runs this, and
brings the newest Python; of others one that is missing is skipped.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[2]
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "tailtrace" / "servers"
SERVERS = {
    "uvicorn, h11": ["uvicorn", "served:app", "--port", "{port}", "--http", "h11", "--loop", "asyncio"],
    "uvicorn, httptools": ["uvicorn", "served:app", "--port", "{port}", "--http", "httptools", "--loop", "asyncio"],
    "uvicorn, uvloop": ["uvicorn", "served:app", "--port", "{port}", "--http", "httptools", "--loop", "uvloop"],
    "gunicorn --preload": [
        "gunicorn", "served:app", "-k", "uvicorn_worker.UvicornWorker", "-w", "2", "--preload", "-b", "127.0.0.1:{port}",
    ],
    "hypercorn": ["hypercorn", "served:app", "-b", "127.0.0.1:{port}"],
    "granian": ["granian", "--interface", "asgi", "--port", "{port}", "served:app"],
}  # fmt: skip
# name: Python, OpenTelemetry's stable and unstable version, FastAPI
ENVIRONMENTS = {
    "oldest": ("3.11", "1.40.0", "0.61b0", "0.130.0"),
    "nested": ("3.12", "1.45.2", "0.66b2", "0.137.0"),  # The first that nests included routers.
    "newest": ("3.13", "1.45.2", "0.66b2", "0.165.0"),
    "next": ("3.15", "1.45.2", "0.66b2", "0.165.0"),
}
UV = Path(sys.executable).with_name("uv")


def python_of(version):
    found = shutil.which(f"python{version}")
    if (unpacked := CACHE / f"python{version}" / "usr" / "bin" / f"python{version}").exists():
        found = str(unpacked)
    for path in sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*")):
        found = str(path / "bin" / "python")
    if found is None and sys.version.startswith(version):
        found = sys.executable
    return found


def made(name):
    python, stable, unstable, fastapi = ENVIRONMENTS[name]
    home = CACHE / name
    if not (home / ".ready").exists():
        found = python_of(python)
        if found is None:
            pytest.skip(f"needs Python {python}")
        subprocess.run([UV, "venv", "-q", "--clear", "--python", found, home], check=True)
        subprocess.run(
            [
                UV, "pip", "install", "-q", "--python", home,
                f"opentelemetry-sdk=={stable}", f"opentelemetry-exporter-otlp-proto-http=={stable}",
                f"opentelemetry-instrumentation-fastapi=={unstable}", f"opentelemetry-instrumentation-asgi=={unstable}",
                f"fastapi=={fastapi}", "uvicorn[standard]", "uvicorn-worker", "gunicorn", "hypercorn", "granian",
            ],
            check=True,
        )  # fmt: skip
        (home / ".ready").touch()
    return home


@pytest.mark.slow
@pytest.mark.parametrize("environment", ENVIRONMENTS)
@pytest.mark.parametrize("server", SERVERS)
def test_spans_and_header_come_from_every_server(environment, server, new_collector):
    home = made(environment)
    collector = new_collector()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "VIRTUAL_ENV"))}
    program, *arguments = SERVERS[server]
    process = subprocess.Popen(
        [str(home / "bin" / program), *[argument.format(port=port) for argument in arguments]],
        env={
            **kept,
            "PYTHONPATH": f"{ROOT / 'instrumentation'}:{Path(__file__).parent}",
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_BSP_SCHEDULE_DELAY": "50",
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,  # A pipe would be held open by workers.
        start_new_session=True,
    )
    try:
        # A server may close a connection after an exception: each request has its own.
        limits = httpx.Limits(max_keepalive_connections=0)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10, trust_env=False, limits=limits) as client:
            for _ in range(200):
                try:
                    client.get("/healthz")
                    break
                except httpx.TransportError:
                    assert process.poll() is None
                    time.sleep(0.05)
            headers = {"x-tailtrace-request": "1"}
            asked = [
                ("GET", "/items/7"),
                ("POST", "/upload"),
                ("GET", "/items/8"),
                ("GET", "/raises"),
                ("GET", "/sub/reports/mon"),
            ]
            found = []
            for number, (method, path) in enumerate(asked, 1):
                headers["traceparent"] = f"00-{number:032x}-00f067aa0ba902b7-01"
                body = {"text": "x" * 200_000} if method == "POST" else None
                answer = client.request(method, path, headers=headers, json=body)
                found.append((answer.status_code, answer.headers["x-tailtrace"].partition(";r=")[2]))
            spans = collector.wait(lambda: len(collector.spans) >= len(asked) and list(collector.spans))
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # The group of its own session: its workers too.
            process.wait()
        collector.close()
    assert found == [
        (200, "/items/{item_id};s=shop"),
        (200, "/upload;s=shop"),
        (200, "/items/{item_id};s=shop"),
        (500, "/raises;e=ValueError;s=shop"),
        (200, "/sub/reports/{day};s=shop"),
    ]
    said = sorted(
        (int(s["trace_id"], 16), s["kind"], s["parent"], s["name"], s["attributes"].get("error.type")) for s in spans
    )
    assert said == [
        (1, 2, "00f067aa0ba902b7", "GET /items/{item_id}", None),
        (2, 2, "00f067aa0ba902b7", "POST /upload", None),
        (3, 2, "00f067aa0ba902b7", "GET /items/{item_id}", None),
        (4, 2, "00f067aa0ba902b7", "GET /raises", "ValueError"),
        (5, 2, "00f067aa0ba902b7", "GET /sub/reports/{day}", None),
    ]
