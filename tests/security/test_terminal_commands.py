"""No escape and no line end of a stranger reaches a terminal or a log."""

import json
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tailtrace_api.terminal.console import Formatter, lines

TAILTRACE = str(Path(sys.executable).with_name("tailtrace"))
ESCAPE = "\x1b]0;owned\x07\x1b[31m\u202e"


def as_nginx_writes(text):
    """Control characters and bytes from 0x7F on as `\\xHH`."""
    return b"".join(b"%c" % byte if 0x20 <= byte < 0x7F else b"\\x%02X" % byte for byte in text.encode())


@pytest.fixture
def run(tmp_path):
    """Runs a command where the log, the OpenAPI file and file names are hostile; gives all that it printed."""
    now = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(time.time() - 60)).encode()
    (tmp_path / "a.log").write_bytes(
        b'100.64.0.7 - %b [%b] "GET /a HTTP/1.1" 200 5 "-" "%b"\n%b is no line\n'
        % (as_nginx_writes(ESCAPE), now, as_nginx_writes(ESCAPE), ESCAPE.encode())
    )
    (tmp_path / "openapi.json").write_text(
        json.dumps({"paths": {"/a": {"get": {"summary": f"Prices{ESCAPE}"}}, f"/{ESCAPE}": {"get": {"summary": "x"}}}})
    )
    (tmp_path / "identities.toml").write_text('"100.64.0.7" = { user = "ana@example.com", device = "[bold]laptop" }\n')
    env = {name: value for name, value in os.environ.items() if not name.startswith(("TAILTRACE_", "TAILSCALE_"))}
    env |= {
        "TAILTRACE_STORE": f"sqlite:{tmp_path / 't.db'}", "TAILTRACE_OPENAPI": str(tmp_path / "openapi.json"),
        "TAILTRACE_IDENTITIES": str(tmp_path / "identities.toml"), "TAILSCALE_SOCKET": str(tmp_path / "none.sock"),
        "NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "200",
    }  # fmt: skip

    def one(*words):
        done = subprocess.run(
            [TAILTRACE, *words], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
        return done.stdout + done.stderr

    return one


def test_what_the_commands_print(run):
    said = {
        "import": run("import", "a.log", f"{ESCAPE}.log"),
        "report": run("report"),
        "month": run("report", "--month", time.strftime("%Y-%m")),
        "whois": run("whois", "100.64.0.7"),
        "erase": run("erase", "--address", "100.64.0.7", "--yes"),
        "wrong": run("whois", ESCAPE),
    }
    assert "1 stored" in said["import"]
    assert r"\x1b]0;owned\x07" in said["import"]
    assert "Prices" in said["report"]
    assert "[bold]laptop" in said["erase"] + said["whois"]
    for command, text in said.items():
        assert not {"\x1b", "\x07", "\u202e"} & set(text), command


def test_lines_of_ours_stay_lines():
    assert lines("wrong:\n  a\x1b[2Jb\rc\n  né") == "wrong:\n  a\\x1b[2Jb\\rc\n  né"


def test_a_message_of_the_log_is_one_line():
    record = logging.LogRecord("tailtrace", logging.WARNING, "", 0, "%s: gone", ("a\n2026 ERROR forged\x1b[31m",), None)
    assert Formatter("%(levelname)s %(message)s").format(record) == "WARNING a\\n2026 ERROR forged\\x1b[31m: gone"


def test_a_traceback_keeps_its_lines():
    try:
        int("a\x1bb")
    except ValueError:
        record = logging.LogRecord("tailtrace", logging.ERROR, "", 0, "broken", (), sys.exc_info())
    said = Formatter("%(message)s").format(record)
    assert said.startswith("broken\nTraceback")
    assert said.splitlines()[-1].startswith("ValueError: ")
    assert "\x1b" not in said
