"""What a device's JSON means, who has an address, and who had it."""

import pytest

from tailtrace_bridge.core.records import Identity
from tailtrace_bridge.identity.control.devices import Device, DeviceIndex, Holder, read_headscale, read_tailscale

MARCH_US = 1_772_355_600_000_000  # 2026-03-01T09:00:00Z


def test_a_device_of_tailscale():
    assert read_tailscale(
        {
            "addresses": ["100.64.0.7", "FD7A:115C:A1E0:0::7", "no address"],
            "id": "50053",
            "nodeId": "nALICE11CNTRL",
            "user": "alice@example.com",
            "name": "alice-laptop.tail1234.ts.net",
            "hostname": "Alices-MacBook",
            "connectedToControl": True,
            "lastSeen": "2026-03-01T09:00:01.5Z",
            "created": "2026-03-01T09:00:00Z",
            "expires": "2026-03-01T10:00:02+01:00",
        }
    ) == Device(
        node_id="nALICE11CNTRL",
        legacy_id="50053",
        name="alice-laptop",
        hostname="Alices-MacBook",
        addresses=("100.64.0.7", "fd7a:115c:a1e0::7"),
        user="alice@example.com",
        tags=(),
        shared=False,
        online=True,
        last_seen_us=MARCH_US + 1_500_000,
        created_us=MARCH_US,
        expires_us=MARCH_US + 2_000_000,
    )


def test_a_node_of_headscale():
    assert read_headscale(
        {
            "id": "12",
            "ipAddresses": ["100.64.0.3", "fd7a:115c:a1e0::3"],
            "name": "bobs-phone",
            "givenName": "phone",
            "user": {"id": "2", "name": "bob", "email": "bob@example.com"},
            "lastSeen": "2026-03-01T09:00:00.123456789Z",
            "createdAt": "2026-03-01T09:00:00Z",
            "expiry": "0001-01-01T00:00:00Z",
            "forcedTags": ["tag:a"],
            "validTags": ["tag:b", "tag:a"],
        }
    ) == Device(
        node_id="12",
        legacy_id="",
        name="phone",
        hostname="bobs-phone",
        addresses=("100.64.0.3", "fd7a:115c:a1e0::3"),
        user="bob@example.com",
        tags=("tag:a", "tag:b"),
        shared=False,
        online=False,
        last_seen_us=MARCH_US + 123_456,
        created_us=MARCH_US,
        expires_us=None,
    )
    assert read_headscale({"user": {"name": "bob"}, "expiry": None, "tags": ["tag:new"]}).user == "bob"
    assert read_headscale({"tags": ["tag:new"]}).tags == ("tag:new",)


def test_a_device_of_rubbish_is_empty():
    rubbish = {
        "addresses": 1,
        "id": [],
        "user": None,
        "tags": "tag:x",
        "created": "soon",
        "lastSeen": "2026-03-01T09:00:00",
    }
    assert read_tailscale(rubbish) == Device("", "", "", "", (), "", (), False, None, None, None, None)


@pytest.mark.parametrize(
    ("device", "kind", "user"),
    [
        ({"user": "alice@example.com"}, "user", "alice@example.com"),
        ({"user": "alice@example.com", "tags": ["tag:ci"]}, "tagged", ""),
        ({"user": "alice@example.com", "tags": ["tag:ci"], "isExternal": True}, "tagged", ""),
        ({"user": "tagged-devices"}, "tagged", ""),
        ({"user": "eve@example.net", "isExternal": True}, "shared", "eve@example.net"),
        ({}, "unknown", ""),
    ],
)
def test_kinds(device, kind, user):
    identity = read_tailscale({"nodeId": "n1", "name": "box.ts.net", **device}).identity("100.64.0.7", 0)
    tags = ",".join(device.get("tags", []))
    assert identity == Identity("100.64.0.7", kind, user, "box", "n1", tags, "control")


def device(name, address, created):
    return read_tailscale(
        {"nodeId": name, "name": name, "addresses": [address], "created": created, "user": f"{name}@example.com"}
    )


@pytest.mark.parametrize(
    ("address", "time_us", "name", "reason"),
    [
        ("100.64.0.1", MARCH_US, "old", ""),
        ("::ffff:100.64.0.1", MARCH_US, "old", ""),
        ("100.64.0.1", MARCH_US - 1, None, "old has this address today, but exists only since 2026-03-01 09:00 UTC"),
        ("100.64.0.2", MARCH_US, None, "the control API does not tell since when there is dateless"),
        ("100.64.0.3", MARCH_US, None, "several devices list this address"),
        ("100.64.0.4", MARCH_US, None, "no device has this address today"),
        ("x", MARCH_US, None, "no device has this address today"),
    ],
)
def test_who_had_an_address(address, time_us, name, reason):
    index = DeviceIndex(
        [
            device("old", "100.64.0.1", "2026-03-01T09:00:00Z"),
            device("dateless", "100.64.0.2", ""),
            device("one", "100.64.0.3", "2026-01-01T00:00:00Z"),
            device("two", "100.64.0.3", "2026-02-01T00:00:00Z"),
        ],
        as_of_us=0,
    )
    named = Identity(address, "user", f"{name}@example.com", str(name), str(name), "", "control")
    assert index.holder_at(address, time_us) == Holder(named if name else None, reason)
    assert index.contested == {"100.64.0.3"}
    assert index.at("100.64.0.3") is None
