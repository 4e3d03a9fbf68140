"""What the OpenAPI document has beside what FastAPI makes of the records: an example of each of the three answers.

These three promise in their schemas that they have no other fields than those named.
"""

import json
import re
from typing import Any

from pydantic import TypeAdapter

from tailtrace_api.answers.record import Record, fields_of
from tailtrace_api.answers.request_records import (
    AccessLogs,
    CardViews,
    DashboardUsage,
    EndpointRates,
    EndpointTimes,
    ErrorRate,
    LogLine,
    Outage,
    PeakHour,
    QueryHour,
    QuerySpread,
    QueryTimes,
    Rates,
    ServiceCalls,
    Step,
    Summary,
    SystemHealth,
    Times,
    UptimeDay,
    UptimeService,
    UsageSummary,
    UserSessions,
)
from tailtrace_api.answers.uptime import METHOD, UptimeFields

_INNER = re.compile(r'"#/components/schemas/(\w+)"')


def complete(document: dict[str, Any]) -> None:
    """Add the examples."""
    schemas = document["components"]["schemas"]
    for example in _examples():
        kind = type(example)
        schemas[kind.__name__]["examples"] = [
            TypeAdapter(kind).dump_python(example, mode="json", exclude_defaults=True)
        ]
        _close(kind.__name__, schemas)


def _close(name: str, schemas: dict[str, dict[str, Any]]) -> None:
    """Say of a schema, and of those that it is made of, that there are no other fields."""
    if "additionalProperties" not in schemas[name]:
        schemas[name]["additionalProperties"] = False
        for inner in _INNER.findall(json.dumps(schemas[name])):
            _close(inner, schemas)


def _examples() -> tuple[Record, ...]:
    window = {"from": "2025-10-08T10:00:00.000Z", "to": "2025-10-09T10:00:00.000Z"}
    day, hour, last = "2025-10-09T00:00:00.000Z", "2025-10-09T09:00:00.000Z", "2025-10-09T09:59:58.250Z"
    route, laptop, login = "/items/{item_id}", "ana-laptop", "ana@example.com"
    summary = Summary(
        total_requests=1204,
        unique_users=1,
        unique_devices=1,
        unique_addresses=1,
        avg_response_time_ms=31.25,
        errors_5xx=3,
    )
    times = Times(avg_ms=31.25, p50_ms=24.8, p95_ms=81.2, p99_ms=240.6)
    app_times = Times(avg_ms=28.5, p50_ms=22.1, p95_ms=77.3, p99_ms=231.9)
    rates = Rates(error_rate=0.002492, requests=1204, errors_5xx=3, errors_4xx=7, client_closed_499=1)
    spread = fields_of(QuerySpread(count=40, avg_ms=1.2, p50_ms=0.9, p95_ms=3.1, max_ms=4.4))
    line = LogLine(
        timestamp=last,
        user=login,
        device=laptop,
        ip="100.64.0.7",
        endpoint=route,
        method="GET",
        status=500,
        response_time_ms=31.0,
        app_time_ms=28.4,
        outside_ms=2.6,
        trace_id="4bf92f3577b34da6a3ce929d0e0e4736",
        kind="user",
        tags=(),
        identified_by="localapi",
        identified_at="2025-10-09T09:59:58.310Z",
        key_expired=False,
        path="/items/7",
        service="factory.example",
        traffic="app",
        bytes=5290,
        error_type="ValueError",
    )
    person = UserSessions(
        user=login,
        kind="user",
        sessions=3,
        total_time_hours=1.25,
        favorite_features=("Dashboard", route),
        requests=1204,
        devices=(laptop,),
        last_seen=last,
    )
    up: UptimeFields = {
        "uptime_percentage": 99.5,
        "minutes_with_traffic": 200,
        "minutes_partial": 3,
        "minutes_down": 1,
    }
    return (
        AccessLogs(window=window, summary=summary, logs=(line,), next_cursor="1760003998250000-4611686018427387904"),
        DashboardUsage(
            window=window,
            timezone="Europe/Madrid",
            summary=UsageSummary(**fields_of(summary), total_sessions=3),
            most_viewed_cards=(CardViews(card="prices", name="Prices of today", views=41),),
            peak_hours=(PeakHour(hour=9, requests=310),),
            user_sessions=(person,),
            api_calls_by_endpoint=({route: 1204},),
            api_calls_by_service=(ServiceCalls(service="factory.example", endpoint=route, requests=1204),),
            truncated={},
        ),
        SystemHealth(
            window=window,
            service=None,
            **up,
            uptime_method=METHOD,
            uptime_over_time=(UptimeDay(time=day, **up),),
            uptime_over_time_in_part=(0,),
            uptime_by_service=(UptimeService(service="factory.example", **up),),
            outages=(
                Outage(
                    service="factory.example",
                    start="2025-10-09T09:12:00.000Z",
                    end="2025-10-09T09:13:00.000Z",
                    minutes=1,
                ),
            ),
            api_response_times=(
                EndpointTimes(
                    **fields_of(times),
                    endpoint=route,
                    service="factory.example",
                    count=1204,
                    app=app_times,
                    app_count=1200,
                    proxy_avg_ms=2.75,
                    proxy_count=1200,
                ),
            ),
            truncated={},
            error_rate=ErrorRate(
                overall=rates,
                by_endpoint=(EndpointRates(**fields_of(rates), endpoint=route, service="factory.example"),),
            ),
            over_time=(Step(**fields_of(times), time=hour, requests=1204, errors_5xx=3, error_rate=0.002492),),
            over_time_in_part=(),
            influxdb_query_times=QueryTimes(**spread, store="sqlite", over_time=(QueryHour(**spread, time=hour),)),
            data_freshness_seconds=0.4,
        ),
    )
