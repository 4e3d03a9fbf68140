"""Alerts about what broke: a group is told when it is new and when it is back, with whom it hit and where to look."""

from tailtrace_bridge.core.records import Access, Failure, Identity, Row, Traffic
from tailtrace_bridge.store.scope import Scope
from tailtrace_bridge.store.values import BACK_US

S = 1_000_000
ANA = Identity("100.64.0.7", "user", "ana@example.com", "ana-laptop", "n1", "", "localapi", "u1")
BOTH = ({"kind": "new_error"}, {"kind": "error_back"})
URL = "https://tailtrace.example.ts.net/"


def fail(world, key, fingerprint="f" * 16):
    """A request that fails now."""
    at_us = world.clock.now_us
    access = Access(
        at_us, key, ANA.address, "GET", "/a", 500, 5_000, None, True, 10, "shop", f"{key:032x}", "", "curl", ""
    )
    world.store.write([Row(access, ANA, "/a", Traffic.APP, None, "KeyError")])
    world.store.add_failures([Failure(at_us, key, fingerprint, "KeyError", "shop/orders.py total", "", "")])


def test_a_new_error_is_told_once_with_whom_it_hit_and_where_to_look(make_world):
    world = make_world(url=URL)
    fail(world, 1, "a" * 16)
    world.begin(*BOTH)
    assert world.run(5) == [], "what was there before is no news"
    fail(world, 2)
    assert world.run(5) == [
        (
            "tailtrace: new_error seen",
            (
                "New error: KeyError shop/orders.py total; 1 requests, people hit: 1 (ana@example.com). "
                f"Request: {URL}?request={2:032x}\nAt /a {URL}?endpoint=%2Fa\n"
                f"Hit: ana@example.com {URL}?user=ana%40example.com\nNext: `tailtrace errors`, then `tailtrace trace ID`.\n{URL}"
            ),
        )
    ]
    fail(world, 3)
    assert world.run(5) == []
    world.begin(*BOTH)
    assert world.run(5) == [], "a restart tells nothing again"
    (event,) = world.store.alert_events(Scope.everybody(), 9)
    assert (event.kind, event.subject) == ("new_error", "f" * 16)
    assert world.store.alert_events(Scope.member("ben@example.com"), 9) == [], "it names people"


def test_one_that_is_back_is_told(world):
    world.begin(*BOTH)
    world.run(1)
    fail(world, 1)
    assert world.titles(world.run(1)) == ["new_error seen"]
    world.store.resolve_error("f" * 16, world.clock.now_us)
    assert world.run(5) == []
    fail(world, 2)
    (told,) = world.run(1)
    assert told[0] == "tailtrace: error_back seen"
    assert f"Request: {2:032x}" in told[1]
    world.clock.now_us += BACK_US + S
    fail(world, 3)
    assert world.titles(world.run(2)) == ["error_back seen"]
    assert world.run(90) == []


def test_quiet_hours_hold_it_back(make_world):
    world = make_world(quiet="11:00-14:00")
    world.begin(*BOTH)
    world.run(1)
    fail(world, 1)
    assert world.run(5) == []
    (told,) = world.run(130)
    assert "New error: KeyError" in told[1]
