"""The program beside a real nginx: what it finds, and that its patch cures what it found."""

import json
import shutil
import subprocess
import time
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from tailtrace_api.commands.cli import app
from tailtrace_api.nginx.process import NginxServer
from tailtrace_bridge.identity.control.testing import API_KEY, FakeControlApi

LOCATIONS = """
        location /good/ {
            include tailtrace-proxy.conf;
            proxy_pass http://127.0.0.1:1;
        }
        location /bad/ {
            proxy_set_header Host $host;
            proxy_pass http://127.0.0.1:1;
        }
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TAILSCALE_SOCKET", str(tmp_path / "none.sock"))
    monkeypatch.setenv("TAILTRACE_LISTEN", "127.0.0.1:1")
    monkeypatch.setenv("TAILTRACE_OTLP_LISTEN", "127.0.0.1:1")

    def doctor(*words):
        result = CliRunner().invoke(app, ["doctor", *map(str, words)])
        return result.exit_code, result.stdout

    return doctor


def status_of(report, place):
    return next(check["status"] for check in report["checks"] if check["name"].endswith(place))


def apply(patch):
    """As a person would; a machine without `patch` gets the one line that changes by hand."""
    if shutil.which("patch"):
        subprocess.run(["patch", "-d", "/", "-p1"], input=patch, text=True, check=True, timeout=10)
        return
    file = Path(patch.splitlines()[1].removeprefix("+++ "))
    (added,) = [line[1:] for line in patch.splitlines() if line.startswith("+ ")]
    (removed,) = [line[1:] for line in patch.splitlines() if line.startswith("- ")]
    file.write_text(file.read_text().replace(removed + "\n", added + "\n"))


@pytest.mark.nginx
def test_finds_the_location_and_its_patch_cures_it(run, monkeypatch, tmp_path):
    with NginxServer(LOCATIONS, folder=tmp_path) as nginx:
        monkeypatch.setenv("TAILTRACE_LOG", str(nginx.log))
        httpx.get(f"{nginx.url}/good/")
        deadline = time.monotonic() + 5
        while not nginx.log.stat().st_size and time.monotonic() < deadline:
            time.sleep(0.01)
        dump = tmp_path / "dump"
        command = [nginx.binary, "-T", "-q", "-p", nginx.folder, "-c", nginx.config]
        dump.write_bytes(subprocess.run(command, capture_output=True, check=True).stdout)

        for source in (nginx.config, dump):
            code, out = run("--nginx-conf", source, "--json")
            report = json.loads(out)
            assert code == 1
            assert status_of(report, "› location /good/") == "ok"
            assert status_of(report, "› location /bad/") == "failure"
            assert status_of(report, "nginx server localhost") == "ok"
            assert status_of(report, "nginx http") == "ok"
            assert status_of(report, "log lines") == "ok"
            assert status_of(report, "clock") == "ok"
            assert sum(report["counts"].values()) == len(report["checks"])
            assert report["patch"].count("\n+") == 2  # its head, and one line

        apply(report["patch"])
        assert nginx.config.read_text().count("include tailtrace-proxy.conf;") == 1
        assert nginx.config.read_text().count(f"include {tmp_path}/tailtrace-proxy.conf;") == 1
        nginx.check()
        report = json.loads(run("--nginx-conf", nginx.config, "--json")[1])
        assert status_of(report, "› location /bad/") == "ok"
        assert report["patch"] == ""


def test_the_patch_names_the_file_and_not_the_link(run, tmp_path):
    (tmp_path / "a").write_text("server {\n return 204;\n}\n")
    (tmp_path / "on").mkdir()
    (tmp_path / "on" / "a").symlink_to(tmp_path / "a")
    (tmp_path / "nginx.conf").write_text("http {\n include on/*;\n}\n")
    patch = json.loads(run("--nginx-conf", "nginx.conf", "--json")[1])["patch"]
    assert f"--- {tmp_path}/a\n+++ {tmp_path}/a\n" in patch


@pytest.mark.nginx
def test_asks_nginx_itself(run, monkeypatch, tmp_path):
    """A program named nginx that adds the folder: what `nginx -T` is to an installed nginx."""
    with NginxServer(LOCATIONS, folder=tmp_path / "n") as nginx:
        script = tmp_path / "nginx"
        script.write_text(f'#!/bin/sh\nexec "{nginx.binary}" -p "{nginx.folder}" -c "{nginx.config}" "$@"\n')
        script.chmod(0o755)
        monkeypatch.setenv("TAILTRACE_NGINX", str(script))
        monkeypatch.setenv("TAILTRACE_LOG", str(nginx.log))
        report = json.loads(run("--json")[1])
        assert status_of(report, "› location /bad/") == "failure"
        nginx.config.write_text("http {")
        code, out = run()
        assert code == 1
        assert "refuses the configuration" in out or "needs root" in out


def test_in_words(run, tmp_path):
    (tmp_path / "nginx.conf").write_text("http {\nserver {\n server_name [red]a;\n return 204;\n}\n}\n")
    code, out = run("--nginx-conf", "nginx.conf", "--address", "100.64.0.9")
    assert code == 1
    assert "✗ nginx http\n" in out
    assert "⚠ nginx server [red]a\n" in out
    assert "⚠ address 100.64.0.9\n" in out
    assert "+    include /etc/nginx/tailtrace/tailtrace-http.conf;" in out


def test_an_address_that_the_control_api_alone_knows(run, monkeypatch, tmp_path):
    (tmp_path / "nginx.conf").write_text("http {\n}\n")
    with FakeControlApi() as fake:
        fake.devices = [
            {
                "nodeId": "nANA",
                "id": "1",
                "name": "ana-laptop.tail1.ts.net",
                "hostname": "ana-laptop",
                "addresses": ["100.64.0.7"],
                "user": "ana@example.com",
            }
        ]
        monkeypatch.setenv("TAILSCALE_API_KEY", API_KEY)
        monkeypatch.setenv("TAILSCALE_API_URL", fake.url)
        report = json.loads(run("--nginx-conf", "nginx.conf", "--address", "100.64.0.7", "--json")[1])
    said = {check["name"]: check for check in report["checks"]}
    assert said["control API"]["message"].endswith("(devices:core:read): 1 devices")
    assert said["address 100.64.0.7"]["status"] == "ok"
    assert "ana@example.com" in said["address 100.64.0.7"]["message"]
    assert API_KEY not in json.dumps(report)


@pytest.mark.parametrize("words", [["--address", "ana"], ["--nginx-conf", "none.conf"], ["--what"]])
def test_wrong_use(run, words):
    assert run(*words)[0] == 2
