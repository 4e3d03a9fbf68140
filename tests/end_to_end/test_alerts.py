"""`tailtrace serve` with rules, a log that fails, and a real receiver: from the line to the message and back."""

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest
from tests.processes import free_port, free_ports

SECRET = "sekret-token-1"
RULES = """
[[alerts]]
kind = "error_rate"
window = "1m"
threshold = 0.5
clear = 0.4
for = "1s"
min_requests = 10
"""


def wait_for(look: Callable[[], Any], within_s: float = 25) -> Any:
    end = monotonic() + within_s
    while not (found := look()):
        assert monotonic() < end, f"not within {within_s} s"
        sleep(0.1)
    return found


class Receiver:
    """Takes messages on a port that stays the same while it is dead."""

    def __init__(self) -> None:
        self.took: list[dict[str, Any]] = []
        self.port = free_port()
        self._server: ThreadingHTTPServer | None = None

    def start(self) -> None:
        took = self.took

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                took.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def titles(self) -> list[str]:
        return [one["title"] for one in self.took]


@pytest.fixture
def receiver():
    made = Receiver()
    yield made
    made.stop()


class Serve:
    """The process, its folder, and its addresses."""

    def __init__(self, folder: Path, receiver: Receiver) -> None:
        self.folder, self.log = folder, folder / "access.log"
        self.api, otlp = (f"127.0.0.1:{port}" for port in free_ports(2))
        (folder / "tailtrace.toml").write_text(RULES, encoding="utf-8")
        (folder / "urls").write_text(f"json://127.0.0.1:{receiver.port}/{SECRET}\n", encoding="utf-8")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("TAILTRACE_", "TAILSCALE_"))}
        self.environment = kept | {
            "TAILTRACE_STORE": f"sqlite:{folder / 'tailtrace.db'}",
            "TAILTRACE_LOG": str(self.log),
            "TAILTRACE_CHECKPOINT": str(folder / "checkpoint.json"),
            "TAILTRACE_LISTEN": self.api,
            "TAILTRACE_OTLP_LISTEN": otlp,
            "TAILTRACE_SPAN_WAIT_MS": "0",
            "TAILTRACE_ALERT_URLS_FILE": str(folder / "urls"),
            "TAILTRACE_ALERT_EVERY_S": "1",
            "TAILSCALE_SOCKET": str(folder / "none.sock"),
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.folder / "serve.log").open("ab") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tailtrace_api.commands.cli", "-v", "serve"],
                env=self.environment,
                stderr=said,
                cwd=self.folder,
            )
        wait_for(lambda: self.get("/ready"))

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(20)

    def get(self, path: str) -> str:
        try:
            with urllib.request.urlopen(f"http://{self.api}{path}", timeout=5) as reply:
                return str(reply.read().decode())
        except OSError:
            return ""

    def line(self, count: int, status: int) -> None:
        now = datetime.now(UTC).strftime("%d/%b/%Y:%H:%M:%S +0000")
        with self.log.open("a", encoding="utf-8") as log:
            log.writelines(f'100.64.0.7 - - [{now}] "GET /a HTTP/1.1" {status} 5 "-" "curl/8"\n' for _ in range(count))

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "tailtrace_api.commands.cli", "alert", *words],
            env=self.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def serve(tmp_path, receiver):
    made = Serve(tmp_path, receiver)
    yield made
    made.stop(signal.SIGKILL)


@pytest.mark.long
def test_a_destination_that_takes_nothing_is_told_at_the_start_and_keeps_nothing_back(serve) -> None:
    (serve.folder / "urls").write_text(f"tgram://{SECRET}\n", encoding="utf-8")
    serve.log.touch()
    serve.start()
    serve.line(1, 200)
    wait_for(lambda: "tailtrace_rows_stored_total 1.0" in serve.get("/metrics"))
    log = serve.folder / "serve.log"
    warning = "TAILTRACE_ALERT_URLS: 1:tgram: apprise knows no such URL, or a part of it is missing"
    wait_for(lambda: warning in log.read_text(encoding="utf-8"))
    serve.stop()
    said = log.read_text(encoding="utf-8")
    assert (said.count("TAILTRACE_ALERT_URLS"), SECRET in said, "Traceback" in said) == (1, False, False)


@pytest.mark.long
def test_from_the_line_to_the_message_though_the_service_was_dead_and_serve_was_killed(serve, receiver) -> None:
    serve.log.touch()
    serve.start()
    serve.line(20, 500)
    wait_for(lambda: 'tailtrace_alert_messages_total{result="failed"} 1.0' in serve.get("/metrics"))
    assert "tailtrace_alerts_firing 1.0" in serve.get("/metrics")
    serve.line(1, 200)
    wait_for(lambda: "tailtrace_rows_stored_total 21.0" in serve.get("/metrics"))  # the bridge does not wait
    assert json.loads(serve.get("/analytics/alerts"))["active"][0]["rule"] == "error_rate"

    serve.stop(signal.SIGKILL)
    receiver.start()
    serve.start()
    wait_for(lambda: receiver.took)
    assert receiver.titles() == ["tailtrace: error_rate started"]
    assert "20 of 20 requests ended in 5xx" in receiver.took[0]["message"]

    serve.line(60, 200)
    wait_for(lambda: len(receiver.took) > 1)
    assert receiver.titles() == ["tailtrace: error_rate started", "tailtrace: error_rate ended"]
    wait_for(lambda: not json.loads(serve.get("/analytics/alerts"))["active"])
    assert [one["what"] for one in json.loads(serve.command("--json").stdout)["events"]] == ["ended", "started"]

    tried = serve.command("--test")
    assert (tried.returncode, tried.stdout.split()) == (0, ["1:json", "sent"])
    assert receiver.titles()[2:] == ["tailtrace: test"]
    serve.stop()
    said = (serve.folder / "serve.log").read_text(encoding="utf-8")
    assert "alert error_rate started: " in said
    assert "alert not sent to 1:json: refused, or out of reach" in said
    written = said + "".join(
        path.read_text(encoding="utf-8", errors="replace") for path in serve.folder.iterdir() if path.name != "urls"
    )
    assert SECRET not in written
    assert "Traceback" not in said
