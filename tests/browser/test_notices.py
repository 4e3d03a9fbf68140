"""Each notice against its number: what an answer has, what the page says of it, in both languages, and what it does not.

The page's own functions with literal answers, in a real browser without a server. A notice is named by its text's key.
"""

import json
import re
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.chromium
ROOT = Path(__file__).parents[2]
WEB = ROOT / "api/web"
TEXTS = {
    lang: json.loads((ROOT / f"bridge/tailtrace_bridge/texts/{lang}/page.json").read_text(encoding="utf-8"))
    for lang in ("en", "es")
}
T = "2025-10-08T11:00:00.000Z"
DAY = {"from": "2025-10-07T12:00:00.000Z", "to": "2025-10-08T12:00:00.000Z"}
HOUR = {"from": "2025-10-08T11:00:00.000Z", "to": "2025-10-08T12:00:00.000Z"}


@pytest.fixture(scope="module")
def say(browser, tmp_path_factory):
    """Calls one of the functions of `notices.js`: `say("en", "box", …)`."""
    bundle = tmp_path_factory.mktemp("notices") / "notices.js"
    esbuild = [
        WEB / "node_modules/.bin/esbuild",
        "--bundle",
        "--format=iife",
        f"--outfile={bundle}",
        "--log-level=error",
    ]
    subprocess.run([*esbuild, Path(__file__).with_name("notices.js")], check=True)
    page = browser.new_page(timezone_id="Europe/Madrid", locale="en-GB")
    # The page's frame without its files.
    frame = (WEB / "src/dashboard/index.html").read_text(encoding="utf-8")
    page.set_content(re.sub(r"<(script|link)[^>]*>", "", frame).replace('data-zone=""', 'data-zone="Europe/Madrid"'))
    page.evaluate(bundle.read_text(encoding="utf-8"))

    def call(lang, name, *values):
        return page.evaluate(
            "([lang, name, values]) => page.speak(lang).then(() => page[name](...values))", [lang, name, list(values)]
        )

    yield call
    page.close()


def text(lang, key, **values):
    """A text of the catalogue with its values, in plain letters."""
    shown = re.sub(r"\{(\w+)\}", lambda found: str(values[found[1]]), TEXTS[lang][key])
    return shown.replace("`", "").replace("\N{NO-BREAK SPACE}", " ")


def user(**changed):
    usual = {
        "user": "ana@x", "kind": "user", "sessions": 1, "total_time_hours": 1, "requests": 9, "errors": 0, "devices": ["pc"],
        "favorite_features": [], "favorite_endpoints": [], "last_seen": T,
    }  # fmt: skip
    return {**usual, **changed}


def users(*rows, of_all=False):
    return {"users": list(rows), "sessions_of_all": of_all, "truncated": {}}


def endpoint(**changed):
    times = dict.fromkeys(("avg_ms", "p50_ms", "p95_ms", "p99_ms", "app_ms", "proxy_ms"), 5)
    counts = dict.fromkeys(("errors_5xx", "errors_4xx", "client_closed_499", "error_rate"), 0)
    names = {"endpoint": "/a", "service": None, "feature": "/a", "spark": [1]}
    return {
        **names,
        **times,
        **counts,
        "calls": 7,
        "app_calls": 7,
        "proxy_calls": 7,
        "calls_before": 4,
        "p95_before_ms": 5,
        **changed,
    }


def endpoints(*, has_percentiles=True, **changed):
    return {
        "endpoints": [endpoint(**changed)],
        "spark_in_part": [],
        "truncated": {},
        "has_percentiles": has_percentiles,
    }


def active(**counts):
    people = [{"email": "ana@x", "device": "pc", "address": "", "current_page": None, "last_seen_seconds": 9}]
    return {"active_users": people, "total_active": 1, "services_active": 0, **counts}


def missing(**changed):
    row = {"path": "/x", "service": None, "requests": 12, "users": 1, "last_seen": T}
    return {"paths": [row], "requests": 12, "has_more": False, "truncated": {}, **changed}


def series(step, window):
    point = {"time": window["from"], "requests": 3, "errors": 0}
    return {"series": [point], "series_in_part": [], "series_before": [], "step": step, "window": window}


def health(step="hour", fresh=9, **changed):
    minutes = {"uptime_percentage": 90, "minutes_with_traffic": 10, "minutes_down": 1, "minutes_partial": 2}
    rates = {"error_rate": 0.1, "errors_5xx": 3, "requests": 30}
    store = {"store": "sqlite", "count": 4, "p95_ms": 2}
    times = {"over_time": [], "over_time_in_part": [], "step": step, "outages": [], "uptime_by_service": []}
    rest = {"influxdb_query_times": store, "data_freshness_seconds": fresh, "error_rate": rates, "window": DAY}
    return {**minutes, **times, **rest, **changed}


def totals(now=5, before=4, change=25.0, *, covered=True, share=0.5):
    row = {"metric": "users", "now": now, "before": before, "change_percent": change}
    return {"totals": [row], "named": {"requests": 8, "share": share}, "before_covered": covered}


def lines(**changed):
    line = {
        "timestamp": T, "trace_id": "", "method": "GET", "path": "/a", "endpoint": "/a", "status": 200, "user": "ana@x",
        "device": "pc", "ip": "", "response_time_ms": 5,
    }  # fmt: skip
    return {"requests": [line], "next_cursor": None, "forms": ["csv"], **changed}


PERIOD = {lang: TEXTS[lang]["before-24h"] for lang in TEXTS}
HEAT = {"heat": [[1] * 24] * 7, "heat_days": 7, "timezone": "Europe/Madrid", "window": DAY}
UNUSED = {"unused_endpoints": [], "period_days": 30, "known_endpoints": 7}
CARD = {"card": "c", "name": "c", "views": 2, "variants": [], "variants_left_out": 0}
EVERY = {"user": "ana@x"}

# a box, its answer, what the page shows, the notices beside its heading
NOTES = [
    ("users", users(user()), {}, ["of-usage"]),
    ("users", users(user(), user(user="100.64.0.9", kind="unknown")), {}, ["of-usage", "users-and-others"]),
    ("users", users(user(), user(user="bob@x", kind="shared")), {}, ["of-usage"]),
    ("users", users(user(devices=["pc", "phone"])), {}, ["of-usage", "time-of-devices"]),
    ("users", users(user(), of_all=True), {"status": "5xx"}, ["of-usage", "sessions-of-all"]),
    ("users", users(user()), {"path": "a"}, ["of-usage", "not-by-path"]),
    ("cards", {"cards": [CARD]}, {}, []),
    ("cards", {"cards": []}, {"status": "5xx"}, ["cards-204"]),
    ("endpoints", endpoints(), {}, ["of-app"]),
    ("endpoints", endpoints(has_percentiles=False), EVERY, ["of-app", "no-percentiles"]),
    ("unused", UNUSED, {}, [("unused-how", {"days": 30, "n": 0, "all": 7})]),
    ("missing", missing(), {}, [("missing-how", {"n": 12})]),
    ("missing", missing(has_more=True), {}, [("missing-newest", {"n": 12})]),
    ("active", active(), {}, []),
    ("active", active(total_active=2), {}, [("nameless-too.one", {"n": 1})]),
    ("active", active(total_active=4), {}, [("nameless-too.other", {"n": 3})]),
    ("active", active(services_active=1), {}, [("services-too.one", {"n": 1})]),
    ("active", active(services_active=2), {}, [("services-too.other", {"n": 2})]),
    ("series", series("minute", HOUR), {}, ["of-usage"]),
    ("series", series("hour", HOUR), {}, ["of-usage", "minutes-gone"]),
    ("series", series("hour", DAY), {}, ["of-usage"]),
    ("series", series("day", DAY), {}, ["of-usage", "days-of-utc"]),
    ("heat", HEAT, {}, ["of-usage", ("in-zone", {"n": 7, "zone": "Europe/Madrid"})]),
    ("health", health("hour"), {}, []),
    ("health", health("day"), {}, ["days-of-utc"]),
    ("requests", lines(), {}, ["of-all", "with-aside"]),
    ("requests", lines(), {"all": "1"}, ["of-all", "without-aside"]),
    ("requests", lines(looked_at=9, is_all=True), {"sort": "path-asc"}, ["of-all", "with-aside"]),
    ("requests", lines(looked_at=9, is_all=False), {"sort": "path-asc"}, ["of-all", "with-aside", ("sorted-of", {"n": 9})]),
    ("trail", lines(), EVERY, []),
    ("trail", lines(next_cursor="1-2"), EVERY, [("trail-newest", {"n": 1})]),
]  # fmt: skip

# a box, its answer, what the page shows, a notice within it, and those that it has not
WITHIN = [
    ("totals", totals(), {}, [("named-share", {"share": "50%", "n": 8})], ["none-before", "part-before"]),
    ("totals", totals(share=None), {}, [], ["named-share"]),
    ("totals", totals(5, 5, 0.0), {}, ["same-as-before"], ["none-before", "than-before"]),
    ("totals", totals(), {}, [("than-before", {"n": 4}), "change-up"], ["same-as-before", "change-down"]),
    ("totals", totals(3, 4, -25.0), {}, [("than-before", {"n": 4}), "change-down"], ["change-up"]),
    ("totals", totals(5, 0, None), {}, ["none-before"], ["part-before", "than-before"]),
    ("totals", totals(5, 0, None, covered=False), {}, ["part-before"], ["none-before"]),
    ("totals", totals(None, None, None), {"status": "5xx"}, ["not-under-filter"], ["none-before"]),
    (
        "endpoints",
        endpoints(),
        {},
        [("calls-before", {"n": 4})],
        ["outside-unknown", "part-how", "new-here", "p95-up", "p95-down"],
    ),
    ("endpoints", endpoints(calls_before=0), {}, ["new-here"], []),
    ("endpoints", endpoints(p95_before_ms=4), {}, [("p95-up", {"time": "4 ms"})], ["p95-down"]),
    ("endpoints", endpoints(p95_before_ms=9), {}, [("p95-down", {"time": "9 ms"})], ["p95-up"]),
    ("endpoints", endpoints(p95_before_ms=None), {}, [], ["p95-up", "p95-down"]),
    ("endpoints", endpoints(app_calls=2), {}, [("part", {"n": 2, "all": 7}), "part-how"], []),
    ("endpoints", endpoints(proxy_ms=None, proxy_calls=0), {}, ["outside-unknown"], ["part-how"]),
    ("health", health(), {}, ["freshness-how", ("error-rate-how", {"errors": 3, "n": 30})], ["freshness-stale"]),
    ("health", health(fresh=899), {}, ["freshness-how"], ["freshness-stale"]),
    ("health", health(fresh=901), {}, ["freshness-stale"], ["freshness-how"]),
    ("health", health(fresh=901), {"at": T}, ["freshness-past"], ["freshness-stale", "freshness-how"]),
    ("health", health(), {}, [("store-time-how", {"store": "sqlite", "n": 4}), "empty-times"], []),
]
OF_EVERYBODY = [
    ({}, False),
    ({"service": "shop"}, False),
    (EVERY, True),
    ({"status": "5xx"}, True),
    ({"from": T}, False),
]


def keyed(one):
    return one if isinstance(one, tuple) else (one, {})


@pytest.mark.parametrize("lang", ["en", "es"])
def test_beside_a_heading(say, lang):
    for box, answer, state, expected in NOTES:
        how = {"isLog": box in {"requests", "trail"}}
        found = say(lang, "box", box, answer, state, how)["notes"]
        wished = [text(lang, key, **values) for key, values in map(keyed, expected)]
        assert sorted(found) == sorted(wished), (box, state, expected)


@pytest.mark.parametrize("lang", ["en", "es"])
def test_within_a_box(say, lang):
    for box, answer, state, expected, others in WITHIN:
        found = say(lang, "box", box, answer, state)["within"].replace("\N{NO-BREAK SPACE}", " ").replace("50 %", "50%")
        for key, values in map(keyed, expected):
            assert text(lang, key, period=PERIOD[lang], **values) in found, (box, state, key)
        for key in others:
            begin = re.split(
                r"\{\w+\}", text(lang, key, **dict.fromkeys(("period", "n", "share", "all", "time"), "\0"))
            )[0]
            begin = max(begin.split("\0"), key=len)
            assert begin not in found, (box, state, key)


@pytest.mark.parametrize("lang", ["en", "es"])
def test_what_follows_no_filter_is_of_everybody(say, lang):
    for state, is_said in OF_EVERYBODY:
        found = say(lang, "box", "health", health(), state, {"follows": ["service"]})["notes"]
        assert (text(lang, "of-everybody") in found) is is_said, state


def overview(*, newest_s_ago, requests, only=None, newest=True):
    from datetime import UTC, datetime, timedelta

    at = (datetime.now(UTC) - timedelta(seconds=newest_s_ago)).isoformat()
    rows = [{"metric": "requests", "now": requests}]
    return {"newest": at if newest else None, "totals": rows, "only": only, "window": DAY}


@pytest.mark.parametrize("lang", ["en", "es"])
def test_at_the_foot_of_the_window(say, lang):
    rules = [
        (overview(newest_s_ago=9, requests=3), {}, None),
        (overview(newest_s_ago=3000, requests=3), {}, "banner-stale"),
        (overview(newest_s_ago=3000, requests=0), {}, "banner-old"),
        (overview(newest_s_ago=3000, requests=0), {"user": "x"}, "banner-stale"),
        (overview(newest_s_ago=9, requests=3, only="ana@x"), {}, "banner-own"),
        (overview(newest_s_ago=9, requests=3), {"at": T}, "banner-past"),
        (overview(newest_s_ago=9, requests=3), {"from": T}, None),
        (overview(newest_s_ago=9, requests=3), {"from": DAY["from"], "to": DAY["to"]}, "banner-between"),
        (overview(newest_s_ago=9, requests=0, newest=False), {}, None),
    ]
    for answer, state, key in rules:
        found = say(lang, "banner", answer, state)
        begin = key and re.split(r"\{\w+\}", TEXTS[lang][key])[0]
        assert (found or "")[: len(begin or "")] == (begin or ""), (state, key)
        assert (found is None) is (key is None), (state, key)


@pytest.mark.parametrize("lang", ["en", "es"])
def test_in_the_head(say, lang):
    rules = [
        ("live", 9, False, {}, "live-newest"),
        ("live", None, False, {}, "live-live"),
        ("live", 899, False, {}, "live-newest"),
        ("live", 905, False, {}, "live-stale"),
        ("lost", 9, False, {}, "live-lost"),
        ("polling", 9, False, {}, "live-polling"),
        ("trouble", 9, False, {}, "live-trouble"),
        ("live", 9, True, {}, "live-held"),
        ("live", 9, True, {"at": T}, "live-paused"),
    ]
    for *state, key in rules:
        begin = re.split(r"\{\w+\}", TEXTS[lang][key])[0]
        assert say(lang, "head", *state).startswith(begin), (state, key)


@pytest.mark.parametrize("lang", ["en", "es"])
def test_why_there_is_no_answer(say, lang):
    for kind in ("away", "store", "refused", "unknown", "failed"):
        found = say(lang, "problem", kind)
        assert found.startswith(f"{text(lang, f'problem-{kind}')} {text(lang, f'problem-{kind}-do')}"), kind


def test_more_deployments_than_the_legend_names(say):
    assert [len(say("en", "legend", count)) for count in (0, 1, 3)] == [0, 1, 3]
    assert say("en", "legend", 5)[0] == "2 more"
