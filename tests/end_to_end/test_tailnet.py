"""Who is behind a request on a real tailnet: rightly named or unknown, whatever happens meanwhile, never wrong."""

import signal
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest

pytestmark = [pytest.mark.tailnet, pytest.mark.nginx]

ALICE = {"kind": "user", "user": "alice@example.com", "device": "laptop", "tags": []}
BOB = {"kind": "user", "user": "bob@example.com", "device": "phone", "tags": []}
CAROL = {"kind": "user", "user": "carol@example.com", "device": "laptop", "tags": []}
IVY = {"kind": "user", "user": "ivy@example.com", "device": "ivy", "tags": []}
RUNNER = {"kind": "tagged", "user": None, "device": "runner", "tags": ["tag:ci"]}
SERVER = {"kind": "self", "user": None, "device": "server", "tags": ["tag:server"]}
UNKNOWN = {"kind": "unknown", "user": None, "device": None, "tags": []}

SPOOFED_TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def named(row):
    return {key: row[key] for key in UNKNOWN}


def test_each_peer_by_each_of_its_addresses(tailnet, watch):
    server = tailnet.server
    asked = [
        (tailnet.laptop, server.v4, tailnet.laptop.v4, ALICE),
        (tailnet.laptop, server.v6, tailnet.laptop.v6, ALICE),
        (tailnet.phone, server.v4, tailnet.phone.v4, BOB),
        (tailnet.phone, server.v6, tailnet.phone.v6, BOB),
        (tailnet.runner, server.v4, tailnet.runner.v4, RUNNER),
        (tailnet.runner, server.v6, tailnet.runner.v6, RUNNER),
        (tailnet.ivy, server.v6, tailnet.ivy.v6, IVY),
        (server, server.v4, server.v4, SERVER),
        (server, server.v6, server.v6, SERVER),
        (server, "127.0.0.1", "127.0.0.1", {**UNKNOWN, "kind": "self"}),
        (tailnet.laptop, "10.77.0.11", "10.77.0.12", UNKNOWN),  # around the tailnet, over the network below it
    ]
    paths = [watch.ask(node, at=at)[0] for node, at, _, _ in asked]
    rows = [watch.row(path) for path in paths]
    assert [(row["ip"], named(row)) for row in rows] == [(ip, who) for _, _, ip, who in asked]
    assert {row["endpoint"] for row in rows} == {"/items/{item_id}"}
    assert all(row["app_time_ms"] is not None for row in rows)
    assert {row["identified_by"] for row in rows[:9]} == {"localapi"}


def test_the_one_with_ipv6_only_has_no_other_way(tailnet, watch):
    assert watch.ask(tailnet.ivy, "--max-time", "1")[1].status == 0


def test_new_owner(tailnet, watch):
    before, _ = watch.ask(tailnet.laptop)
    assert named(watch.row(before)) == ALICE
    tailnet.say(laptop={"As": "carol@example.com"})
    tailnet.wait_whois(tailnet.laptop.v4, lambda who: who["UserProfile"]["LoginName"] == "carol@example.com")
    watch.forget()
    assert watch.who(tailnet.laptop) == CAROL
    assert watch.who(tailnet.phone) == BOB
    assert named(watch.row(before)) == ALICE


def test_new_owner_is_seen_at_once_though_names_are_kept_for_minutes(tailnet, patient_watch):
    """tailscaled tells of the change as it happens: from then on nobody is named who had the address before."""
    watch = patient_watch
    assert watch.who(tailnet.laptop) == ALICE
    tailnet.say(laptop={"As": "carol@example.com"})
    tailnet.wait_whois(tailnet.laptop.v4, lambda who: who["UserProfile"]["LoginName"] == "carol@example.com")
    after, _ = watch.ask(tailnet.laptop)
    assert named(watch.row(after)) in (CAROL, UNKNOWN)
    assert watch.who(tailnet.laptop) == CAROL
    assert watch.who(tailnet.phone) == BOB


def test_person_becomes_a_service(tailnet, watch):
    assert watch.who(tailnet.laptop) == ALICE
    tailnet.say(laptop={"As": "tag:ci,tag:build"})
    tailnet.wait_whois(tailnet.laptop.v4, lambda who: who["Node"].get("Tags"))
    watch.forget()
    assert watch.who(tailnet.laptop) == {
        "kind": "tagged",
        "user": None,
        "device": "laptop",
        "tags": ["tag:ci", "tag:build"],
    }


def test_new_name_of_a_device(tailnet, watch):
    before, _ = watch.ask(tailnet.laptop)
    assert named(watch.row(before)) == ALICE
    tailnet.say(laptop={"As": "alice@example.com", "Name": "alices-new-laptop"})
    tailnet.wait_whois(tailnet.laptop.v4, lambda who: who["Node"]["Name"].startswith("alices-new-laptop."))
    watch.forget()
    assert watch.who(tailnet.laptop) == {**ALICE, "device": "alices-new-laptop"}
    assert named(watch.row(before)) == ALICE


def test_removed_before_its_line_is_read(tailnet, watch):
    """Nobody can say any more who it was; a peer that is still there is named all the same."""
    with watch.paused():
        gone, reply = watch.ask(tailnet.laptop)
        there, _ = watch.ask(tailnet.phone)
        assert reply.status == 200
        tailnet.say(laptop={"As": "alice@example.com", "Removed": True})
        tailnet.wait_whois(tailnet.laptop.v4, lambda who: not who)
    row = watch.row(gone)
    assert named(row) == UNKNOWN
    assert row["reason"] in {"no-such-node", "changed-hands"}  # the second where the pause was too short to matter
    assert named(watch.row(there)) == BOB
    assert watch.ask(tailnet.laptop, "--max-time", "0.5")[1].status == 0, "a removed node reaches nobody"
    tailnet.reset()
    watch.forget()
    assert watch.who(tailnet.laptop) == ALICE
    assert named(watch.row(gone)) == UNKNOWN


def test_key_expired_before_its_line_is_read(tailnet, watch):
    """It was hers when she asked, and tailscaled still knows whose it is; with that key nobody asks again."""
    with watch.paused():
        path, _ = watch.ask(tailnet.laptop)
        tailnet.say(laptop={"As": "alice@example.com", "Expired": True})
        tailnet.wait_whois(tailnet.laptop.v4, lambda who: who["Node"].get("Expired"))
    row = watch.row(path)
    assert (named(row), row["key_expired"]) == (ALICE, True)
    assert watch.ask(tailnet.laptop, "--max-time", "0.5")[1].status == 0


def test_address_of_another(tailnet, watch):
    """The phone gets the addresses that the laptop had: neither inherits the other's rows."""
    laptop, phone = tailnet.laptop, tailnet.phone
    hers, _ = watch.ask(laptop)
    his, _ = watch.ask(phone)
    # Both are stored before the change: a line that is still on its way is named by what holds then, or not at all.
    assert (named(watch.row(hers)), named(watch.row(his))) == (ALICE, BOB)
    tailnet.say(
        laptop={"As": "alice@example.com", "Removed": True},
        phone={"As": "bob@example.com", "Addresses": [laptop.v4, laptop.v6]},
    )
    tailnet.wait_whois(laptop.v4, lambda who: who and who["Node"]["Name"].startswith("phone."))
    tailnet.wait_whois(phone.v4, lambda who: not who)
    tailnet.reach(phone, at=laptop.v6)
    watch.forget()
    path, reply = watch.ask(phone)
    assert reply.status == 200
    row = watch.row(path)
    assert (row["ip"], named(row)) == (laptop.v4, BOB)
    rows = watch.rows()
    assert (rows[hers]["ip"], named(rows[hers])) == (laptop.v4, ALICE)
    assert (rows[his]["ip"], named(rows[his])) == (phone.v4, BOB)


def test_address_of_another_before_the_line_is_read(tailnet, watch):
    """Bob's phone joined after the request was made: it cannot have been him, and nobody knows who it was."""
    laptop = tailnet.laptop
    with watch.paused():
        path, _ = watch.ask(laptop)
        tailnet.say(
            laptop={"As": "alice@example.com", "Removed": True},
            phone={
                "As": "bob@example.com",
                "Addresses": [laptop.v4, laptop.v6],
                "Created": (datetime.now(UTC) + timedelta(minutes=2)).isoformat(),  # past what clocks may differ by
            },
        )
        tailnet.wait_whois(laptop.v4, lambda who: who and who["Node"]["Name"].startswith("phone."))
    row = watch.row(path)
    assert (row["ip"], named(row)) == (laptop.v4, UNKNOWN)
    assert row["reason"] in {"address-reused-or-unknown-then", "changed-hands"}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP], ids=["kill", "end", "freeze"])
def test_tailscaled_away(tailnet, watch, number):
    """A line that nobody can tell of waits for some seconds and is unknown; people have names again when it is back.

    A frozen tailscaled has let nobody in since the line was written, and tells of no change: the line has its name.
    """
    daemon = tailnet.server.daemon
    with watch.paused():
        unsure, reply = watch.ask(tailnet.laptop)
        assert reply.status == 200
        daemon.send_signal(number)
        if number != signal.SIGSTOP:
            daemon.wait(5)
    row = watch.row(unsure)
    truth = (ALICE, None) if number == signal.SIGSTOP else (UNKNOWN, "provider-unavailable")
    assert (named(row), row["reason"]) == truth
    tailnet.reset()
    wait_s = time.monotonic() + 10  # a provider that was away rests for at most 8 s
    while (who := watch.who(tailnet.laptop)) != ALICE:
        assert who == UNKNOWN
        assert time.monotonic() < wait_s
        watch.forget()
    assert watch.who(tailnet.phone) in (BOB, UNKNOWN)
    assert named(watch.row(unsure)) == truth[0]


def test_traffic_while_tailscaled_dies_freezes_and_returns(tailnet, watch):
    """Each request carries in its path who sent it; no row says that it was another."""
    senders = {tailnet.laptop: (1, ALICE), tailnet.phone: (2, BOB), tailnet.runner: (3, RUNNER)}
    answered: set[str] = set()
    stop = threading.Event()

    def send(node, first):
        number = 0
        while not stop.is_set():
            number += 1
            path = f"/items/{first}{number:06}"
            if watch.ask(node, "--max-time", "0.5", path=path)[1].status == 200:
                answered.add(path)
            time.sleep(0.02)

    threads = [threading.Thread(target=send, args=(node, first)) for node, (first, _) in senders.items()]
    for thread in threads:
        thread.start()
    try:
        time.sleep(1)
        tailnet.server.daemon.kill()
        tailnet.server.daemon.wait(5)
        time.sleep(0.5)
        tailnet.reset()
        time.sleep(1)
        tailnet.server.daemon.send_signal(signal.SIGSTOP)
        time.sleep(1.5)
        tailnet.server.daemon.send_signal(signal.SIGCONT)
        time.sleep(1)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    wait_until = time.monotonic() + 10
    while answered - (rows := {path: named(row) for path, row in watch.rows().items()}).keys():
        assert time.monotonic() < wait_until, answered - rows.keys()
        time.sleep(0.1)
    for first, truth in senders.values():
        said = [who for path, who in rows.items() if path.startswith(f"/items/{first}")]
        assert truth in said
        assert [who for who in said if who not in (truth, UNKNOWN)] == []


def test_claims_of_a_peer_change_nothing(tailnet, watch):
    """Headers that a proxy or tailscaled would set, and a trace of its own: the connection alone says who it is."""
    bob = tailnet.phone.v4
    claims = {
        "Tailscale-User-Login": "bob@example.com",
        "Tailscale-User-Name": "Bob",
        "X-Webauth-User": "bob@example.com",
        "X-Forwarded-For": bob,
        "X-Real-IP": bob,
        "Forwarded": f"for={bob}",
        "traceparent": f"00-{SPOOFED_TRACE}-00f067aa0ba902b7-01",
        "tracestate": "bob=1",
    }
    options = [word for name, value in claims.items() for word in ("-H", f"{name}: {value}")]
    for address, at in ((tailnet.laptop.v4, tailnet.server.v4), (tailnet.laptop.v6, tailnet.server.v6)):
        path, reply = watch.ask(tailnet.laptop, *options, at=at)
        got = reply.headers_at_app()
        row = watch.row(path)
        assert (row["ip"], named(row)) == (address, ALICE)
        assert row["trace_id"] != SPOOFED_TRACE
        assert got["traceparent"].split("-")[1] == row["trace_id"]
        assert (got["x-real-ip"], got["x-forwarded-for"]) == (address, address)
        assert "tracestate" not in got
        assert row["endpoint"] == "/items/{item_id}"
        assert row["app_time_ms"] is not None, "the app's span joins under nginx's trace, not the peer's"
