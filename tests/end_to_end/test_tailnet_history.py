"""Who had an address when tailtrace or tailscaled was away, on a real tailnet: by what was seen, else unknown."""

import json
import os
import re
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest

pytestmark = [pytest.mark.tailnet, pytest.mark.nginx]

ALICE = {"kind": "user", "user": "alice@example.com", "device": "laptop", "tags": []}
BOB = {"kind": "user", "user": "bob@example.com", "device": "phone", "tags": []}
CAROL = {"kind": "user", "user": "carol@example.com", "device": "laptop", "tags": []}
UNKNOWN = {"kind": "unknown", "user": None, "device": None, "tags": []}
LONG_AGO = "2025-01-01T00:00:00Z"
THEN = {"address-reused-or-unknown-then", "changed-hands"}


def named(row):
    return {key: row[key] for key in UNKNOWN}


@contextmanager
def down(watch):
    """tailtrace is not there; what is asked meanwhile waits in the log."""
    watch.process.terminate()
    watch.process.wait(15)
    yield
    start(watch)


def start(watch):
    watch.process = watch.node.start("serve", sys.executable, *watch._program, **watch.settings)
    watch.wait_for("tailtrace serve", lambda: watch.node.curl("http://127.0.0.1:8470/ready").status == 200)


def is_whose(login):
    return lambda who: bool(who) and who["UserProfile"]["LoginName"] == login


def command(watch, *words):
    done = subprocess.run(
        watch.node.command(sys.executable, "-m", "tailtrace_api.main", *words),
        env=os.environ | watch.settings, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, (words, done.stdout, done.stderr)
    return done.stdout


def say_all_old(tailnet):
    tailnet.say(
        laptop={"As": "alice@example.com", "Created": LONG_AGO}, phone={"As": "bob@example.com", "Created": LONG_AGO}
    )
    tailnet.wait_whois(tailnet.laptop.v4, lambda who: bool(who) and who["Node"]["Created"].startswith("2025"))


def test_the_same_holder_before_and_after_is_named(tailnet, watch):
    assert watch.who(tailnet.laptop) == ALICE
    with down(watch):
        waited, _ = watch.ask(tailnet.laptop)
        his, _ = watch.ask(tailnet.phone)
    assert (named(watch.row(waited)), named(watch.row(his))) == (ALICE, BOB)


def test_logged_in_by_another_while_tailtrace_was_down(tailnet, watch):
    """The device is years old, and hers all the time; until it was not."""
    say_all_old(tailnet)
    assert watch.who(tailnet.laptop) == ALICE
    with down(watch):
        hers, _ = watch.ask(tailnet.laptop)
        tailnet.say(laptop={"As": "carol@example.com", "Created": LONG_AGO})
        tailnet.wait_whois(tailnet.laptop.v4, is_whose("carol@example.com"))
        carols, _ = watch.ask(tailnet.laptop)
        bobs, _ = watch.ask(tailnet.phone)
    for path in (hers, carols):
        row = watch.row(path)
        assert named(row) == UNKNOWN
        assert row["reason"] in THEN
    assert named(watch.row(bobs)) == BOB
    assert watch.who(tailnet.laptop) == CAROL


def test_address_given_to_an_older_device_while_tailtrace_was_down(tailnet, watch):
    say_all_old(tailnet)
    laptop, phone = tailnet.laptop, tailnet.phone
    assert watch.who(laptop) == ALICE
    with down(watch):
        hers, _ = watch.ask(laptop)
        tailnet.say(
            laptop={"As": "alice@example.com", "Removed": True},
            phone={"As": "bob@example.com", "Created": LONG_AGO, "Addresses": [laptop.v4, laptop.v6]},
        )
        tailnet.wait_whois(laptop.v4, is_whose("bob@example.com"))
        tailnet.reach(phone, at=laptop.v6)
    row = watch.row(hers)
    assert (row["ip"], named(row)) == (laptop.v4, UNKNOWN)
    assert row["reason"] in THEN
    assert watch.who(phone) == BOB


def test_a_device_that_joined_within_a_minute_of_the_line(tailnet, watch):
    """What clocks may differ by was once enough to be somebody else."""
    laptop = tailnet.laptop
    assert watch.who(laptop) == ALICE
    with down(watch):
        hers, _ = watch.ask(laptop)
        tailnet.say(
            laptop={"As": "alice@example.com", "Removed": True},
            phone={
                "As": "bob@example.com",
                "Addresses": [laptop.v4, laptop.v6],
                "Created": datetime.now(UTC).isoformat(),
            },
        )
        tailnet.wait_whois(laptop.v4, is_whose("bob@example.com"))
    assert named(watch.row(hers)) == UNKNOWN


def test_nobody_was_seen_before_the_first_start(tailnet, watch):
    """Without a history, that a device is old does not say whose it was."""
    say_all_old(tailnet)
    with down(watch):
        for file in watch.folder.glob("checkpoint.history.json*"):
            file.unlink()
        before, _ = watch.ask(tailnet.laptop)
    row = watch.row(before)
    assert (named(row), row["reason"]) == (UNKNOWN, "address-reused-or-unknown-then")
    assert watch.who(tailnet.laptop) == ALICE


def test_lines_read_before_tailscaled_answers_wait_for_it(tailnet, watch):
    """tailtrace begins first, as at the start of a machine; who is of the internet or of this machine does not wait."""
    assert watch.who(tailnet.laptop) == ALICE
    watch.make_token()  # without tailscaled nothing proves that 127.0.0.1 is this machine
    daemon = tailnet.server.daemon
    with down(watch):
        hers, _ = watch.ask(tailnet.laptop)
        daemon.kill()
        daemon.wait(5)
        with watch.nginx.log.open("a") as log:
            written = watch.nginx.log
            watch.wait_for("the line", lambda: hers in written.read_text())
            last = next(one for one in written.read_text().splitlines() if hers in one)
            line = last.replace(tailnet.laptop.v4, "8.8.8.8").replace(hers, "/items/99")
            log.write(re.sub(r"\b[0-9a-f]{32}\b", "7" * 32, line) + "\n")
    public = watch.wait_for(
        "the line of the internet", lambda: [r for r in watch.rows().values() if r["ip"] == "8.8.8.8"]
    )
    assert public[0]["kind"] == "external"
    time.sleep(1)
    assert tailnet.laptop.v4 not in {row["ip"] for row in watch.rows().values() if row["path"] == hers}
    metrics = watch.api("/metrics").body
    assert "tailtrace_lines_held_now 0.0" not in metrics
    tailnet.reset()
    assert named(watch.row(hers)) == ALICE


def test_who_falls_into_a_change_is_never_the_former(tailnet, patient_watch):
    """Requests all the time, one after another; once the change of hands is seen, nothing is named otherwise."""
    watch, laptop = patient_watch, tailnet.laptop
    assert watch.who(laptop) == ALICE
    asked, stop = [], threading.Event()

    def send():
        number = 0
        while not stop.is_set():
            number += 1
            path = f"/items/7{number:06}"
            began = time.time()
            if watch.ask(laptop, "--max-time", "2", path=path)[1].status == 200:
                asked.append((path, began, time.time()))

    sender = threading.Thread(target=send)
    sender.start()
    try:
        time.sleep(0.5)
        said = time.time()
        tailnet.say(laptop={"As": "carol@example.com"})
        tailnet.wait_whois(laptop.v4, is_whose("carol@example.com"))
        changed = time.time()
        deadline = changed + 30  # 0.2 s on a machine that is not busy
        while named(watch.row(asked[-1][0])) != CAROL and time.time() < deadline:
            time.sleep(0.1)
        time.sleep(1)
    finally:
        stop.set()
        sender.join()
    rows = {path: named(watch.row(path)) for path, _, _ in asked}
    before = [rows[path] for path, _, end in asked if end < said]
    after = [rows[path] for path, begin, _ in asked if begin > changed]
    assert ALICE in before
    assert [who for who in before if who not in (ALICE, UNKNOWN)] == []
    assert after.count(CAROL) > 3
    assert [who for who in after if who not in (CAROL, UNKNOWN)] == []
    since = [rows[path] for path, _, _ in asked]
    assert [who for who in since[since.index(CAROL) :] if who != CAROL] == []


def test_an_import_is_named_by_what_the_bridge_saw(tailnet, watch):
    say_all_old(tailnet)
    assert watch.who(tailnet.laptop) == ALICE
    time.sleep(1.5)
    seen = datetime.now(UTC)
    time.sleep(1.5)
    tailnet.say(laptop={"As": "carol@example.com", "Created": LONG_AGO})
    tailnet.wait_whois(tailnet.laptop.v4, is_whose("carol@example.com"))
    assert watch.who(tailnet.laptop) == CAROL
    time.sleep(1.5)  # until it is written down
    log = watch.folder / "old.log"
    line = '{} - - [{:%d/%b/%Y:%H:%M:%S %z}] "GET {} HTTP/1.1" 200 5 "-" "curl"\n'
    log.write_text(
        line.format(tailnet.laptop.v4, seen, "/then")
        + line.format(tailnet.laptop.v4, datetime.now(UTC), "/now")
        + line.format(tailnet.laptop.v4, seen - timedelta(days=2), "/long-ago")
    )
    command(watch, "import", str(log))
    rows = {entry["path"]: entry for entry in all_rows(watch)}
    assert {**named(rows["/then"]), "by": rows["/then"]["identified_by"]} == {**ALICE, "by": "history"}
    assert named(rows["/now"]) in (CAROL, UNKNOWN)  # to the second: it may touch the change
    assert (named(rows["/long-ago"]), rows["/long-ago"]["reason"]) == (UNKNOWN, "address-reused-or-unknown-then")


def all_rows(watch):
    reply = watch.node.curl("http://127.0.0.1:8470/analytics/access-logs?hours=168&limit=1000")
    assert reply.status == 200, reply
    return json.loads(reply.body)["logs"]


def history_of(watch):
    return watch.folder / "checkpoint.history.json"


def test_the_history_is_private_can_be_had_and_is_forgotten(tailnet, watch):
    assert watch.who(tailnet.laptop) == ALICE
    file = history_of(watch)
    watch.wait_for("the history", lambda: file.exists() and "alice@example.com" in file.read_text())
    assert file.stat().st_mode & 0o777 == 0o600
    out = watch.folder / "alice.ndjson"
    command(watch, "export", "--user", "alice@example.com", "--output", str(out))
    seen = [json.loads(line) for line in out.read_text().splitlines()]
    assert {one["ip"] for one in seen if one["record"] == "seen"} == {tailnet.laptop.v4, tailnet.laptop.v6}
    tailnet.say(laptop={"As": "carol@example.com"})
    tailnet.wait_whois(tailnet.laptop.v4, is_whose("carol@example.com"))
    assert watch.who(tailnet.laptop) == CAROL
    assert "alice@example.com" in file.read_text()
    command(watch, "erase", "--user", "alice@example.com", "--yes")
    assert "alice@example.com" not in file.read_text()
    tailnet.say(phone={"As": "bob@example.com", "Name": "bobs-phone"})  # a change: the bridge writes it anew
    watch.wait_for("the history with the new name", lambda: "bobs-phone" in file.read_text())
    assert "alice@example.com" not in file.read_text()
    assert "carol@example.com" in file.read_text()


def test_with_pseudonyms_the_history_has_no_names(tailnet, tmp_path, make_watch):
    key = tmp_path / "key"
    key.write_text("a secret of more than sixteen")
    watch = make_watch(TAILTRACE_PSEUDONYMS="true", TAILTRACE_PSEUDONYMS_KEY_FILE=str(key))
    with watch.open():
        path, _ = watch.ask(tailnet.laptop)
        user = watch.row(path)["user"]
        assert user.startswith("user-")
        file = history_of(watch)
        watch.wait_for("the history", file.exists)
        for word in ("alice", "laptop", "phone", "bob", tailnet.laptop.v4, tailnet.phone.v6, "nodekey:"):
            assert word not in file.read_text()
        with down(watch):
            waited, _ = watch.ask(tailnet.laptop)
        assert watch.row(waited)["user"] == user, "the same holder before and after, under a pseudonym too"


RELAY = """
import socket, sys, threading

def pipe(source, target):
    while data := source.recv(65536):
        target.sendall(data)
    target.shutdown(socket.SHUT_WR)

listener = socket.create_server(("192.168.50.1", 8080))
while True:
    client, _ = listener.accept()
    server = socket.create_connection((sys.argv[1], 80))
    for ends in ((client, server), (server, client)):
        threading.Thread(target=pipe, args=ends, daemon=True).start()
"""
"""Hands connections of the subnet on under the router's own address, as masquerading does."""


def test_a_router_that_masquerades_is_not_its_owner(tailnet, watch):
    server, router, lan = tailnet.server, tailnet.router, tailnet.lan
    alone, _ = watch.ask(router)
    assert named(watch.row(alone))["user"] == "rita@example.com"
    router.tailscale("set", "--advertise-routes=192.168.50.0/24")
    server.tailscale("set", "--accept-routes")
    router.start("relay", sys.executable, "-c", RELAY, server.v4)
    try:
        tailnet.say(router={"As": "rita@example.com", "Routes": ["192.168.50.0/24"]})
        tailnet.wait_whois(router.v4, lambda who: bool(who) and bool(who["Node"].get("PrimaryRoutes")))
        behind = watch.next_path()
        watch.wait_for("the way back to the subnet", lambda: lan.curl(f"http://{server.v4}/items/0", max_s=1).status)
        assert lan.curl(f"http://{server.v4}{behind}").status == 200
        row = watch.row(behind)
        assert (row["ip"], row["kind"], row["via"], row["user"]) == ("192.168.50.77", "subnet", "router", None)
        masked = watch.next_path()
        assert lan.curl(f"http://192.168.50.1:8080{masked}").status == 200
        own, _ = watch.ask(router)
        for path in (masked, own):  # nobody can tell them apart
            row = watch.row(path)
            assert (row["ip"], row["kind"], row["via"], row["user"]) == (router.v4, "subnet", "router", None)
        tailnet.say(router={"As": "rita@example.com", "ExitNode": True})
        tailnet.wait_whois(router.v4, lambda who: bool(who) and not who["Node"].get("PrimaryRoutes"))
        assert watch.who(router)["user"] == "rita@example.com", "nobody comes from an exit node with its address"
    finally:
        router.tailscale("set", "--advertise-routes=")
        server.tailscale("set", "--accept-routes=false")


def test_a_tagged_node_without_a_profile_is_in_the_status(tailnet, watch):
    """whois says 404 of it: the user of tagged nodes is not told to whoever begins now."""
    server, runner = tailnet.server, tailnet.runner
    tailnet.say(runner={"As": "tag:ci", "NoProfile": True})
    server.daemon.kill()
    server.daemon.wait(5)
    server.start_daemon()
    tailnet.wait_whois(tailnet.laptop.v4, bool)
    assert server.local_api(f"whois?addr={runner.v4}").status == 404
    server.ping(runner.v6, "--until-direct=false")
    tailnet.reach(runner)
    assert watch.who(runner) == {"kind": "tagged", "user": None, "device": "runner", "tags": ["tag:ci"]}
    assert "tag:ci" in command(watch, "whois", runner.v4)


@pytest.fixture
def make_watch(tailnet, tmp_path):
    from tests.end_to_end.conftest import Watch

    return lambda **settings: Watch(tailnet, tmp_path, **settings)
