"""No text of a stranger is an order to the terminal that `tailtrace report` is read in."""

import io

import pytest
from rich.console import Console

from tailtrace_api.answers.record import fields_of
from tailtrace_api.answers.request_records import (
    AccessLogs,
    CardViews,
    DashboardUsage,
    EndpointRates,
    EndpointTimes,
    ErrorRate,
    Outage,
    PeakHour,
    QueryTimes,
    Rates,
    Report,
    ServiceCalls,
    Summary,
    SystemHealth,
    Times,
    UptimeService,
    UsageSummary,
    UserSessions,
)  # fmt: skip
from tailtrace_api.terminal.report import print_report

ORDERS = "\x1b[2J\x1b]0;evil\x07\x9b31m\r\u202e\u200b"


def answers(text):
    window = {"from": "2025-10-07T14:00:00Z", "to": "2025-10-08T14:00:00Z"}
    counts = {
        "total_requests": 1, "unique_users": 1, "unique_devices": 1, "unique_addresses": 1,
        "avg_response_time_ms": 1.0, "errors_5xx": 0,
    }  # fmt: skip
    rates = {"requests": 1, "errors_5xx": 0, "errors_4xx": 0, "client_closed_499": 0, "error_rate": 0.0}
    times = Times(avg_ms=1.0, p50_ms=1.0, p95_ms=1.0, p99_ms=1.0)
    person = UserSessions(
        user=f"u{text}", kind="user", sessions=1, total_time_hours=1.0, requests=1, devices=(),
        favorite_features=(f"f{text}",), last_seen="2025-10-08T13:59:00Z",
    )  # fmt: skip
    up = {"uptime_percentage": 100.0, "minutes_with_traffic": 1, "minutes_partial": 0, "minutes_down": 0}
    return Report(
        access_logs=AccessLogs(window=window, summary=Summary(**counts), logs=(), next_cursor=None),
        dashboard_usage=DashboardUsage(
            timezone="UTC",
            window=window,
            summary=UsageSummary(**counts, total_sessions=1),
            user_sessions=(person,),
            most_viewed_cards=(CardViews(card="c", name=f"c{text}", views=1),),
            peak_hours=tuple(PeakHour(hour=hour, requests=1) for hour in range(24)),
            api_calls_by_endpoint=(),
            api_calls_by_service=(ServiceCalls(service=f"s{text}", endpoint=f"e{text}", requests=1),),
            truncated={},
        ),
        system_health_history=SystemHealth(
            window=window,
            error_rate=ErrorRate(
                overall=Rates(**rates), by_endpoint=(EndpointRates(**rates, endpoint=f"e{text}", service=f"s{text}"),)
            ),
            truncated={},
            api_response_times=(
                EndpointTimes(
                    **fields_of(times),
                    endpoint=f"e{text}",
                    service=f"s{text}",
                    count=1,
                    app=times,
                    app_count=0,
                    proxy_avg_ms=None,
                    proxy_count=0,
                ),
            ),
            service=None,
            **up,
            uptime_method="traffic",
            uptime_over_time=(),
            uptime_over_time_in_part=(),
            uptime_by_service=(UptimeService(service=f"s{text}", **up),),
            outages=(Outage(service=f"s{text}", start="2025-10-08T12:00", end="2025-10-08T12:01", minutes=1),),
            over_time=(),
            over_time_in_part=(),
            influxdb_query_times=QueryTimes(
                store="sqlite", count=0, avg_ms=None, p50_ms=None, p95_ms=None, max_ms=None, over_time=()
            ),
            data_freshness_seconds=None,
        ),
    )


@pytest.mark.parametrize("lang", ["en", "es"])
def test_the_report_holds_no_order(lang):
    out = io.StringIO()
    print_report(Console(file=out, width=400), answers(ORDERS), lang)
    said = out.getvalue()
    assert [char for char in said if not char.isprintable() and char != "\n"] == []
    shown = r"\x1b[2J\x1b]0;evil\x07\x9b31m\r\u202e\u200b"
    assert [f"{who}{shown}" in said for who in "ufce"] == [True] * 4
