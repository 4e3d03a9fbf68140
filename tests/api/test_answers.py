"""The answers, each from a handful of sums that can be added up by hand. Defined in docs/definitions.md."""

from zoneinfo import ZoneInfo

import pytest
from pydantic_core import to_jsonable_python as plain

from tailtrace_api.answers import requests as answers
from tailtrace_api.answers import uptime
from tailtrace_bridge.core.histogram import bucket_of
from tailtrace_bridge.core.records import Identity, Traffic
from tailtrace_bridge.store.rollups import USAGE_TRAFFIC
from tailtrace_bridge.store.values import (
    Activity,
    BucketLatency,
    BucketUsage,
    Latency,
    LogEntry,
    Quarter,
    UptimeHour,
    Usage,
    Visits,
)

S = 1_000_000
MINUTE, HOUR = 60 * S, 3600 * S
T0 = 1_759_924_800 * S  # 2025-10-08T12:00:00Z
ANA = Identity("100.64.0.7", "user", "ana@example.com", "ana-laptop", "n1", "", "localapi")
ANA_V6 = Identity("fd7a:115c:a1e0::7", "user", "ana@example.com", "ana-laptop", "n1", "", "localapi")
ANA_PHONE = Identity("100.64.0.17", "user", "ana@example.com", "ana-phone", "n4", "", "localapi")
CI = Identity("100.64.0.9", "tagged", "", "runner", "n3", "tag:ci,tag:server", "localapi")
NOBODY = Identity("203.0.113.5", "external")


def visits_of(usages):
    """Return the usage by identity, endpoint and traffic."""
    totals = {}
    for one in usages:
        if one.traffic in USAGE_TRAFFIC:
            key = (one.identity, one.endpoint, one.traffic)
            totals[key] = totals.get(key, 0) + one.requests
    return [Visits(identity, endpoint, traffic, n) for (identity, endpoint, traffic), n in totals.items()]


def usage(
    who=ANA, endpoint="/a", status=200, traffic=Traffic.APP, requests=1, timed=0, time_us=0, app=(0, 0), outside_us=None
):
    """`outside_us` is needed where only some of the requests have both times."""
    is_whole = timed == app[0] == requests
    both = app[0] if is_whole or outside_us is not None else 0
    outside_us = time_us - app[1] if is_whole else outside_us or 0
    return Usage(
        who,
        "factory",
        endpoint,
        "GET",
        status,
        traffic,
        requests,
        timed,
        time_us,
        *app,
        10 * requests,
        both,
        outside_us,
    )


def minutes(start_us, *states):
    """One hour of a service: `states` say how its first minutes were, "up", "partial", "down" or "" for no answers."""
    bits = [sum(1 << place for place, one in enumerate(states) if one in which) for which in
            (("up", "partial", "down"), ("partial",), ("down",))]  # fmt: skip
    return UptimeHour(start_us, "factory", *bits)


def at(time_us, who=ANA, last_us=None, requests=1):
    return Activity(who, [(time_us, time_us if last_us is None else last_us, requests)])


def visits(who=ANA, endpoint="/a", requests=1, traffic=Traffic.APP):
    return Visits(who, endpoint, traffic, requests)


@pytest.mark.parametrize(
    ("time_us", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (T0 + 123_999, "2025-10-08T12:00:00.123Z"),
        (T0 - 1, "2025-10-08T11:59:59.999Z"),
    ],
)
def test_iso(time_us, text):
    assert answers.iso(time_us) == text


def test_a_log_line():
    entry = LogEntry(
        T0 + 250_000, 5, CI, "", "/items/{id}", "GET", "/items/7", 500, Traffic.APP, 31_250, 4_000, 99, "ab" * 16, "OSError"
    )  # fmt: skip
    assert plain(answers.log_line(entry)) == {
        "timestamp": "2025-10-08T12:00:00.250Z", "user": None, "device": "runner", "ip": "100.64.0.9",
        "endpoint": "/items/{id}", "method": "GET", "status": 500, "response_time_ms": 31.25, "app_time_ms": 4.0, "outside_ms": 27.25,
        "trace_id": "ab" * 16, "kind": "tagged", "tags": ["tag:ci", "tag:server"], "identified_by": "localapi",
        "path": "/items/7", "service": None, "traffic": "app", "bytes": 99, "error_type": "OSError",
        "identified_at": None, "via": None, "key_expired": False, "reason": None,
    }  # fmt: skip


def test_a_log_line_says_how_it_came_to_its_identity():
    behind = Identity("10.8.0.20", "subnet", provider="snapshot", via="office-router")
    expired = Identity("100.64.0.7", "user", "ana@example.com", "ana-laptop", "n1", provider="localapi", expired=True)
    unknown = Identity("100.64.0.9", reason="address-reused-or-unknown-then")
    words = ("kind", "user", "via", "key_expired", "reason", "identified_at")

    def said(who):
        entry = LogEntry(T0, 5, who, "", "/a", "GET", "/a", 200, Traffic.APP, 1, None, 9, "", "", T0 + 60_000)
        line = plain(answers.log_line(entry))
        return tuple(line[word] for word in words)

    at = "2025-10-08T12:00:00.060Z"
    assert said(behind) == ("subnet", None, "office-router", False, None, at)
    assert said(expired) == ("user", "ana@example.com", None, True, None, at)
    assert said(unknown) == ("unknown", None, None, False, "address-reused-or-unknown-then", at)


def test_summary():
    assert plain(answers.summary([
        usage(requests=3, timed=2, time_us=30_000),
        usage(ANA_PHONE, requests=1, timed=1, time_us=60_000),
        usage(CI, status=502),
        usage(NOBODY, status=404, traffic=Traffic.BOT),
    ], 4)) == {
        "total_requests": 6, "unique_users": 1, "unique_devices": 3, "unique_addresses": 4,
        "avg_response_time_ms": 30.0, "errors_5xx": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("pause_us", "sessions"),
    [
        (30 * MINUTE, [(T0, T0 + 30 * MINUTE, 2)]),
        (30 * MINUTE + 1, [(T0, T0, 1), (T0 + 30 * MINUTE + 1, T0 + 30 * MINUTE + 1, 1)]),
    ],
)
def test_a_pause_of_more_than_thirty_minutes_begins_a_session(pause_us, sessions):
    found = answers.sessions([at(T0), at(T0 + pause_us, ANA_V6)])
    assert [one.runs for one in found] == [sessions]
    assert answers.session_count(found) == len(sessions)


def test_the_pause_is_counted_from_the_last_request_of_a_minute():
    seen = [at(T0, last_us=T0 + 59 * S, requests=4), at(T0 + 59 * S + 30 * MINUTE)]
    assert [one.runs for one in answers.sessions(seen)] == [[(T0, T0 + 59 * S + 30 * MINUTE, 5)]]


def test_two_devices_of_one_person_are_two_visitors():
    seen = [at(T0), at(T0 + MINUTE, ANA_PHONE), at(T0 + 2 * MINUTE), at(T0 + 3 * MINUTE, ANA_PHONE)]
    assert answers.sessions(seen) == [
        (ANA, [(T0, T0 + 2 * MINUTE, 2)]),
        (ANA_PHONE, [(T0 + MINUTE, T0 + 3 * MINUTE, 2)]),
    ]


def test_two_addresses_of_one_device_are_one_visitor():
    assert answers.sessions([at(T0), at(T0 + MINUTE, ANA_V6)]) == [(ANA_V6, [(T0, T0 + MINUTE, 2)])]


def test_runs_of_two_addresses_are_taken_in_order_of_time():
    late, early = T0 + 30 * MINUTE + 40 * S, T0 + 30 * MINUTE + 5 * S
    runs = [(T0 + 20 * S, T0 + 20 * S, 1), (late, late, 1)]
    assert answers.sessions([Activity(ANA, runs)]) == [(ANA, runs)]
    assert answers.sessions([Activity(ANA, runs), at(early, ANA_V6)]) == [(ANA, [(T0 + 20 * S, late, 3)])]


def test_addresses_that_nobody_names_are_visitors_of_their_own():
    other = Identity("203.0.113.6", "external")
    seen = [at(T0, NOBODY), at(T0 + 1, other)]
    assert [(answers.name(one.identity), one.requests) for one in answers.sessions(seen)] == [
        ("203.0.113.5", 1),
        ("203.0.113.6", 1),
    ]


def test_two_people_on_one_address_or_of_one_name_are_two():
    """Names are those of now: a login or an address that another took over does not make them one."""
    first = Identity("100.64.0.7", "user", "ana@example.com", "mac", "n1", user_id="71")
    second = Identity("100.64.0.7", "user", "ana@example.com", "mac", "n2", user_id="72")
    seen = [at(T0, first), at(T0 + MINUTE, second), at(T0 + 2 * MINUTE, first)]
    assert [(one.identity.user_id, one.requests) for one in answers.sessions(seen)] == [("71", 2), ("72", 1)]
    usages = [usage(first, "/a", requests=2), usage(second, "/b")]
    visited = [visits(first, "/a", 2), visits(second, "/b")]
    assert [
        (row["user"], row["requests"], row["favorite_features"])
        for row in plain(answers.user_sessions(answers.sessions(seen), visited, {}))
    ] == [("ana@example.com", 2, ["/a"]), ("ana@example.com", 1, ["/b"])]
    counts = plain(answers.summary(usages, 1))
    assert (counts["unique_users"], counts["unique_devices"]) == (2, 2)


def test_funnel_and_probes_from_loopback_are_two_visitors():
    funnel, probe = Identity("127.0.0.1", "funnel"), Identity("127.0.0.1", "self")
    assert [(one.identity.kind, one.requests) for one in answers.sessions([at(T0, funnel), at(T0 + 1, probe)])] == [
        ("funnel", 1),
        ("self", 1),
    ]


def test_user_sessions():
    activity = [
        at(T0, last_us=T0 + 30 * S, requests=5),
        at(T0 + 10 * MINUTE, ANA_PHONE),
        at(T0 + 28 * MINUTE + 30 * S),
        at(T0 + 2 * HOUR, NOBODY, requests=9),
    ]
    visited = [
        visits(endpoint="/a", requests=2),
        visits(endpoint="/b", requests=3),
        visits(ANA_PHONE, "/b"),
        visits(endpoint="/c", requests=1),
        visits(endpoint="/d", requests=1),
        visits(endpoint="__other__", requests=50),
        visits(endpoint="/_tailtrace/view?card=prices", traffic=Traffic.CARD, requests=99),
    ]
    assert plain(answers.user_sessions(answers.sessions(activity), visited, {"/b": "Batches"})) == [
        {
            "user": "ana@example.com", "kind": "user", "sessions": 2, "total_time_hours": 0.475,
            "favorite_features": ["Batches", "/a", "/c"], "requests": 7, "devices": ["ana-laptop", "ana-phone"],
            "last_seen": "2025-10-08T12:28:30.000Z",
        },
        {
            "user": "203.0.113.5", "kind": "external", "sessions": 1, "total_time_hours": 0.0,
            "favorite_features": [], "requests": 9, "devices": [], "last_seen": "2025-10-08T14:00:00.000Z",
        },
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("time_us", "zone", "hour"),
    [
        (1_759_923_900 * S, "UTC", 11),
        (1_759_924_800 * S, "UTC", 12),
        (1_759_924_800 * S, "Europe/Madrid", 14),  # summer time
        (1_767_265_200 * S, "Europe/Madrid", 12),  # 2026-01-01T11:00Z, winter time
        (1_761_437_400 * S, "Europe/Madrid", 2),  # 2025-10-26T00:10Z: 02:10 summer time
        (1_761_441_000 * S, "Europe/Madrid", 2),  # an hour later it is 02:10 again
        (1_759_924_800 * S, "Asia/Kolkata", 17),  # +05:30
        (1_759_950_000 * S, "Europe/Madrid", 21),
    ],
)
def test_peak_hours(time_us, zone, hour):
    expected = [{"hour": number, "requests": 4 if number == hour else 0} for number in range(24)]
    assert plain(answers.peak_hours([Quarter(time_us, 1), Quarter(time_us, 3)], ZoneInfo(zone))) == expected


def test_cards_and_calls():
    usages = [
        usage(endpoint="/_tailtrace/view?card=prices", traffic=Traffic.CARD, requests=2),
        usage(CI, "/_tailtrace/view?card=prices", traffic=Traffic.CARD),
        usage(endpoint="/_tailtrace/view?card=a b?card=c", traffic=Traffic.CARD, requests=4),
        usage(endpoint="/b", requests=2),
        usage(CI, "/a", 500, requests=1),
        usage(endpoint="/a", requests=1),
        usage(endpoint="/health", traffic=Traffic.HEALTH),
        usage(endpoint="/static/*.css", traffic=Traffic.STATIC),
        usage(endpoint="__other__", traffic=Traffic.BOT),
    ]
    visited = visits_of(usages)
    assert plain(answers.most_viewed_cards(visited, {"card=prices": "Prices"})) == [
        {"card": "a b?card=c", "name": "a b?card=c", "views": 4},
        {"card": "prices", "name": "Prices", "views": 3},
    ]
    assert answers.api_calls_by_endpoint(visited) == [{"/a": 2}, {"/b": 2}]
    assert answers.usage_only(usages) == usages[:6]


@pytest.mark.parametrize(
    ("hours", "percentage"),
    [
        ([], None),
        ([minutes(T0, "up")], 100.0),
        ([minutes(T0, "", "", "down")], 0.0),
        ([minutes(T0, "partial", "partial")], 100.0),
        ([minutes(T0, "up", "", "down"), minutes(T0 + 24 * HOUR, "partial")], 66.667),
    ],
)
def test_uptime(hours, percentage):
    assert uptime.uptime(hours)["uptime_percentage"] == percentage


def test_a_minute_of_two_services_is_two():
    other = minutes(T0, "down", "up")._replace(service="shop")
    assert uptime.minutes_of([minutes(T0, "up", "partial"), other]) == (4, 1, 1)
    assert plain(uptime.uptime_by_service([other, minutes(T0, "up", "partial")])) == [
        {"service": "factory", "uptime_percentage": 100.0, "minutes_with_traffic": 2, "minutes_partial": 1, "minutes_down": 0},
        {"service": "shop", "uptime_percentage": 50.0, "minutes_with_traffic": 2, "minutes_partial": 0, "minutes_down": 1},
    ]  # fmt: skip


def test_outages_are_minutes_down_one_after_another():
    hours = [
        minutes(T0, "down", "", "down", "partial", "down"), minutes(T0 + HOUR, "", "down", "up"),
        minutes(T0 + HOUR, "down")._replace(service="shop"), minutes(T0 + 3 * HOUR, "", "", "down"),
        minutes(T0 + 4 * HOUR, "", "", "", "down"),
    ]  # fmt: skip
    assert [(one.service, one.start[11:16], one.end[11:16], one.minutes) for one in uptime.outages(hours[::-1])] == [
        ("factory", "16:03", "16:04", 1),  # nobody asked for more than an hour
        ("factory", "15:02", "15:03", 1),
        ("factory", "12:04", "13:02", 2),
        ("shop", "13:00", "13:01", 1),
        ("factory", "12:00", "12:03", 2),
    ]


def test_uptime_by_day():
    hours = [minutes(T0 - 12 * HOUR, "up", "down"), minutes(T0 + 12 * HOUR, "up")]
    assert plain(uptime.uptime_by_day(hours)) == [
        {"time": "2025-10-08T00:00:00.000Z", "uptime_percentage": 50.0, "minutes_with_traffic": 2, "minutes_partial": 0, "minutes_down": 1},
        {"time": "2025-10-09T00:00:00.000Z", "uptime_percentage": 100.0, "minutes_with_traffic": 1, "minutes_partial": 0, "minutes_down": 0},
    ]  # fmt: skip


def test_response_times():
    usages = [
        usage(requests=90, timed=90, time_us=900_000, app=(90, 720_000)),
        usage(CI, requests=11, timed=10, time_us=10_000_000),
        usage(endpoint="/untimed", requests=7),
    ]
    latency = [
        Latency("/a", "proxy", bucket_of(10_000), 60, "factory"),
        Latency("/a", "proxy", bucket_of(10_000), 30, "factory"),
        Latency("/a", "proxy", bucket_of(1_000_000), 10, "factory"),
        Latency("/a", "app", bucket_of(8_000), 90, "factory"),
        Latency("/a", "proxy", bucket_of(9_000_000), 900, "another"),
    ]
    row, untimed = plain(answers.response_times(usages, latency))
    # The eleven of CI have no span: of the ninety that have one, 10 ms less 8 ms.
    assert (row["endpoint"], row["service"], row["count"], row["avg_ms"]) == ("/a", "factory", 101, 109.0)
    assert (row["app_count"], row["proxy_avg_ms"], row["proxy_count"]) == (90, 2.0, 90)
    assert [row["p50_ms"], row["p95_ms"], row["p99_ms"]] == [
        pytest.approx(10, rel=0.02), pytest.approx(1000, rel=0.02), pytest.approx(1000, rel=0.02),
    ]  # fmt: skip
    assert row["app"] == {"avg_ms": 8.0} | {f"p{rank}_ms": pytest.approx(8, rel=0.02) for rank in (50, 95, 99)}
    nothing = {"avg_ms": None, "p50_ms": None, "p95_ms": None, "p99_ms": None}
    assert untimed == {
        "endpoint": "/untimed", "service": "factory", "count": 7, **nothing, "app": nothing, "app_count": 0,
        "proxy_avg_ms": None, "proxy_count": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("usages", "outside_ms"),
    [
        ([usage(requests=4, timed=4, time_us=40_000, app=(4, 36_000))], 1.0),
        # Half have the app's time: the mean is of these, however long the others took.
        ([usage(requests=4, timed=4, time_us=4_000_000, app=(2, 18_000), outside_us=3_000)], 1.5),
        # Of sums that were made before, whose rows are gone, it is not known which ones have both.
        ([usage(requests=4, timed=4, time_us=4_000_000, app=(2, 18_000))], None),
        ([usage(requests=4, timed=4, time_us=4_000_000, app=(2, 18_000)), usage(requests=1, timed=1, time_us=9_000, app=(1, 4_000))], 5.0),
        # The clients of three left after 1 s, and the app worked on for 30 s.
        ([usage(requests=2, timed=2, time_us=20_000, app=(2, 16_000)), usage(status=499, requests=3, timed=3, time_us=3_000_000, app=(3, 90_000_000))], 2.0),
        ([usage(status=499, requests=3, timed=3, time_us=3_000_000, app=(3, 90_000_000))], None),
        # nginx answered 502 by itself after a minute: the app has no part in it.
        ([usage(requests=2, timed=2, time_us=20_000, app=(2, 16_000)), usage(status=502, requests=1, timed=1, time_us=60_000_000)], 2.0),
        # Each status by itself, so that a slow one without spans does not count for a fast one with.
        ([usage(requests=3, timed=3, time_us=30_000, app=(3, 27_000)), usage(status=500, requests=1, timed=1, time_us=9_000, app=(1, 4_000))], 2.0),
        ([usage(requests=2, timed=2, time_us=2_000, app=(2, 3_000))], 0.0),  # within nginx's millisecond
        ([usage(requests=2, timed=2, time_us=2_000, app=(2, 9_000))], None),  # it went on after its answer
        ([usage(requests=2, app=(2, 9_000))], None),
        ([usage(requests=2, timed=2, time_us=2_000)], None),
        ([], None),
    ],
)  # fmt: skip
def test_time_outside_the_app(usages, outside_ms):
    assert answers.outside_avg_ms(usages) == outside_ms


def test_error_rates():
    usages = [
        usage(requests=95),
        usage(status=500, requests=3),
        usage(CI, status=502),
        usage(status=499, requests=1),
        usage(endpoint="/b", status=404, requests=2),
        usage(endpoint="/b", status=499),
        usage(endpoint="/b", status=503),
        usage(endpoint="/c", status=0),
    ]
    a = {"error_rate": 0.04, "requests": 100, "errors_5xx": 4, "errors_4xx": 0, "client_closed_499": 1}
    b = {"error_rate": 0.25, "requests": 4, "errors_5xx": 1, "errors_4xx": 2, "client_closed_499": 1}
    c = {"error_rate": 0.0, "requests": 1, "errors_5xx": 0, "errors_4xx": 0, "client_closed_499": 0}
    assert plain(answers.error_rates(usages)) == {
        "overall": {
            "error_rate": 0.047619, "requests": 105, "errors_5xx": 5, "errors_4xx": 2, "client_closed_499": 2,
        },
        "by_endpoint": [{**rates, "endpoint": name, "service": "factory"} for name, rates in (("/b", b), ("/a", a), ("/c", c))],
    }  # fmt: skip


def test_over_time():
    steps = [
        BucketUsage(T0, 4, 1, 2, 20_000),
        BucketUsage(T0 + HOUR, 4, 3, 0, 0),
        BucketUsage(T0 + 12 * HOUR, 1, 0, 0, 0),
    ]
    latency = [BucketLatency(T0, bucket_of(10_000), 2)]
    ten = pytest.approx(10, rel=0.02)
    timed = {"avg_ms": 10.0, "p50_ms": ten, "p95_ms": ten, "p99_ms": ten}
    untimed = dict.fromkeys(timed)
    assert plain(answers.over_time(steps, latency)) == [
        {"time": "2025-10-08T12:00:00.000Z", "requests": 4, "errors_5xx": 1, "error_rate": 0.25, **timed},
        {"time": "2025-10-08T13:00:00.000Z", "requests": 4, "errors_5xx": 3, "error_rate": 0.75, **untimed},
        {"time": "2025-10-09T00:00:00.000Z", "requests": 1, "errors_5xx": 0, "error_rate": 0.0, **untimed},
    ]


def test_nothing_gives_empty_answers():
    assert plain(answers.summary([], 0)) == {
        "total_requests": 0, "unique_users": 0, "unique_devices": 0, "unique_addresses": 0,
        "avg_response_time_ms": None, "errors_5xx": 0,
    }  # fmt: skip
    assert plain(answers.error_rates([])) == {
        "overall": {"error_rate": 0.0, "requests": 0, "errors_5xx": 0, "errors_4xx": 0, "client_closed_499": 0},
        "by_endpoint": [],
    }
    assert [row["requests"] for row in plain(answers.peak_hours([], ZoneInfo("UTC")))] == [0] * 24
    for function in (answers.sessions, answers.api_calls_by_endpoint, uptime.uptime_by_day, uptime.outages):
        assert plain(function([])) == []
    for none in (answers.user_sessions([], [], {}), answers.response_times([], []), answers.over_time([], [])):
        assert plain(none) == []
