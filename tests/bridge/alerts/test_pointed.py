"""Where alerts of every kind point to: endpoint, people and the newest request, with links where people find the page."""

import pytest

from tailtrace_bridge.core.records import Access, Identity, Row, Traffic
from tailtrace_bridge.store.scope import Scope

ANA = Identity("100.64.0.7", "user", "ana@example.com", "ana-laptop", "n1", "", "localapi", "u1")
BEN = Identity("100.64.0.8", "user", "ben@example.com", "ben-phone", "n2", "", "localapi", "u2")
URL = "https://tailtrace.example.ts.net/"
RATES = {
    "error_rate": {"kind": "error_rate"},
    "uptime": {"kind": "uptime"},
    "p95": {"kind": "p95", "threshold": 500},
}


def ask(world, key, who, route, *, status, ms):
    access = Access(
        world.clock.now_us, key, who.address, "GET", route, status, ms * 1000, None, True, 10, "", f"{key:032x}", "",
        "curl", "",
    )  # fmt: skip
    world.store.write([Row(access, who, route, Traffic.APP, None, "")])


def mixed(world):
    """Twenty good and quick ones of Ben, then bad and slow ones: two of Ana's at /a for each of Ben's at /b."""
    keys = iter(range(1, 1_000_000))

    def each():
        for _ in range(20):
            ask(world, next(keys), BEN, "/fine", status=200, ms=5)
        for _ in range(20):
            ask(world, next(keys), ANA, "/a", status=502, ms=900)
            ask(world, next(keys), BEN, "/b", status=502, ms=900)
            world.last = next(keys)
            ask(world, world.last, ANA, "/a", status=502, ms=900)

    return each


@pytest.mark.parametrize("kind", RATES)
def test_a_rate_names_what_is_behind_it(make_world, kind):
    world = make_world(url=URL).begin({"for": "0s"} | RATES[kind])
    (told,) = world.run(0.5, mixed(world))
    assert told[1].splitlines()[1:4] == [
        f"At /a and 1 more {URL}?endpoint=%2Fa",
        f"Hit: ana@example.com, ben@example.com {URL}?user=ana%40example.com",
        f"Newest request: {URL}?request={world.last:032x}",
    ]
    (event,) = world.store.alert_events(Scope.member("ben@example.com"), 9)
    assert "ana" not in event.text, "a member reads the history"


def test_what_fits_no_route_is_called_as_on_the_page(make_world):
    world = make_world(url=URL).begin({"kind": "error_rate", "for": "0s"})
    keys = iter(range(1, 1_000_000))
    (told,) = world.run(0.5, lambda: [ask(world, next(keys), ANA, "__other__", status=502, ms=5) for _ in range(20)])
    assert f"At other addresses {URL}?endpoint=__other__" in told[1].splitlines()


def test_silence_names_the_last_request(make_world):
    world = make_world(url=URL).begin({"kind": "no_data"})
    ask(world, 1, ANA, "/a", status=200, ms=5)
    world.run(1)
    ask(world, 2, ANA, "/b", status=200, ms=5)
    told = dict(world.run(40))
    assert f"At /b {URL}?endpoint=%2Fb\nHit: ana@example.com" in told["tailtrace: no_data started"]


def test_who_is_new_is_told_with_what_they_asked_for(make_world):
    world = make_world(url=URL)
    ask(world, 1, ANA, "/a", status=200, ms=5)
    world.begin({"kind": "new_user"})
    world.run(1)
    ask(world, 2, BEN, "/b", status=200, ms=5)
    assert world.run(1)[0][1].splitlines()[:3] == [
        "New user: ben-phone of ben@example.com",
        f"At /b {URL}?endpoint=%2Fb",
        f"Newest request: {URL}?request={2:032x}",
    ]


AROUND = [
    f"Most asked for before: /a and 1 more {URL}?endpoint=%2Fa",
    f"Here in the hour before: ana@example.com, ben@example.com {URL}?user=ana%40example.com",
    f"Newest request: {URL}?request={3:032x}",
]


@pytest.mark.parametrize("fails", ["the store, at once", "the store, for writes", "tailscaled"])
def test_where_no_request_is_to_blame_it_names_who_was_there(make_world, fails):
    """The store cannot be asked who was there once it fails: it was asked before."""
    world = make_world(url=URL)
    ask(world, 9, BEN, "/old", status=200, ms=5)
    world.clock.now_us += 2 * 3600 * 1_000_000
    for key, who, route in ((1, ANA, "/a"), (2, BEN, "/b"), (3, ANA, "/a")):
        ask(world, key, who, route, status=200, ms=5)
    world.begin({"kind": "tailscaled_down"}, {"kind": "store_down"})
    assert world.run(1) == []
    world.store.is_down = fails == "the store, at once"
    world.storing = "disk full" if fails == "the store, for writes" else ""
    world.tailscaled = "no answer" if fails == "tailscaled" else ""
    ((_, body),) = world.run(5)
    assert body.splitlines()[1:4] == AROUND
    assert not any("ana" in one.text for one in world.store.alert_events(Scope.everybody(), 9)), "members read these"


def test_a_store_that_fails_from_the_start_names_nobody_and_is_told_all_the_same(make_world):
    world = make_world(url=URL)
    ask(world, 1, ANA, "/a", status=200, ms=5)
    world.store.is_down = True
    ((_, body),) = world.begin({"kind": "store_down"}).run(5)
    assert body.splitlines()[1].startswith("Next: ")


def test_in_quiet_hours_it_is_held_with_all_of_it(make_world):
    world = (
        make_world(url=URL, quiet="00:00-07:00").at("2025-10-09T06:58:00").begin({"kind": "error_rate", "for": "0s"})
    )
    assert world.run(1, mixed(world)) == []
    held_trace = f"Newest request: {URL}?request="
    (told,) = world.run(2, mixed(world))
    assert told[1].splitlines()[0].endswith("Since 06:58.")
    assert held_trace in told[1]


def test_without_a_url_the_trace_id_alone_is_told(make_world):
    world = make_world(lang="es").begin({"kind": "error_rate", "for": "0s"})
    (told,) = world.run(0.5, mixed(world))
    assert told[1].splitlines()[1:4] == [
        "En /a y 1 más",
        "Afecta a: ana@example.com, ben@example.com",
        f"Última petición: {world.last:032x}",
    ]
