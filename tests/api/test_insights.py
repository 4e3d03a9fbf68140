"""Who is to blame, what is advised, and what is compared: the tables at the head of `insights`, row by row."""

from dataclasses import replace

import pytest
from pydantic_core import to_jsonable_python as plain

from tailtrace_api.answers import insights
from tailtrace_api.answers.insight_records import StoreState
from tailtrace_api.answers.record import fields_of
from tailtrace_api.answers.request_records import EndpointTimes, Times
from tailtrace_bridge.core.histogram import bucket_of
from tailtrace_bridge.core.records import Identity, Traffic
from tailtrace_bridge.store.anonymous import AnonymousUsage
from tailtrace_bridge.store.values import Activity, Latency, LogEntry, Usage, Window

MINUTE = 60_000_000
NOBODY = Identity("")
FINE = StoreState(name="sqlite", ok=True, p95_ms=None, queries=0, problem=None)


def usage(requests, status=200, *, ms=100, app_ms=None, route="/a", traffic=Traffic.APP):
    """Requests of `ms` each; `app_ms`: of each one's span, None without."""
    spans = 0 if app_ms is None else requests
    return Usage(
        NOBODY,
        "",
        route,
        "",
        status,
        traffic,
        requests,
        requests,
        requests * ms * 1000,
        spans,
        spans * (app_ms or 0) * 1000,
        0,
        spans,
        spans * (ms - (app_ms or 0)) * 1000,
    )


@pytest.mark.parametrize(
    ("usages", "p95_ms", "store", "verdict"),
    [
        ([usage(100)], 50, replace(FINE, ok=False), ("store", "store-down")),
        ([usage(100)], 50, replace(FINE, queries=20, p95_ms=1000.0), ("store", "store-slow")),
        ([usage(100)], 50, replace(FINE, queries=19, p95_ms=9000.0), ("nobody", "fine")),
        ([usage(100)], 50, replace(FINE, queries=500, p95_ms=999.0), ("nobody", "fine")),
        ([], None, FINE, ("unknown", "too-few-requests")),
        ([usage(19, 500)], 50, FINE, ("unknown", "too-few-requests")),
        ([usage(980, app_ms=9), usage(20, 502)], 50, FINE, ("app", "app-unreachable")),
        ([usage(980, app_ms=9), usage(20, 503)], 50, FINE, ("app", "app-unreachable")),
        ([usage(980), usage(20, 502)], 50, FINE, ("app", "app-unreachable")),
        ([usage(980), usage(20, 503)], 50, FINE, ("unknown", "errors-without-spans")),
        ([usage(980), usage(20, 500)], 50, FINE, ("unknown", "errors-without-spans")),
        ([usage(980, app_ms=9), usage(20, 500, app_ms=9)], 50, FINE, ("app", "app-errors")),
        ([usage(980, app_ms=9), usage(20, 503, app_ms=9)], 50, FINE, ("app", "app-errors")),
        ([usage(991, app_ms=9), usage(9, 500, app_ms=9)], 50, FINE, ("nobody", "fine")),
        ([usage(100)], None, FINE, ("unknown", "no-times")),
        ([usage(100)], 999.9, FINE, ("nobody", "fine")),
        ([usage(100)], 1000, FINE, ("unknown", "slow-without-spans")),
        ([usage(100, ms=2000, app_ms=1200)], 2000, FINE, ("app", "app-slow")),
        ([usage(100, ms=2000, app_ms=800)], 2000, FINE, ("proxy", "outside-slow")),
        ([usage(100, ms=2000, app_ms=1000)], 2000, FINE, ("unknown", "slow-in-both")),
        # The clients of twenty left: what the app did after that says nothing of the eighty.
        ([usage(80, ms=2000, app_ms=800), usage(20, 499, ms=2000, app_ms=60_000)], 2000, FINE, ("proxy", "outside-slow")),
    ],
)  # fmt: skip
def test_blame(usages, p95_ms, store, verdict):
    found = insights.blame(usages, p95_ms, store)
    assert (found.verdict, found.because) == verdict


@pytest.mark.parametrize(
    ("usages", "p95_ms", "freshness_s", "codes"),
    [
        ([usage(45), usage(5, 500)], 10, 0, ["failing-endpoint"]),
        ([usage(44), usage(5, 500)], 10, 0, []),  # 49 requests bear no advice
        ([usage(96), usage(4, 500)], 10, 0, []),  # 4%
        ([usage(50)], 1000, 0, ["slow-endpoint"]),
        ([usage(49)], 1000, 0, []),
        ([usage(50)], 999.9, 0, []),
        ([usage(50)], None, 900, ["stale-data"]),
        ([usage(50)], 10, 899.9, []),
        ([], None, None, []),
    ],
)
def test_advice_only_where_the_numbers_bear_it(usages, p95_ms, freshness_s, codes):
    none = Times(avg_ms=None, p50_ms=None, p95_ms=None, p99_ms=None)
    count = sum(one.requests for one in usages)
    times = [
        EndpointTimes(
            **fields_of(none) | {"p95_ms": p95_ms}, endpoint="/a", service=None, count=count, app=none, app_count=0,
            proxy_avg_ms=None, proxy_count=0,
        )
    ]  # fmt: skip
    assert [one.code for one in insights.advice(usages, times, freshness_s)] == codes


def test_compared_with_nothing():
    window = Window(0, MINUTE)
    now = insights.Period(window, [usage(10)], [Latency("/a", "proxy", bucket_of(100_000), 10)], [usage(10)])
    before = insights.Period(window, [], [], [])
    assert plain(insights.compare(7, now, before).metrics) == [
        {"metric": "requests", "now": 10, "before": 0, "change_percent": None},
        {"metric": "unique_users", "now": 0, "before": 0, "change_percent": None},
        {"metric": "avg_response_ms", "now": 100.0, "before": None, "change_percent": None},
        {"metric": "p95_response_ms", "now": 98.848, "before": None, "change_percent": None},
        {"metric": "error_rate", "now": 0.0, "before": None, "change_percent": None},
    ]


def test_a_health_check_is_a_use_and_a_bot_is_none():
    recent = [usage(1, route="/health", traffic=Traffic.HEALTH), usage(9, route="/old", traffic=Traffic.BOT)]
    found, _ = insights.unused_endpoints([("GET", "/health"), ("GET", "/old")], recent, [usage(3, route="/old")], {})
    assert [(one.endpoint, one.requests_earlier) for one in found] == [("/old", 3)]


def test_routes_of_one_name_in_two_services_are_two():
    def of(service, count, route="/"):
        return usage(count, route=route)._replace(service=service)

    declared = [("GET", "/"), ("POST", "/never")]
    found, known = insights.unused_endpoints(declared, [of("shop", 1)], [of("shop", 5), of("wiki", 3)], {})
    assert [(one.service, one.endpoint, one.methods, one.requests_earlier) for one in found] == [
        ("wiki", "/", ("GET",), 3),
        (None, "/never", ("POST",), 0),
    ]
    assert known == 3


def test_a_card_by_its_name_and_a_person_on_two_devices():
    ana = [
        Identity(f"100.64.0.{n}", "user", "ana@example.com", device, f"n{n}")
        for n, device in ((7, "laptop"), (8, "phone"))
    ]
    activity = [Activity(one, [(at, at, 1)]) for one, at in zip(ana, (MINUTE, 2 * MINUTE), strict=True)]
    pages = {insights.answers.person(ana[0]): "/_tailtrace/view?card=prices"}

    def asked(online):
        found = insights.active_users(activity, pages, online, {}, 3 * MINUTE)
        return [(one.device, one.current_page, one.online, one.requests) for one in found.active_users]

    assert asked({}) == [("phone", "card: prices", None, 2)]
    assert asked({"n7": True, "n8": False}) == [("phone", "card: prices", True, 2)]
    assert asked({"n7": False, "n8": False}) == []
    assert asked({"n8": False}) == []


def test_compare_tells_what_is_in_both_and_what_in_one_only():
    def period(*usages):
        latency = [
            Latency(one.endpoint, "proxy", bucket_of(one.request_time_us // one.requests), one.requests)
            for one in usages
            if one.timed
        ]
        return insights.Period(Window(0, 1), usages, latency, ())

    now = period(
        usage(5, ms=900),
        usage(9, ms=100, route="/b"),
        usage(3, route="/new"),
        usage(4, route="/newer"),
        usage(7, route="/static", traffic=Traffic.STATIC),
    )
    before = period(usage(6, ms=100), usage(8, ms=100, route="/b"), usage(2, route="/gone"))
    found = plain(insights.compare(7, now, before))
    assert [(row["endpoint"], row["requests_now"], row["requests_before"]) for row in found["endpoints"]] == [
        ("/a", 5, 6),
        ("/b", 9, 8),
    ]
    assert found["endpoints"][0]["p95_change_ms"] == pytest.approx(800, rel=0.05)
    assert found["endpoints_total"] == 2
    assert found["endpoints_new"] == [
        {"endpoint": "/newer", "service": None, "requests": 4}, {"endpoint": "/new", "service": None, "requests": 3},
    ]  # fmt: skip
    assert found["endpoints_gone"] == [{"endpoint": "/gone", "service": None, "requests": 2}]
    nothing = plain(insights.compare(7, now, period()))
    assert (
        nothing["endpoints"],
        nothing["endpoints_total"],
        nothing["endpoints_new_total"],
        nothing["endpoints_gone_total"],
    ) == ([], 0, 4, 0)
    many = plain(insights.compare(7, period(*(usage(n + 1, route=f"/{n}") for n in range(15))), period()))
    assert (len(many["endpoints_new"]), many["endpoints_new"][0], many["endpoints_new_total"]) == (
        10,
        {"endpoint": "/14", "service": None, "requests": 15},
        15,
    )


@pytest.mark.parametrize(
    ("status", "request_us", "app_us", "outside_ms"),
    [
        (200, 30_000, 28_000, 2.0),
        (200, 28_000, 28_400, 0.0),  # nginx counts in milliseconds
        (200, 28_000, 95_000, None),  # the app went on after its answer
        (499, 1_000_000, 950_000, None),
        (200, None, 28_000, None),
        (200, 30_000, None, None),
    ],
)
def test_outside_the_app_of_one_request(status, request_us, app_us, outside_ms):
    entry = LogEntry(0, 1, NOBODY, "", "/a", "GET", "/a", status, Traffic.APP, request_us, app_us, 10, "", "")
    (told,) = insights.explain([entry], {})
    assert told.timing.outside_ms == outside_ms


def test_what_fits_no_route_is_no_feature():
    usages = [usage(3, route="/a"), usage(50, 404, route="__other__")]
    found = insights.usage_stats(7, usages, [], AnonymousUsage(), {"/a": "Batches"})
    assert [(one.feature, one.requests) for one in found.top_features] == [("Batches", 3)]
    assert (found.features_total, found.total_requests) == (1, 53)
