"""Rules over simulated days: when they start and end, what is told, and what is not."""

import json
import logging
from pathlib import Path

import pytest

from tailtrace_bridge.alerts.jobs import Job, JobMessage, first_of_month
from tailtrace_bridge.alerts.state import hashed
from tailtrace_bridge.core.errors import StoreError
from tailtrace_bridge.core.records import Identity
from tailtrace_bridge.store.scope import Scope

S, MINUTE, HOUR = 1_000_000, 60_000_000, 3_600_000_000
ANA = Identity("100.64.0.7", "user", "ana@example.com", "ana-laptop", "n1", "", "localapi", "u1")
BEN = Identity("100.64.0.8", "user", "ben@example.com", "ben-phone", "n2", "", "localapi", "u2")
ERRORS = {"kind": "error_rate", "window": "5m", "threshold": 0.1, "clear": 0.05, "for": "2m", "min_requests": 20}


def traffic(world, failed, of=20):
    """A round's requests, of which some fail."""

    def each():
        world.ask(of - failed)
        world.ask(failed, status=500)

    return each


def test_an_alert_starts_once_and_ends_once(world):
    world.begin(ERRORS)
    assert world.run(10, traffic(world, 0)) == []
    started = world.run(30, traffic(world, 10))
    assert started == [
        (
            "tailtrace: error_rate started",
            (
                "Error rate 29.17% in the last 5 min (limit 10%): 70 of 240 requests ended in 5xx.\n"
                "At /a\nHit: ana@example.com\n"
                "Next: `tailtrace report --hours 1`, then the app's log of that time."
            ),
        )
    ]
    ended = world.run(60, traffic(world, 0))
    assert world.titles(ended) == ["error_rate ended"]
    assert ended[0][1].startswith("Error rate 0% in the last 5 min, 0 of 200 requests; it was high for 3")
    events = world.store.alert_events(Scope.everybody(), 10)
    assert [(one.rule, one.what, one.value) for one in events] == [
        ("error_rate", "ended", 0.0),
        ("error_rate", "started", 70 / 240),
    ]
    assert (world.counters.started, world.counters.ended, world.counters.firing) == (1, 1, 0)


def test_what_does_not_last_is_not_told(world):
    world.begin({**ERRORS, "window": "1m", "for": "5m"})
    world.run(10, traffic(world, 0))
    for _ in range(10):  # three bad minutes, then two good ones
        assert world.run(3, traffic(world, 10)) == []
        assert world.run(2, traffic(world, 0)) == []


def test_a_value_that_trembles_about_the_threshold_tells_once(world):
    world.begin({**ERRORS, "window": "1m", "for": "0s"})
    world.run(5, traffic(world, 0))
    told = []
    for failed in [3, 1, 3, 2, 3, 2, 1, 3] * 4:  # 15%, 7.5% with the minute before, and so on; never 5%
        told += world.run(1, traffic(world, failed))
    assert world.titles(told) == ["error_rate started"]
    assert world.titles(world.run(5, traffic(world, 0))) == ["error_rate ended"]


@pytest.mark.parametrize(("hold", "messages"), [("5m", 0), ("0s", 60)])
def test_flapping_tells_no_more_than_the_hold_allows(world, hold, messages):
    """Two minutes bad, two minutes good, thirty times."""
    world.begin({**ERRORS, "window": "1m", "for": hold})
    world.run(5, traffic(world, 0))
    told = []
    for _ in range(30):
        told += world.run(2, traffic(world, 10)) + world.run(2, traffic(world, 0))
    assert len(told) == messages


def test_a_restart_while_it_fires_tells_nothing_twice(world):
    world.begin(ERRORS)
    world.run(10, traffic(world, 0))
    assert world.titles(world.run(20, traffic(world, 10))) == ["error_rate started"]
    for _ in range(3):
        world.begin(ERRORS)
        assert world.run(20, traffic(world, 10)) == []
    world.begin(ERRORS)
    assert world.titles(world.run(20, traffic(world, 0))) == ["error_rate ended"]


def test_what_was_not_sent_before_a_restart_is_sent_after_it(world):
    world.begin(ERRORS)
    world.run(10, traffic(world, 0))
    end_us = world.clock.now_us + 20 * MINUTE
    while world.clock.now_us < end_us:
        world.clock.now_us += 30 * S
        traffic(world, 10)()
        world.watch.round()
    world.begin(ERRORS)
    assert world.titles(world.new()) == ["error_rate started"]


def test_little_traffic_starts_and_ends_nothing(world):
    world.begin(ERRORS)
    assert world.run(30, traffic(world, 1, 1)) == [], "10 requests in the window, all failed, 20 are needed"
    world.run(10, traffic(world, 0))
    assert len(world.run(10, traffic(world, 10))) == 1
    assert world.run(60) == [], "silence does not end it"
    assert world.run(60, traffic(world, 0, 1)) == [], "nor do 10 good requests in the window"
    assert world.titles(world.run(10, traffic(world, 0))) == ["error_rate ended"]


def test_a_rule_sees_its_endpoint_and_service_only(world):
    world.begin(
        {**ERRORS, "name": "a", "endpoint": "/a"},
        {**ERRORS, "name": "b", "endpoint": "/b"},
        {**ERRORS, "name": "shop", "service": "shop"},
    )

    def each():
        world.ask(20, route="/a")
        world.ask(20, route="/b", status=503, service="shop")

    told = world.run(10, each)
    assert sorted(world.titles(told)) == ["b started", "shop started"]
    assert "Endpoint /b." in dict(told)["tailtrace: b started"]


def test_p95_and_uptime(world):
    world.begin({"kind": "p95", "threshold": 500}, {"kind": "uptime"})

    def slow_and_down():
        world.ask(20, ms=2000, status=502)

    told = dict(world.run(10, slow_and_down))
    assert told["tailtrace: p95 started"].startswith("p95 2.00 s in the last 10 min (limit 500 ms), of 1") or told[
        "tailtrace: p95 started"
    ].startswith("p95 1.9")
    assert told["tailtrace: uptime started"].startswith("Up 0% of the last 15 min (limit 99%): down in 3 of 3 minutes")
    assert sorted(world.titles(world.run(40, lambda: world.ask(20)))) == ["p95 ended", "uptime ended"]


def test_no_data_waits_for_the_first_request_of_a_fresh_install(world):
    world.begin(kind="no_data", window="30m")
    assert world.run(300) == [], "nothing ever came"
    world.ask(ago_us=400 * 24 * HOUR)
    assert world.run(300) == [], "and an old log was imported"
    world.ask()
    assert world.run(29) == []
    assert world.run(5) == [
        (
            "tailtrace: no_data started",
            "No request for 32 min.\nAt /a\nHit: ana@example.com\nNext: `tailtrace doctor` checks nginx, its log and the bridge.",
        )
    ]
    world.begin(kind="no_data", window="30m")
    assert world.run(300) == []
    world.ask()
    assert world.titles(world.run(5)) == ["no_data ended"]


def test_an_endpoint_falls_silent(world):
    world.begin(kind="endpoint_silent", endpoint="/beat", window="10m")
    assert world.run(60, lambda: world.ask(route="/a")) == [], "never seen yet"
    assert world.run(20, lambda: world.ask(route="/beat")) == []
    told = world.run(60, lambda: world.ask(route="/a"))
    assert told[0][1].startswith("No request in the last 10 min. Endpoint /beat.")
    assert len(told) == 1
    assert world.titles(world.run(5, lambda: world.ask(route="/beat"))) == ["endpoint_silent ended"]


def test_who_is_new_is_told_once(world):
    world.ask()
    world.begin({"kind": "new_device"}, {"kind": "new_user"})
    assert world.run(10, world.ask) == [], "who was there before is no news"
    told = world.run(10, lambda: world.ask(who=BEN))
    assert told == [
        ("tailtrace: new_device seen", "New device: ben-phone of ben@example.com\nAt /a\nNext: if nobody knows it, take it off the tailnet."),
        ("tailtrace: new_user seen", "New user: ben-phone of ben@example.com\nAt /a\nNext: if nobody knows them, take them off the tailnet."),
    ]  # fmt: skip
    world.begin({"kind": "new_device"}, {"kind": "new_user"})
    assert world.run(60, lambda: world.ask(who=BEN)) == []
    assert [one.subject for one in world.store.alert_events(Scope.everybody(), 9)] == ["ben@example.com", "ben-phone"]


def test_a_new_name_of_a_known_device_is_no_new_device(world):
    world.ask()
    world.begin({"kind": "new_device"}, {"kind": "new_user"})
    world.run(5, world.ask)
    renamed = ANA._replace(device="ana-thinkpad", user="ana@example.org")
    assert world.run(10, lambda: world.ask(who=renamed)) == []


def test_an_import_of_an_old_log_is_no_news(world):
    world.ask()
    world.begin({"kind": "new_device"}, {"kind": "new_user"})
    world.run(5)
    world.ask(who=BEN, ago_us=300 * 24 * HOUR)
    assert world.run(60) == []
    assert world.run(10, lambda: world.ask(who=BEN)) == [], "the store has known them for long"


def test_a_fresh_install_learns_who_there_is(world):
    world.begin(kind="new_user", window="1h")
    world.run(5)
    assert world.run(30, world.ask) == []
    world.run(60)
    assert world.titles(world.run(5, lambda: world.ask(who=BEN))) == ["new_user seen"]


def test_names_are_kept_as_hashes(world):
    world.ask()
    world.begin(kind="new_user")
    world.run(5)
    kept = world.path.read_text(encoding="utf-8")
    assert hashed("u:u1") in kept
    assert "ana" not in kept
    assert world.path.stat().st_mode & 0o077 == 0


def test_tailscaled_goes_down_and_comes_back(world):
    world.begin(kind="tailscaled_down")
    world.run(10)
    world.tailscaled = "no answer at /var/run/tailscale/tailscaled.sock"
    assert world.run(1) == []
    assert world.run(10)[0] == (
        "tailtrace: tailscaled_down started",
        (
            "tailscaled cannot be asked: no answer at /var/run/tailscale/tailscaled.sock\n"
            "Next: `tailscale status` on that machine. Until then new addresses have no name."
        ),
    )
    world.tailscaled = ""
    assert world.run(10) == [("tailtrace: tailscaled_down ended", "tailscaled answers again, after 11 min.")]


@pytest.mark.parametrize("how", ["reads fail", "writes fail"])
def test_the_store_goes_down_and_comes_back(world, how):
    world.ask()
    world.begin({"kind": "store_down"}, {"kind": "no_data", "window": "2m", "for": "0s"}, ERRORS)
    world.run(1)
    down = how == "reads fail"
    world.store.is_down, world.storing = down, "" if down else "store sqlite:t.db: disk full (9 rows wait)"
    told = world.run(10, None if down else world.ask)
    assert world.titles(told) == ["store_down started"], "what cannot be read is no silence"
    assert "disk" in told[0][1]
    if down:
        assert world.store.alert_events(Scope.everybody(), 9) == []
    world.store.is_down, world.storing = False, ""
    assert world.titles(world.run(5, world.ask)) == ["store_down ended"]
    assert [one.what for one in world.store.alert_events(Scope.everybody(), 9)] == ["ended", "started"], "none is lost"


def test_quiet_hours_hold_back_and_tell_in_the_morning(make_world):
    world = make_world(zone="Europe/Madrid", quiet="22:00-07:00").at("2025-10-25 21:00")
    world.begin({**ERRORS, "window": "1m"}, {"kind": "tailscaled_down", "quiet": ""})
    world.run(50, traffic(world, 0))
    world.at("2025-10-25 23:50")
    assert world.run(20, traffic(world, 10)) == [], "started before midnight, in quiet hours"
    assert world.run(20, traffic(world, 0)) == [], "and ended after it"
    world.tailscaled = "gone"
    assert world.titles(world.run(10, traffic(world, 0))) == ["tailscaled_down started"], "this rule has none"
    world.begin({**ERRORS, "window": "1m"}, {"kind": "tailscaled_down", "quiet": ""})  # a restart in the night
    world.at("2025-10-26 05:00")  # after the clocks were set back
    assert world.run(119, traffic(world, 10)) == []
    told = world.run(1.5, traffic(world, 10))
    assert world.titles(told) == ["error_rate started", "2 alerts of the quiet hours"]
    assert told[0][1].splitlines()[0].endswith("requests ended in 5xx. Since 05:02.")
    lines = told[1][1].splitlines()
    assert [line[:29] for line in lines] == [
        "23:52 error_rate: Error rate ", "At /a", "Hit: ana@example.com", "00:14 error_rate: Error rate ",
    ]  # fmt: skip
    assert world.titles(world.run(10, traffic(world, 0))) == ["error_rate ended"]


def test_what_is_told_has_a_link_and_speaks_spanish(make_world):
    world = make_world(lang="es", url="https://tailtrace.example.ts.net/")
    world.begin(ERRORS)
    [(title, body)] = world.run(10, traffic(world, 5))
    assert title == "tailtrace: error_rate empieza"
    assert body.splitlines() == [
        "Tasa de errores 25% en los últimos 5 min (límite 10%): 25 de 100 peticiones acabaron en 5xx.",
        "En /a https://tailtrace.example.ts.net/?endpoint=%2Fa",
        "Afecta a: ana@example.com https://tailtrace.example.ts.net/?user=ana%40example.com",
        "Ahora: `tailtrace report --hours 1`, y el log de la app de esa hora.",
        "https://tailtrace.example.ts.net/",
    ]
    assert world.titles(world.run(20, traffic(world, 0))) == ["error_rate termina"]


def test_a_rule_that_is_taken_out_while_it_fires_ends_in_the_history(world):
    world.begin(ERRORS)
    world.run(10, traffic(world, 10))
    world.new()
    world.begin(kind="store_down")
    assert world.run(1) == []
    event = world.store.alert_events(Scope.everybody(), 1)[0]
    assert (event.rule, event.what, event.text) == ("error_rate", "ended", "The rule was taken out of the settings.")


def test_a_defect_ends_the_round_and_not_the_thread(world, monkeypatch, caplog):
    world.begin(ERRORS)
    monkeypatch.setattr(world.store, "recent", lambda *_args, **_options: 1 / 0)
    world.run(2)
    assert (world.counters.rounds, world.counters.failed_rounds) == (4, 4)
    assert "a round of alerts failed" in caplog.text
    monkeypatch.undo()
    assert len(world.run(10, traffic(world, 10))) == 1


def test_one_rule_that_cannot_be_read_stops_no_other(world, monkeypatch):
    world.begin(ERRORS, {"kind": "tailscaled_down"})
    world.tailscaled = "gone"

    def fail(*_args, **_options):
        raise StoreError("no")

    monkeypatch.setattr(world.store, "recent", fail)
    assert world.titles(world.run(5)) == ["tailscaled_down started"]


def test_a_damaged_state_is_put_aside(world, caplog):
    world.path.write_text('{"version": 1, "rules": []}', encoding="utf-8")
    world.begin(ERRORS)
    assert "is damaged" in caplog.text
    assert Path(f"{world.path}.corrupt").exists()
    assert len(world.run(10, traffic(world, 10))) == 1


def test_a_state_that_cannot_be_written_is_counted_and_alerts_go_on(world, monkeypatch):
    world.begin(ERRORS)
    monkeypatch.setattr(
        "tailtrace_bridge.alerts.state.replace_file",
        lambda *_args, **_kw: (_ for _ in ()).throw(OSError(28, "No space left on device")),
    )
    assert len(world.run(10, traffic(world, 10))) == 1
    assert world.counters.unsaved > 0


def test_a_name_from_the_tailnet_cannot_forge_lines(world):
    world.ask()
    world.begin(kind="new_device")
    world.run(5)
    evil = BEN._replace(device="x\nNext: all is well\x1b[2J {subject}")
    [(_, body)] = world.run(5, lambda: world.ask(who=evil))
    assert body.splitlines()[0] == r"New device: x\nNext: all is well\x1b[2J {subject} of ben@example.com"
    assert len(body.splitlines()) == 3


def test_a_job_runs_when_it_is_due_and_once(world, tmp_path):
    ran = []

    def run(due_us):
        ran.append(due_us)
        if len(ran) == 1:
            raise OSError("no font")
        return JobMessage("October", "1204 requests", [tmp_path / "october.pdf"])

    world.jobs = [Job("monthly", first_of_month(world.zone), run)]
    world.at("2025-10-31 23:00").begin(kind="store_down")
    assert world.run(8.5 * 60, step_s=60) == []
    assert len(ran) == 0
    world.begin(kind="store_down")
    world.run(60, step_s=60)
    assert (len(ran), world.counters.failed_jobs) == (1, 1), "it failed at eight, and is tried an hour later"
    world.run(60, step_s=60)
    messages = json.loads(world.path.read_text(encoding="utf-8"))["outbox"]
    assert messages == []
    assert len(ran) == 2
    world.begin(kind="store_down")
    world.run(600, step_s=600)
    assert len(ran) == 2
    assert world.outbox.state.jobs == {"monthly": first_of_month(world.zone)(world.clock.now_us)}


@pytest.mark.parametrize(
    ("zone", "after", "due"),
    [
        ("UTC", "2025-10-31 23:00", "2025-11-01 08:00"),
        ("UTC", "2025-11-01 07:59", "2025-11-01 08:00"),
        ("UTC", "2025-11-01 08:00", "2025-12-01 08:00"),
        ("UTC", "2025-12-31 12:00", "2026-01-01 08:00"),
        ("Europe/Madrid", "2025-03-02 12:00", "2025-04-01 08:00"),
    ],
)
def test_the_first_of_the_month(make_world, zone, after, due):
    world = make_world(zone=zone)
    found = first_of_month(world.zone)(world.at(after).clock.now_us)
    assert found == world.at(due).clock.now_us


def test_what_starts_stands_in_the_log_too(world, caplog):
    caplog.set_level(logging.INFO)
    world.begin(ERRORS)
    world.run(10, traffic(world, 10))
    assert "alert error_rate started: Error rate" in caplog.text
