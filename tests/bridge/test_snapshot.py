"""Who an address is by `/status`: what tailscaled says, and the identity, side by side; and while it is away."""

import logging
from collections.abc import Mapping

import pytest

from tailtrace_bridge.core.records import Identity
from tailtrace_bridge.identity.chain import Found, Identities, NotFound, Unavailable
from tailtrace_bridge.identity.nodes import ROUTES_MAX, read_peers
from tailtrace_bridge.identity.snapshot import USERSPACE_PROBLEM, Snapshot
from tailtrace_bridge.testing import FakeClock

S = 1_000_000
CREATED = "2025-10-08T12:00:00Z"
CREATED_US = 1_759_924_800 * S
DOWN = Unavailable("no socket at /s; start tailscaled")
ANA = {
    "ID": "nANA", "HostName": "Ana's MacBook", "DNSName": "ana-laptop.tail1234.ts.net.", "UserID": 1001,
    "TailscaleIPs": ["100.64.0.2", "fd7a:115c:a1e0::2"], "Created": CREATED,
}  # fmt: skip
BEN = {
    "ID": "nBEN", "DNSName": "phone.tail1234.ts.net.", "UserID": 1002, "TailscaleIPs": ["100.64.0.3"],
    "Created": CREATED, "Expired": True,
}  # fmt: skip
RUNNER = {
    "ID": "nCI", "DNSName": "runner.tail1234.ts.net.", "UserID": 1099, "Tags": ["tag:ci"],
    "TailscaleIPs": ["100.64.0.4"], "Created": "0001-01-01T00:00:00Z",
}  # fmt: skip
SHARED = {
    "ID": "nNAS", "DNSName": "nas.other.ts.net.", "UserID": 1003, "AltSharerUserID": 1003,
    "TailscaleIPs": ["100.64.0.5"], "Created": CREATED,
}  # fmt: skip
ROUTER = {
    "ID": "nROUTER", "DNSName": "office-router.tail1234.ts.net.", "UserID": 1001, "TailscaleIPs": ["100.64.0.6"],
    "PrimaryRoutes": ["10.8.0.0/16", "fd00:8::/64", "0.0.0.0/0"], "Created": CREATED,
}  # fmt: skip
LAB = {
    "ID": "nLAB", "DNSName": "lab-router.tail1234.ts.net.", "Tags": ["tag:router"], "TailscaleIPs": ["100.64.0.7"],
    "PrimaryRoutes": ["10.8.7.0/24"], "Created": CREATED,
}  # fmt: skip
EXIT = {
    "ID": "nEXIT", "DNSName": "exit.tail1234.ts.net.", "Tags": ["tag:exit"], "TailscaleIPs": ["100.64.0.8"],
    "ExitNodeOption": True, "CurAddr": "52.1.2.3:41641", "Addrs": ["[2a00:1450::9]:41641", "192.168.1.9:41641"],
    "Created": CREATED,
}  # fmt: skip
USERS = {
    "1001": {"ID": 1001, "LoginName": "ana@example.com"},
    "1002": {"ID": 1002, "LoginName": "ben@example.com"},
    "1003": {"ID": 1003, "LoginName": "cleo@example.org"},
    "1099": {"ID": 1099, "LoginName": "tagged-devices"},
}


def status(*peers: Mapping[str, object], tun: bool = True, state: str = "Running") -> dict[str, object]:
    return {
        "BackendState": state, "TUN": tun, "MagicDNSSuffix": "tail1234.ts.net",
        "Self": {"ID": "nSELF", "DNSName": "nginx.tail1234.ts.net.", "UserID": 1001, "TailscaleIPs": ["100.64.0.1"]},
        "Peer": {f"nodekey:{peer['ID']}": peer for peer in peers}, "User": USERS,
    }  # fmt: skip


ALL = status(ANA, BEN, RUNNER, SHARED, ROUTER, LAB, EXIT)


class FakeLocalApi:
    """Returns the status that it was told."""

    def __init__(self, answer: Mapping[str, object] | Unavailable) -> None:
        self.answer = answer
        self.asked = 0

    def status_with_peers(self) -> Mapping[str, object] | Unavailable:
        self.asked += 1
        return self.answer


def make(answer: Mapping[str, object] | Unavailable) -> tuple[Snapshot, FakeLocalApi, FakeClock]:
    api, clock = FakeLocalApi(answer), FakeClock()
    return Snapshot(api, clock=clock), api, clock  # type: ignore[arg-type]


def identity(*values: str, **named: object) -> Identity:
    return Identity(*values, provider="snapshot", **named)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("address", "found"),
    [
        (
            "100.64.0.2",
            Found(identity("100.64.0.2", "user", "ana@example.com", "ana-laptop", "nANA", user_id="1001"), CREATED_US),
        ),
        (
            "fd7a:115c:a1e0::2",
            Found(
                identity("fd7a:115c:a1e0::2", "user", "ana@example.com", "ana-laptop", "nANA", user_id="1001"),
                CREATED_US,
            ),
        ),
        (
            "::ffff:100.64.0.2",
            Found(
                identity("::ffff:100.64.0.2", "user", "ana@example.com", "ana-laptop", "nANA", user_id="1001"),
                CREATED_US,
            ),
        ),
        (
            "100.64.0.3",
            Found(
                identity("100.64.0.3", "user", "ben@example.com", "phone", "nBEN", user_id="1002", expired=True),
                CREATED_US,
            ),
        ),
        ("100.64.0.4", Found(identity("100.64.0.4", "tagged", "", "runner", "nCI", "tag:ci"), None)),
        (
            "100.64.0.5",
            Found(
                identity("100.64.0.5", "shared", "cleo@example.org", "nas.other.ts.net", "nNAS", user_id="1003"),
                CREATED_US,
            ),
        ),
        ("100.64.0.1", Found(identity("100.64.0.1", "self", "", "nginx", "nSELF"), None)),
        # behind a subnet router: many people, so none; they may come with its own address too (SNAT)
        ("10.8.0.20", Found(identity("10.8.0.20", "subnet", via="office-router"), CREATED_US)),
        ("10.8.7.20", Found(identity("10.8.7.20", "subnet", via="lab-router"), CREATED_US)),
        ("fd00:8::20", Found(identity("fd00:8::20", "subnet", via="office-router"), CREATED_US)),
        (
            "100.64.0.6",
            Found(
                identity("100.64.0.6", "subnet", via="office-router"),
                CREATED_US,
            ),
        ),
        # through an exit node's public endpoint
        ("52.1.2.3", Found(identity("52.1.2.3", "subnet", via="exit"), CREATED_US)),
        ("2a00:1450::9", Found(identity("2a00:1450::9", "subnet", via="exit"), CREATED_US)),
        ("192.168.1.9", NotFound()),
        ("8.8.8.8", NotFound()),
        ("127.0.0.1", NotFound()),
        ("100.64.0.99", NotFound()),
        ("unix:", NotFound()),
        ("x", NotFound()),
    ],
)
def test_who_an_address_is(address: str, found: Found | NotFound) -> None:
    assert make(ALL)[0].whois(address) == found


def test_what_is_not_of_its_type_is_left_out() -> None:
    broken = {"ID": "n9", "UserID": [], "Tags": {}, "TailscaleIPs": ["x", 7], "PrimaryRoutes": ["10.0.0.0/99", 5]}
    document = {"Peer": {"a": broken, "b": None, "c": {"TailscaleIPs": ["100.64.0.9"]}}, "User": [], "Self": None}
    peers = read_peers(document)
    assert (peers.nodes, peers.routes, peers.exits, peers.is_userspace) == ({}, [], {}, False)


def test_routes_past_the_limit_are_counted() -> None:
    routes = [f"10.{n >> 8}.{n & 255}.0/24" for n in range(ROUTES_MAX + 3)]
    snapshot, _, _ = make(status(ROUTER | {"PrimaryRoutes": routes}))
    assert isinstance(snapshot.whois("10.0.0.5"), Found)
    assert snapshot.routes_over_limit == 3


@pytest.mark.parametrize(
    ("away", "reason"),
    [
        (DOWN, "no socket at /s; start tailscaled"),
        (status(state="Stopped"), "tailscaled is in state Stopped, not Running; run `tailscale up`"),
        (status(state="NeedsLogin"), "tailscaled is in state NeedsLogin, not Running; run `tailscale up`"),
        ({}, "tailscaled is in state none, not Running; run `tailscale up`"),
    ],
)
def test_it_answers_from_memory_while_tailscaled_is_away_and_not_for_ever(
    away: Mapping[str, object] | Unavailable, reason: str
) -> None:
    snapshot, api, clock = make(status(ANA, ROUTER))
    known, behind = snapshot.whois("100.64.0.2"), snapshot.whois("10.8.0.20")
    assert (type(known), type(behind)) == (Found, Found)
    api.answer = away
    clock.now_us = 299 * S
    assert (snapshot.whois("100.64.0.2"), snapshot.whois("10.8.0.20")) == (known, behind)
    assert snapshot.whois("100.64.0.99") == Unavailable(reason, rests=False), "somebody may have joined since"
    assert snapshot.whois("8.8.8.8") == NotFound()
    clock.now_us = 300 * S
    assert snapshot.whois("100.64.0.2") == Unavailable(reason, rests=False)
    assert snapshot.whois("10.8.0.20") == NotFound()
    assert (snapshot.refreshes, snapshot.failures) == (2, 1)
    api.answer = status(ANA)
    clock.now_us = 304 * S  # five seconds after it was asked last
    assert snapshot.whois("100.64.0.2") == known
    assert snapshot.whois("100.64.0.99") == NotFound()


def test_the_status_is_asked_at_most_every_five_seconds_and_seldom_where_it_is_slow() -> None:
    snapshot, api, clock = make(status(ANA))
    for clock.now_us in (0, 1 * S, 4_999_999):
        snapshot.whois("100.64.0.2")
    assert api.asked == 1
    clock.now_us = 5 * S
    snapshot.whois("100.64.0.2")
    assert api.asked == 2

    def slow() -> Mapping[str, object]:
        api.asked += 1
        clock.now_us += 1 * S
        return status(ANA)

    api.status_with_peers = slow  # type: ignore[method-assign]
    clock.now_us = 10 * S
    snapshot.whois("100.64.0.2")  # took a second: not again for twenty
    for clock.now_us in (16 * S, 30 * S):
        snapshot.whois("100.64.0.2")
    assert api.asked == 3


def test_who_changed() -> None:
    snapshot, api, clock = make(status(ANA, BEN))
    assert snapshot.changed() == set()
    api.answer = status(ANA, BEN | {"TailscaleIPs": ["100.64.0.9"]})  # Ben's address is another one now
    clock.now_us = 5 * S
    assert snapshot.changed() == {"100.64.0.3", "100.64.0.9"}
    assert snapshot.changed() == set()
    api.answer = status(ANA | {"ID": "nANA2"}, BEN | {"TailscaleIPs": ["100.64.0.9"]})  # another node at her addresses
    clock.now_us = 10 * S
    assert snapshot.changed() == {"100.64.0.2", "fd7a:115c:a1e0::2"}
    api.answer = DOWN
    clock.now_us = 15 * S
    assert snapshot.changed() == set(), "away is not changed"


def test_a_reused_address_never_keeps_the_name_that_it_had_before() -> None:
    """Ana's device goes, Ben's gets its address: lines of each time are that one's or nobody's."""
    wall = FakeClock(CREATED_US + 3600 * S)
    snapshot, api, clock = make(status(ANA))
    identities = Identities([snapshot], clock=clock, wall=wall, changes=snapshot.changed)
    before_us = wall.now_us
    assert identities.holder("100.64.0.2").at(before_us).user == "ana@example.com"
    api.answer = status(BEN | {"TailscaleIPs": ["100.64.0.2"], "Created": "2025-10-08T13:00:30Z", "Expired": False})
    clock.now_us, wall.now_us = 6 * S, before_us + 120 * S
    holder = identities.holder("100.64.0.2")
    assert holder.at(wall.now_us).user == "ben@example.com"
    # a line of Ana's that is read only now, as after an outage of the bridge
    assert holder.at(before_us - 60 * S) == Identity("100.64.0.2", "unknown", reason="address-reused-or-unknown-then")


def test_userspace_networking_is_said_once_and_names_nobody(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    snapshot, _, clock = make(status(ANA, tun=False))
    for clock.now_us in (0, 5 * S, 10 * S):
        for loopback in ("127.0.0.1", "::1"):
            assert snapshot.whois(loopback) == Found(
                Identity(loopback, "unknown", reason="userspace-networking", provider="snapshot"), 0
            )
    assert [record.message for record in caplog.records] == [f"identity: {USERSPACE_PROBLEM}"]


def test_userspace_networking_is_no_problem_behind_serve(caplog: pytest.LogCaptureFixture) -> None:
    snapshot = Snapshot(FakeLocalApi(status(tun=False)), clock=FakeClock(), has_serve=True)  # type: ignore[arg-type]
    assert isinstance(snapshot.whois("127.0.0.1"), Found)
    assert caplog.records == []


@pytest.mark.parametrize("answer", [ALL, DOWN, {"BackendState": "Running"}])
def test_no_userspace_networking(answer: Mapping[str, object] | Unavailable, caplog: pytest.LogCaptureFixture) -> None:
    assert make(answer)[0].whois("127.0.0.1") == NotFound()
    assert USERSPACE_PROBLEM not in caplog.text
