"""The bus of tailscaled: messages as it sends them, and who holds what after each."""

import json

import pytest

from tailtrace_bridge.core.records import Access
from tailtrace_bridge.identity.bus import All, Away, BusError, Lines, Resync, Some, Table
from tailtrace_bridge.rows.hold import Hold
from tailtrace_bridge.rows.join import Joined

STATUS = {
    "BackendState": "Running", "TUN": True, "MagicDNSSuffix": "tail1.ts.net",
    "Self": {"ID": "n0", "DNSName": "server.tail1.ts.net.", "UserID": 9, "TailscaleIPs": ["100.64.0.1"]},
    "Peer": {
        "nodekey:1": {
            "ID": "n1", "NodeID": 1, "PublicKey": "nodekey:1", "DNSName": "laptop.tail1.ts.net.", "UserID": 7,
            "TailscaleIPs": ["100.64.0.2"],
        }
    },
    "User": {"7": {"ID": 7, "LoginName": "ana@example.com"}},
}  # fmt: skip


def node(number, user, address, **more):
    return {
        "ID": number, "StableID": f"n{number}", "Name": f"laptop-{number}.tail1.ts.net.", "User": user,
        "Key": f"nodekey:{number}", "Addresses": [f"{address}/32"], "ComputedName": f"laptop-{number}",
    } | more  # fmt: skip


def after(*messages):
    """The table after the status and these messages, and what the last of them made of it."""
    table = Table()
    change = table.apply({"State": 6, "InitialStatus": STATUS})
    for message in messages:
        change = table.apply(message)
    return table, change


def who(held):
    return {
        place: found and (found.identity.user or found.identity.kind, found.identity.via)
        for place, found in held.items()
    }


def test_the_first_message_has_all():
    table, change = after()
    assert isinstance(change, All)
    assert who(change.holders) == {"100.64.0.1": ("self", ""), "100.64.0.2": ("ana@example.com", "")}
    assert table.peers.nodes["100.64.0.2"].key == "nodekey:1"


@pytest.mark.parametrize(
    ("message", "held"),
    [
        # another owner, told with his name
        (
            {
                "PeersChanged": [node(1, 8, "100.64.0.2")],
                "UserProfiles": {"8": {"ID": 8, "LoginName": "ben@example.com"}},
            },
            {"100.64.0.2": ("ben@example.com", "")},
        ),
        # one who joins, one who has another address, one who goes
        ({"PeersChanged": [node(2, 7, "100.64.0.3")]}, {"100.64.0.3": ("ana@example.com", "")}),
        ({"PeersChanged": [node(1, 7, "100.64.0.9")]}, {"100.64.0.2": None, "100.64.0.9": ("ana@example.com", "")}),
        ({"PeersRemoved": [1]}, {"100.64.0.2": None}),
        # the whole table: who is not in it is gone
        (
            {"SelfChange": {}, "PeersChanged": [node(2, 7, "100.64.0.3")]},
            {"100.64.0.2": None, "100.64.0.3": ("ana@example.com", "")},
        ),
        # the address goes to another node
        ({"PeersChanged": [node(2, 7, "100.64.0.2")], "PeersRemoved": [1]}, {"100.64.0.2": ("ana@example.com", "")}),
        # a router, without a person; the way of everything makes none
        (
            {"PeersChanged": [node(1, 7, "100.64.0.2", PrimaryRoutes=["10.8.0.0/16"])]},
            {"100.64.0.2": ("subnet", "laptop-1"), "10.8.0.0/16": ("subnet", "laptop-1")},
        ),
    ],
)
def test_a_change(message, held):
    table, change = after(message)
    assert isinstance(change, Some)
    assert who(change.holders) == held
    assert {place: table.peers.nodes.get(place) for place in held if "/" not in place} == {
        place: found for place, found in change.holders.items() if "/" not in place
    }


def test_what_is_no_change_of_hands():
    same = node(1, 7, "100.64.0.2", PrimaryRoutes=["0.0.0.0/0"])
    table, _ = after({"PeersChanged": [same]})
    for message in (
        {"PeersChanged": [same]},
        {"PeerChangedPatch": [{"NodeID": 1, "Online": False}]},
        {"Health": {}},
        {},
    ):
        assert table.apply(message) is None


@pytest.mark.parametrize(
    ("message", "change"),
    [
        ({"SelfChange": {"StableID": "n0"}}, Resync()),
        ({"PeersChanged": [node(3, 77, "100.64.0.4")]}, Resync()),  # a user that nobody told of
        ({"NetMap": {"Peers": []}}, Resync()),  # an older tailscaled
        ({"State": 6}, Resync()),
        ({"State": 2}, Away("NeedsLogin")),
        ({"InitialStatus": STATUS | {"BackendState": "Starting"}}, Away("Starting")),
    ],
)
def test_what_says_not_all(message, change):
    assert after(message)[1] == change


def test_messages_come_in_pieces():
    lines, data = Lines(), json.dumps({"State": 6}).encode() + b"\n\n" + json.dumps({"Health": {}}).encode() + b"\n"
    assert [message for at in range(len(data)) for message in lines.feed(data[at : at + 1])] == [
        {"State": 6},
        {"Health": {}},
    ]
    assert lines.is_whole
    assert list(lines.feed(b'{"Sta')) == []
    assert not lines.is_whole
    with pytest.raises(BusError):
        list(lines.feed(b"x\n"))


def line(number):
    return Joined(
        Access(number, number, "100.64.0.2", "GET", "/", 200, 0, 0, True, 0, "", "", "", "", ""), None, number
    )


def test_lines_wait_and_not_too_many():
    hold = Hold(lambda access, now_us: now_us < access.time_us + 10, lines_max=2)
    assert [one.token for one in hold.add([line(0), line(20)], 10)] == [0]
    assert [one.token for one in hold.add([line(21), line(22)], 22)] == [20], "the one that waits longest goes"
    assert (len(hold), hold.counters.held, hold.counters.over_limit) == (2, 3, 1)
    assert [one.token for one in hold.release(31)] == [21]
    assert [one.token for one in hold.release(32)] == [22]
