"""What the doctor sees of the ways in which a real nginx meets a real tailnet, each with its mend."""

import json
import shutil
import tempfile
from pathlib import Path

import pytest

from tailtrace_api.nginx.include_files import BEHIND_SERVE, write_files

pytestmark = [pytest.mark.tailnet, pytest.mark.nginx]


@pytest.fixture
def place():
    folder = Path(tempfile.mkdtemp(prefix="tt-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


def examine(watch):
    done = watch.tailtrace("doctor", "--nginx-conf", str(watch.nginx.config), "--json")
    return json.loads(done.stdout)["checks"]


def only(checks, name):
    (found,) = [check for check in checks if check["name"] == name]
    return found


def test_without_tun_it_leads_to_the_recipe_and_then_is_content(tailnet, watch_on, place):
    uspace = tailnet.uspace
    with watch_on(uspace, "listen 127.0.0.1:80;") as watch:
        for _ in range(3):
            watch.ask(tailnet.laptop)
        watch.wait_for("lines", lambda: len(watch.nginx.log.read_bytes().splitlines()) == 3)
        checks = examine(watch)
        for name in ("tailscale TUN", "peers"):
            found = only(checks, name)
            assert (found["status"], "--behind-serve" in found["cure"]) == ("failure", True)
        spans = only(checks, "OTLP receiver")
        assert (spans["status"], "--role spans" in spans["cure"], "without TUN" in spans["message"]) == (
            "failure",
            True,
            True,
        )
        watch.make_token("spans")
        assert only(examine(watch), "OTLP receiver")["status"] == "ok"
    path = place / "nginx.sock"
    write_files(place / "include", behind_serve=path)
    tailnet.serve(uspace, http={8081: f"unix:{path}"})
    with watch_on(uspace, f"include {place}/include/{BEHIND_SERVE};") as watch:
        for number in range(3):
            assert tailnet.ask_serve(tailnet.laptop, uspace, 8081, f"/items/{number}").status == 200
        watch.wait_for("lines", lambda: len(watch.nginx.log.read_bytes().splitlines()) == 3)
        checks = examine(watch)
        for name in ("tailscale TUN", "peers", "nginx server uspace.tailtest.ts.net tailnet.test behind a proxy"):
            assert only(checks, name)["status"] == "ok", name


def test_a_working_proxy_protocol_is_not_called_failed(tailnet, watch_on):
    uspace = tailnet.uspace
    tailnet.serve(uspace, tcp={8082: "127.0.0.2:8092"}, proxy_protocol=1)
    listens = "listen 127.0.0.2:8092 proxy_protocol; set_real_ip_from 127.0.0.1; real_ip_header proxy_protocol;"
    with watch_on(uspace, listens) as watch:
        for number in range(3):
            assert tailnet.laptop.curl(f"http://{uspace.v4}:8082/items/{number}").status == 200
        watch.wait_for("lines", lambda: len(watch.nginx.log.read_bytes().splitlines()) == 3)
        checks = examine(watch)
        assert [only(checks, name)["status"] for name in ("tailscale TUN", "peers")] == ["ok", "ok"]


def test_with_tun_it_sees_serve_in_front_and_headers_that_nobody_believes(tailnet, watch_on):
    server = tailnet.server
    tailnet.serve(server, http={8081: "http://127.0.0.1:84"})
    with watch_on(server, "listen 127.0.0.1:84;") as watch:
        for number in range(3):
            tailnet.ask_serve(tailnet.laptop, server, 8081, f"/items/{number}")
        watch.wait_for("lines", lambda: len(watch.nginx.log.read_bytes().splitlines()) == 3)
        checks = examine(watch)
        assert "`tailscale serve` stands in front" in only(checks, "peers")["message"]
        assert only(checks, "serve headers")["status"] == "failure"


def test_it_sees_whom_nginx_believes(tailnet, watch_on):
    """A network as wide as the world, and headers with underscores: with each of them alice would be bob."""
    server = tailnet.server
    http = "set_real_ip_from 0.0.0.0/0; real_ip_header X-Forwarded-For; underscores_in_headers on;"
    with watch_on(server, f"listen {server.v4}:84;", http=http) as watch:
        tailnet.laptop.curl(f"http://{server.v4}:84/items/1", "-H", f"X-Forwarded-For: {tailnet.phone.v4}")
        row = watch.row("/items/1")
        assert (row["ip"], row["kind"], row["user"], row["reason"]) == (
            tailnet.phone.v4,
            "unknown",
            None,
            "forwarded-by-device",
        )
        checks = examine(watch)
        for name in ("nginx set_real_ip_from", "nginx underscores_in_headers"):
            assert only(checks, name)["status"] == "failure"


def test_it_sees_one_gateway(tailnet, watch_on):
    """As behind a published container port: all come over the network below, from one private address."""
    with watch_on(tailnet.server, "listen 10.77.0.11:84;") as watch:
        for number in range(3):
            assert tailnet.laptop.curl(f"http://10.77.0.11:84/items/{number}").status == 200
        watch.wait_for("lines", lambda: len(watch.nginx.log.read_bytes().splitlines()) == 3)
        found = only(examine(watch), "peers")
        assert (found["status"], "from 10.77.0.12, a private address" in found["message"]) == ("failure", True)
        assert "network_mode" in found["cure"]
