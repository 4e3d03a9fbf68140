"""A report in another order. Pure.

| by | people | endpoints |
|---|---|---|
| `requests` | most requests first | most calls first |
| `errors` | as they came | most 5xx first |
| `time` | most time first | slowest p95 first, else the mean |
| `name` | by name | by service and name |
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

from tailtrace_api.answers.request_records import EndpointTimes, Report, UserSessions

Sort = Literal["requests", "errors", "time", "name"]
_PEOPLE: dict[Sort, Callable[[UserSessions], Any]] = {
    "requests": lambda row: -row.requests,
    "errors": lambda _row: 0,
    "time": lambda row: -row.total_time_hours,
    "name": lambda row: row.user,
}


def sorted_by(report: Report, by: Sort) -> Report:
    """Return the report with its lists of people and endpoints in that order; what is equal stays as it was."""
    health, usage = report.system_health_history, report.dashboard_usage
    failed = {(row.service, row.endpoint): row.errors_5xx for row in health.error_rate.by_endpoint}
    endpoints: dict[Sort, Callable[[EndpointTimes], Any]] = {
        "requests": lambda row: -row.count,
        "errors": lambda row: -failed.get((row.service, row.endpoint), 0),
        "time": lambda row: -(row.p95_ms or row.avg_ms or 0),
        "name": lambda row: (row.service or "", row.endpoint),
    }
    times = tuple(sorted(health.api_response_times, key=endpoints[by]))
    return replace(
        report,
        dashboard_usage=replace(usage, user_sessions=tuple(sorted(usage.user_sessions, key=_PEOPLE[by]))),
        system_health_history=replace(health, api_response_times=times),
    )
