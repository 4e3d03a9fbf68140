"""Who is named where `tailscale serve` or Funnel stands in front, and where tailscaled has no TUN: the real ones."""

import pytest

pytestmark = [pytest.mark.tailnet, pytest.mark.nginx]

ALICE = ("user", "alice@example.com", "laptop")
RUNNER = ("tagged", None, "runner")


def who(row):
    return row["kind"], row["user"], row["device"]


def test_serve_with_proxy_protocol_names_everybody_without_tun(tailnet, watch_on):
    uspace = tailnet.uspace
    tailnet.serve(uspace, tcp={8082: "127.0.0.1:80"}, proxy_protocol=1)
    listens = "listen 127.0.0.1:80 proxy_protocol; set_real_ip_from 127.0.0.1; real_ip_header proxy_protocol;"
    with watch_on(uspace, listens) as watch:
        watch.make_token()
        for node, path, name in ((tailnet.laptop, "/items/1", ALICE), (tailnet.runner, "/items/2", RUNNER)):
            assert node.curl(f"http://{uspace.v4}:8082{path}").status == 200
            row = watch.row(path)
            assert (row["ip"], who(row)) == (node.v4, name)
