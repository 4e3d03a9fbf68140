"""No text of a stranger is an order to the terminal that `tailtrace report` is read in."""

import io

import pytest
from rich.console import Console

from tailtrace_api.terminal.report import print_report

ORDERS = "\x1b[2J\x1b]0;evil\x07\x9b31m\r\u202e\u200b"


def answers(text):
    return {
        "dashboard_usage": {
            "timezone": "UTC",
            "window": {"from": "2025-10-07T14:00:00Z", "to": "2025-10-08T14:00:00Z"},
            "summary": {
                "total_requests": 1,
                "unique_users": 1,
                "unique_devices": 1,
                "unique_addresses": 1,
                "avg_response_time_ms": 1.0,
                "errors_5xx": 0,
            },
            "user_sessions": [
                {
                    "user": f"u{text}",
                    "sessions": 1,
                    "total_time_hours": 1.0,
                    "requests": 1,
                    "favorite_features": [f"f{text}"],
                    "last_seen": "2025-10-08T13:59:00Z",
                }
            ],
            "most_viewed_cards": [{"name": f"c{text}", "views": 1}],
            "peak_hours": [{"requests": 1}] * 24,
            "truncated": {},
        },
        "system_health_history": {
            "error_rate": {
                "overall": {"requests": 1, "errors_5xx": 0, "error_rate": 0.0},
                "by_endpoint": [{"endpoint": f"e{text}", "errors_5xx": 0}],
            },
            "truncated": {},
            "api_response_times": [
                {
                    "endpoint": f"e{text}",
                    "count": 1,
                    "p50_ms": 1.0,
                    "p95_ms": 1.0,
                    "p99_ms": 1.0,
                    "app": {"p95_ms": None},
                }
            ],
            "uptime_percentage": 100.0,
            "minutes_with_traffic": 1,
        },
    }


@pytest.mark.parametrize("lang", ["en", "es"])
def test_the_report_holds_no_order(lang):
    out = io.StringIO()
    print_report(Console(file=out, width=400), answers(ORDERS), lang)
    said = out.getvalue()
    assert [char for char in said if not char.isprintable() and char != "\n"] == []
    shown = r"\x1b[2J\x1b]0;evil\x07\x9b31m\r\u202e\u200b"
    assert [f"{who}{shown}" in said for who in "ufce"] == [True] * 4
