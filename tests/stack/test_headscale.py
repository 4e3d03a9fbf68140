"""A real Headscale and real daemons that are its nodes: who is whom, over its API and over a node's LocalAPI.

Nodes run in userspace mode, so this needs no root; they find each other by Headscale's own DERP server.
What a real one cannot be made to do (0.28's tagged node without a profile) is in `tests/bridge/control`.
"""

import json
import os
import sqlite3
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager

import pytest

pytestmark = [pytest.mark.headscale]

CLI = (sys.executable, "-m", "tailtrace_api.commands.cli")
CONFIG = """
server_url: http://127.0.0.1:{http}
listen_addr: 127.0.0.1:{http}
metrics_listen_addr: 127.0.0.1:{metrics}
grpc_listen_addr: 127.0.0.1:{grpc}
noise: {{private_key_path: {folder}/noise.key}}
prefixes: {{v4: 100.64.0.0/10, v6: "fd7a:115c:a1e0::/48", allocation: sequential}}
derp:
  server: {{enabled: true, region_id: 999, region_code: test, region_name: test, stun_listen_addr: "127.0.0.1:{stun}",
            private_key_path: {folder}/derp.key, automatically_add_embedded_derp_region: true}}
  urls: []
  auto_update_enabled: false
disable_check_updates: true
database: {{type: sqlite, sqlite: {{path: {folder}/db.sqlite, write_ahead_log: false}}}}
policy: {{mode: database}}
dns: {{magic_dns: false, override_local_dns: false, base_domain: tail.test}}
unix_socket: {folder}/headscale.sock
unix_socket_permission: "0700"
logtail: {{enabled: false}}
"""


class Headscale:
    def __init__(self, servers, program, folder):
        self.program = program
        http, metrics, grpc, stun = servers.free_ports(4)
        self.url = f"http://127.0.0.1:{http}"
        self.database = folder / "db.sqlite"
        self.config = folder / "config.yaml"
        self.config.write_text(CONFIG.format(http=http, metrics=metrics, grpc=grpc, stun=stun, folder=folder))
        command = [str(program), "serve", "-c", str(self.config)]
        self.server = servers.Server(command, f"{self.url}/health", folder, {})

    def run(self, *arguments):
        """What its own command line answers."""
        done = subprocess.run(
            [self.program, "-c", self.config, *arguments, "-o", "json"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    def make_user(self, name, *options):
        return str(self.run("users", "create", name, *options)["id"])

    def make_key(self, user, *options):
        return self.run("preauthkeys", "create", "-u", user, "--reusable", *options)["key"]

    def api_key(self):
        return self.run("apikeys", "create")


@contextmanager
def node(headscale, daemons, folder, name, key):
    """A device that is logged in: its LocalAPI's socket and its addresses."""
    folder.mkdir()
    sock = folder / "s"
    command = [
        daemons / "tailscaled", f"--statedir={folder}", f"--socket={sock}", "--port=0", "--tun=userspace-networking",
        "--no-logs-no-support",
    ]  # fmt: skip
    with (folder / "log").open("wb") as log:
        # Else it makes /var/lib/tailscale, and a bridge on this machine expects a tailscaled.
        daemon = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "TS_LOGS_DIR": str(folder)})
    try:
        cli = (daemons / "tailscale", f"--socket={sock}")
        end_s = time.monotonic() + 20
        while not sock.is_socket():
            assert time.monotonic() < end_s, (folder / "log").read_text()
            time.sleep(0.05)
        up = ("up", f"--login-server={headscale.url}", f"--authkey={key}", f"--hostname={name}", "--timeout=60s")
        subprocess.run([*cli, *up, "--accept-dns=false"], check=True, timeout=90, capture_output=True)
        shown = subprocess.run([*cli, "ip"], check=True, timeout=30, capture_output=True, text=True)
        yield sock, tuple(shown.stdout.split())
    finally:
        daemon.terminate()
        daemon.wait(20)


class Site:
    """A Headscale with four nodes, and tailtrace beside it."""

    def __init__(self, headscale, nodes, folder):
        self.headscale, self.nodes, self.folder = headscale, nodes, folder

    def tailtrace(self, *arguments, **settings):
        env = {key: value for key, value in os.environ.items() if not key.startswith(("TAILTRACE_", "TAILSCALE_"))}
        here = {
            "TAILTRACE_STORE": f"sqlite:{self.folder}/rows.db",
            "TAILTRACE_CHECKPOINT": f"{self.folder}/checkpoint.json",
            "TAILTRACE_LOG": f"{self.folder}/access.log",
        }
        return subprocess.run(
            [*CLI, *arguments], env={**env, **here, **settings}, capture_output=True, text=True, timeout=60, check=False
        )

    def whois(self, address, **settings):
        told = json.loads(self.tailtrace("whois", address, "--json", **settings).stdout)["identity"]
        return told["kind"], told["user"], told["device"], told["tags"], told["provider"]


PEOPLE = {
    "laptop": ("user", "ana@example.com", ""),
    "phone": ("user", "bruno", ""),
    "tablet": ("user", "https://sso.example.com/carla", ""),
    "runner": ("tagged", "", "tag:ci"),
}
"""A user with an e-mail address, one with a name alone, one that has neither and came by OIDC; a tagged node."""


@pytest.fixture(scope="module")
def site(request, tmp_path_factory, headscale_programs):
    servers = request.config.pluginmanager.get_plugin("tailtrace_test_servers")
    program, daemons = headscale_programs
    folder = tmp_path_factory.mktemp("headscale")
    (folder / "access.log").touch()
    headscale = Headscale(servers, program, folder)
    headscale.server.start()
    try:
        ana = headscale.make_user("ana", "--email", "ana@example.com", "--display-name", "Ana Ruiz")
        bruno = headscale.make_user("bruno", "--display-name", "Bruno Paz")
        carla = headscale.make_user("carla")
        keys = {
            "laptop": headscale.make_key(ana),
            "phone": headscale.make_key(bruno),
            "tablet": headscale.make_key(carla),
            "runner": headscale.make_key(ana, "--tags", "tag:ci"),
        }
        headscale.server.stop()
        with sqlite3.connect(headscale.database) as db:
            # As OpenID Connect leaves a person whose provider tells neither name nor address.
            db.execute(
                "UPDATE users SET name = '', display_name = '', email = '', provider = 'oidc',"
                " provider_identifier = 'https://sso.example.com/carla' WHERE id = ?",
                (carla,),
            )
        db.close()
        headscale.server.start()
        with ExitStack() as held:
            nodes = {
                name: held.enter_context(node(headscale, daemons, folder / name, name, key))
                for name, key in keys.items()
            }
            yield Site(headscale, nodes, folder)
    finally:
        headscale.server.end_test()


@pytest.mark.parametrize("family", [0, 1], ids=["v4", "v6"])
def test_its_api_names_each_node(site, family):
    settings = {"TAILSCALE_API_URL": site.headscale.url, "TAILSCALE_API_KEY": site.headscale.api_key()}
    for name, (_, addresses) in site.nodes.items():
        kind, user, tags = PEOPLE[name]
        assert site.whois(addresses[family], **settings) == (kind, user, name, tags, "control")


def test_a_nodes_local_api_gives_the_same_names(site):
    """Who asks a daemon must not get other people than who asks Headscale."""
    sock, _ = site.nodes["laptop"]
    for name, (_, addresses) in site.nodes.items():
        kind, user, tags = PEOPLE[name]
        if name != "laptop":
            found = site.whois(addresses[0], TAILSCALE_SOCKET=str(sock))
            assert found[:4] == (kind, user, name, tags), found


def test_a_key_that_it_does_not_take_is_said_with_the_cure(site):
    """Also one whose beginning it knows: to that, Headscale answers 500."""
    good, expired = site.headscale.api_key(), site.headscale.api_key()
    site.headscale.run("apikeys", "expire", "--prefix", expired.partition(".")[0])
    wrong_end = good[:-1] + ("b" if good[-1] == "a" else "a")
    for key, is_good in ((good, True), (expired, False), (wrong_end, False), ("no-key", False)):
        api = {"TAILSCALE_API_URL": site.headscale.url, "TAILSCALE_API_KEY": key}
        checks = json.loads(site.tailtrace("doctor", "--json", **api).stdout)["checks"]
        (found,) = [check for check in checks if check["name"] == "control API"]
        assert (found["status"] == "ok", "headscale apikeys create" in found["cure"]) == (is_good, not is_good), found
        assert site.whois(site.nodes["laptop"][1][0], **api)[0] == ("user" if is_good else "unknown")


def test_a_node_whose_key_has_expired_is_marked(site):
    address = site.nodes["phone"][1][0]
    api = {"TAILSCALE_API_URL": site.headscale.url, "TAILSCALE_API_KEY": site.headscale.api_key()}
    assert "key expired" not in site.tailtrace("whois", address, **api).stdout
    (phone,) = [each for each in site.headscale.run("nodes", "list") if each["given_name"] == "phone"]
    site.headscale.run("nodes", "expire", "-i", str(phone["id"]))
    told = site.tailtrace("whois", address, **api).stdout
    assert "bruno" in told
    assert "key expired" in told
