import ipaddress
import logging
import random

import pytest

from tailtrace_bridge.core.records import Identity
from tailtrace_bridge.core.text import printable
from tailtrace_bridge.identity.chain import (
    Found,
    Holder,
    Identities,
    NotFound,
    Unavailable,
    describe,
    kind_of,
    reason_of,
)
from tailtrace_bridge.testing import FakeClock, FakeProvider

ANA = Identity("100.64.0.7", "user", "ana@example.com", "ana-laptop", "n1", "", "localapi")
ANA_STATIC = Identity("100.64.0.7", "user", "ana@example.com", "laptop-of-the-file", "", "", "static")
DOWN = Unavailable("tailscaled is down; start it")


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("127.0.0.1", "self"),
        ("127.8.9.10", "self"),
        ("::1", "self"),
        ("::ffff:127.0.0.1", "self"),
        ("unix:", "unknown"),
        ("100.64.0.1", "unknown"),
        ("100.127.255.255", "unknown"),
        ("fd7a:115c:a1e0::1", "unknown"),
        ("192.168.1.5", "unknown"),
        ("10.0.0.1", "unknown"),
        ("172.16.0.1", "unknown"),
        ("169.254.1.1", "unknown"),
        ("fe80::1", "unknown"),
        ("fc00::1", "unknown"),
        ("224.0.0.1", "unknown"),
        ("0.0.0.0", "unknown"),
        ("8.8.8.8", "external"),
        ("100.63.255.255", "external"),
        ("100.128.0.0", "external"),
        ("2606:4700::1111", "external"),
        ("", "unknown"),
        ("-", "unknown"),
        ("not an address", "unknown"),
        ("8.8.8.8:443", "unknown"),
    ],
)
def test_kind_of_an_address_that_nobody_names(address: str, kind: str) -> None:
    assert kind_of(address) == kind
    assert Identities([FakeProvider()], clock=FakeClock()).identify(address) == Identity(
        address, kind, reason=reason_of(address)
    )


def test_the_first_that_knows_has_the_word() -> None:
    first = FakeProvider("localapi", {"100.64.0.7": Found(ANA)})
    second = FakeProvider("static", {"100.64.0.7": Found(ANA_STATIC), "127.0.0.11": Found(ANA_STATIC)})
    identities = Identities([first, second], clock=FakeClock())
    assert identities.identify("100.64.0.7") is ANA
    assert identities.identify("127.0.0.11") is ANA_STATIC
    assert first.asked == ["100.64.0.7", "127.0.0.11"]
    assert second.asked == ["127.0.0.11"]


def test_no_provider_is_asked_about_what_is_no_address() -> None:
    provider = FakeProvider(default=Found(ANA))
    assert Identities([provider], clock=FakeClock()).identify("<script>") == Identity(
        "<script>", "unknown", reason="no-address"
    )
    assert provider.asked == []


def test_found_is_kept_for_its_time_then_asked_anew() -> None:
    clock = FakeClock()
    carol = Identity("100.64.0.7", "user", "carol@example.com", "ana-laptop", "n1", "", "localapi")
    provider = FakeProvider("localapi", {"100.64.0.7": Found(ANA)})
    identities = Identities([provider], clock=clock, ttl_us=30)
    assert identities.identify("100.64.0.7") is ANA
    provider.answers = {"100.64.0.7": Found(carol)}
    clock.now_us = 29
    assert identities.identify("100.64.0.7") is ANA
    clock.now_us = 30
    assert identities.identify("100.64.0.7") is carol
    assert (identities.counts.hits, identities.counts.misses, identities.counts.found) == (1, 2, 2)


def test_not_found_is_kept_for_a_shorter_time() -> None:
    clock = FakeClock()
    provider = FakeProvider()
    identities = Identities([provider], clock=clock, ttl_us=30, not_found_ttl_us=10)
    assert identities.identify("100.64.0.7").kind == "unknown"
    provider.answers = {"100.64.0.7": Found(ANA)}
    clock.now_us = 9
    assert identities.identify("100.64.0.7").kind == "unknown"
    clock.now_us = 10
    assert identities.identify("100.64.0.7") is ANA
    assert identities.counts.not_found == 1


def test_a_provider_that_is_down_rests_longer_each_time_and_recovers(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    clock = FakeClock()
    provider = FakeProvider("localapi", default=DOWN)
    identities = Identities([provider], clock=clock)
    asked_at_ms = []
    for now_ms in range(0, 32_000, 100):
        clock.now_us = now_ms * 1000
        before = len(provider.asked)
        assert identities.identify(f"100.64.1.{now_ms % 250}").kind == "unknown"
        if len(provider.asked) > before:
            asked_at_ms.append(now_ms)
    assert asked_at_ms == [0, 1000, 3000, 7000, 15_000, 23_000, 31_000]
    assert identities.counts.unavailable == 7
    assert identities.counts.rested > 20
    provider.default = Found(ANA)
    clock.now_us = 39_000_000
    assert identities.identify("100.64.0.7") is ANA
    assert [record.message for record in caplog.records] == [
        "identity: localapi is unavailable: tailscaled is down; start it",
        "identity: localapi is back",
    ]


def test_what_was_said_while_a_provider_was_down_holds_only_until_it_is_asked_again() -> None:
    clock = FakeClock()
    localapi = FakeProvider("localapi", default=DOWN)
    static = FakeProvider("static", {"100.64.0.7": Found(ANA_STATIC)})
    identities = Identities([localapi, static], clock=clock)
    assert identities.identify("100.64.0.7") is ANA_STATIC
    localapi.default = Found(ANA)
    clock.now_us = 999_999
    assert identities.identify("100.64.0.7") is ANA_STATIC
    clock.now_us = 1_000_000
    assert identities.identify("100.64.0.7") is ANA


def test_not_found_does_not_prove_that_a_provider_is_well() -> None:
    clock = FakeClock()
    provider = FakeProvider("localapi", {"100.64.0.7": DOWN})
    identities = Identities([provider], clock=clock)
    identities.identify("100.64.0.7")
    clock.now_us = 1_000_000
    identities.identify("8.8.8.8")
    identities.identify("100.64.0.7")
    clock.now_us = 2_000_000  # one second after the second failure: the rest is now two
    identities.identify("100.64.0.7")
    assert provider.asked == ["100.64.0.7", "8.8.8.8", "100.64.0.7"]


def test_a_provider_that_took_long_to_fail_rests_all_the_same() -> None:
    clock = FakeClock()

    class Slow(FakeProvider):
        def whois(self, address: str) -> Unavailable:
            self.asked.append(address)
            clock.now_us += 5_000_000
            return DOWN

    provider = Slow("slow")
    identities = Identities([provider], clock=clock)
    for last in range(50):
        identities.identify(f"100.64.0.{last}")
    assert provider.asked == ["100.64.0.0"]


def test_a_full_cache_drops_the_entry_that_was_longest_not_renewed() -> None:
    clock = FakeClock()
    provider = FakeProvider(default=NotFound())
    identities = Identities([provider], clock=clock, not_found_ttl_us=10, entries_max=2)
    identities.identify("10.0.0.1")
    clock.now_us = 5
    identities.identify("10.0.0.2")
    clock.now_us = 10
    identities.identify("10.0.0.1")  # renewed: now 10.0.0.2 is the oldest
    identities.identify("10.0.0.3")
    assert identities.counts.evicted == 1
    provider.asked.clear()
    for address in ("10.0.0.1", "10.0.0.3", "10.0.0.2"):
        identities.identify(address)
    assert provider.asked == ["10.0.0.2"]


def test_explain_asks_everyone_past_cache_and_rest() -> None:
    localapi = FakeProvider("localapi", default=DOWN)
    static = FakeProvider("static", {"100.64.0.7": Found(ANA_STATIC)})
    identities = Identities([localapi, static], clock=FakeClock())
    identities.identify("100.64.0.7")
    assert identities.explain("100.64.0.7") == [
        ("localapi", "unavailable: tailscaled is down; start it"),
        ("static", "user ana@example.com, device laptop-of-the-file"),
    ]
    localapi.default = Found(ANA)
    assert identities.explain("100.64.0.7") == [
        ("localapi", "user ana@example.com, device ana-laptop, node n1"),
        ("static", "user ana@example.com, device laptop-of-the-file (an earlier provider has the word)"),
    ]
    assert Identities([FakeProvider("localapi", default=DOWN)], clock=FakeClock()).explain("100.64.0.9") == [
        ("localapi", "unavailable: tailscaled is down; start it"),
        (
            "tailtrace",
            "unknown: no provider names this address (who could tell was out of reach; `tailtrace doctor` says why)",
        ),
    ]
    localapi.default = NotFound()
    assert identities.explain("8.8.8.8") == [
        ("localapi", "not found"),
        ("static", "not found"),
        ("tailtrace", "external: no provider names this address"),
    ]
    assert identities.explain("nonsense") == [
        ("tailtrace", "unknown: no provider names this address (the line has no IP address)")
    ]


def test_describe_a_service() -> None:
    runner = Identity("100.64.0.9", "tagged", "", "runner", "n9", "tag:ci,tag:server", "localapi")
    assert describe(runner) == "tagged, device runner, tags tag:ci,tag:server, node n9"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ana-laptop", "ana-laptop"),
        ("zoé's phone", "zoé's phone"),
        ("a\nb\x1b[31m", "a\\nb\\x1b[31m"),
        ("\udcff", "\\udcff"),
        ("x" * 300, "x" * 254),
        ("\n" * 300, "\\n" * 127),
    ],
)
def test_printable(text: str, shown: str) -> None:
    assert printable(text) == shown


S = 1_000_000
NOW = 1_759_924_800 * S  # 2025-10-08T12:00:00Z
THEN = "address-reused-or-unknown-then"


@pytest.mark.parametrize(
    ("since_us", "ago_s", "named"),
    [
        # not known since when there is the node: only recent lines are its
        (None, 0, True),
        (None, 600, True),
        (None, 601, False),
        # created an hour ago: what came before was another's, what came after is its, however old
        (NOW - 3600 * S, 0, True),
        (NOW - 3600 * S, 3600, True),
        (NOW - 3600 * S, 3660, True),  # clocks differ
        (NOW - 3600 * S, 3661, False),
        # created two minutes ago: a line of five minutes ago is recent, and another's all the same
        (NOW - 120 * S, 300, False),
        # a file says it of all times
        (0, 30 * 365 * 86_400, True),
    ],
)
def test_which_lines_todays_holder_of_an_address_made(since_us: int | None, ago_s: int, named: bool) -> None:
    provider = FakeProvider(answers={"100.64.0.7": Found(ANA, since_us)})
    holder = Identities([provider], clock=FakeClock(), wall=FakeClock(NOW)).holder("100.64.0.7")
    line_us = NOW - ago_s * S
    assert holder.at(line_us) == (ANA if named else Identity("100.64.0.7", "unknown", reason=THEN))
    assert holder.identified_us == NOW


def test_a_kind_that_the_address_itself_has_is_of_all_times() -> None:
    identities = Identities([FakeProvider()], clock=FakeClock(), wall=FakeClock(NOW))
    assert identities.holder("8.8.8.8") == Holder(Identity("8.8.8.8", "external"), 0, NOW)


def test_an_address_that_changed_hands_leaves_the_cache_at_once() -> None:
    clock, changed = FakeClock(), {"100.64.0.8"}
    ben = Identity("100.64.0.7", "user", "ben@example.com", "ben-phone", "n2", "", "localapi")
    provider = FakeProvider("localapi", {"100.64.0.7": Found(ANA)})
    identities = Identities([provider], clock=clock, changes=lambda: changed)
    assert identities.identify("100.64.0.7") is ANA
    provider.answers = {"100.64.0.7": Found(ben)}
    clock.now_us = 1 * S
    assert identities.identify("100.64.0.7") is ANA, "another address changed hands"
    changed.add("100.64.0.7")
    clock.now_us = 2 * S
    assert identities.identify("100.64.0.7") is ben
    assert identities.counts.changed == 1


def test_a_name_is_kept_for_minutes_while_somebody_tells_of_changes() -> None:
    clock, told = FakeClock(), [True]
    localapi = FakeProvider("localapi", {"100.64.0.7": Found(ANA)})
    static = FakeProvider("static", {"100.64.0.8": Found(ANA_STATIC)})
    identities = Identities([localapi, static], clock=clock, is_watched=lambda: told[0])
    for seconds in range(300):
        clock.now_us = seconds * S
        assert identities.identify("100.64.0.7") is ANA
    assert localapi.asked == ["100.64.0.7"], "one call in five minutes"
    told[0] = False
    clock.now_us = 300 * S
    assert identities.identify("100.64.0.7") is ANA
    clock.now_us = 330 * S
    assert identities.identify("100.64.0.7") is ANA
    assert localapi.asked == ["100.64.0.7"] * 3, "where nobody tells, after 30 s"
    told[0] = True
    for seconds in (330, 359, 360):
        clock.now_us = seconds * S
        assert identities.identify("100.64.0.8") is ANA_STATIC
    assert static.asked == ["100.64.0.8"] * 2, "the file may have been edited, of which nobody tells"


def test_who_remembers_is_not_asked_about_an_address_that_certainly_nobody_has() -> None:
    """tailscaled has just said that the peer is gone; snapshot and index may not have heard of it yet."""
    localapi = FakeProvider("localapi", default=NotFound(is_certain=True))
    snapshot, control = FakeProvider("snapshot", default=Found(ANA)), FakeProvider("control", default=Found(ANA))
    static = FakeProvider("static", {"100.64.0.8": Found(ANA_STATIC)})
    identities = Identities([localapi, snapshot, control, static], clock=FakeClock())
    assert identities.identify("100.64.0.7") == Identity("100.64.0.7", "unknown", reason="no-such-node")
    assert identities.identify("100.64.0.8") is ANA_STATIC
    localapi.default = DOWN
    assert identities.identify("100.64.0.9") is ANA


def test_a_provider_that_does_not_rest_is_asked_each_time() -> None:
    snapshot = FakeProvider("snapshot", {"100.64.0.7": Found(ANA)}, default=Unavailable("away", rests=False))
    identities = Identities([snapshot], clock=FakeClock())
    assert identities.identify("100.64.0.9") == Identity("100.64.0.9", "unknown", reason="provider-unavailable")
    assert identities.identify("100.64.0.7") is ANA


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("100.64.0.7", "no-such-node"),
        ("fd7a:115c:a1e0::9", "no-such-node"),
        ("192.168.1.5", "private-address"),
        ("-", "no-address"),
        ("8.8.8.8", ""),
        ("127.0.0.1", ""),
        ("unix:", "unix-peer"),
    ],
)
def test_why_an_address_is_unknown(address: str, reason: str) -> None:
    assert Identities([FakeProvider()], clock=FakeClock()).identify(address).reason == reason == reason_of(address)


def test_describe_what_is_special() -> None:
    behind = Identity("10.8.0.20", "subnet", provider="snapshot", via="office-router")
    assert describe(behind) == "subnet, via office-router"
    expired = Identity("100.64.0.7", "user", "ana@example.com", "ana-laptop", "n1", expired=True)
    assert describe(expired) == "user ana@example.com, device ana-laptop, node n1, key expired"


def test_the_kind_of_an_address_is_what_the_registries_say():
    dice = random.Random(1)
    edges = [0, 1, (1 << 24) - 1, 0x000200, 0x640000, 0xFE0000, 0xA80000, 0x120000, 0x336400, 0x007100]
    for number in [first << 24 | rest for first in range(256) for rest in (*edges, *dice.sample(range(1 << 24), 20))]:
        address = ipaddress.IPv4Address(number)
        expected = "self" if address.is_loopback else "external"
        if not address.is_loopback and (not address.is_global or address.is_multicast):
            expected = "unknown"
        assert kind_of(str(address)) == expected, address
