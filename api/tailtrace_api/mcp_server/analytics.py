"""The tools on who uses what, how fast, and what broke: their names, parameters and what shows their answers."""

from tailtrace_api.answers.errors import WhatBroke
from tailtrace_api.answers.insight_records import ActiveUsers, Performance, Periods, UnusedEndpoints, UsageStats
from tailtrace_api.answers.request_records import AccessLogs
from tailtrace_api.mcp_server.broken import WhatBrokeOutput, what_broke
from tailtrace_api.mcp_server.explained import Explained
from tailtrace_api.mcp_server.outputs import (
    ActiveUsersOutput,
    PerformanceOutput,
    PeriodsOutput,
    RequestsOutput,
    TraceOutput,
    UsageStatsOutput,
)
from tailtrace_api.mcp_server.parameters import Moment, Number, Text
from tailtrace_api.mcp_server.performance import compare_periods, system_performance
from tailtrace_api.mcp_server.requests import explain_request, list_requests
from tailtrace_api.mcp_server.tool import AnyTool, Tool
from tailtrace_api.mcp_server.usage import active_users, unused_endpoints, usage_stats
from tailtrace_api.queries.insights import TRACE_HOURS_MAX

ROWS_DEFAULT = 10
ROWS_MAX = 50
TOP_SHOWN = 5
GROUP = "analytics"
_LIMIT = Number("limit", ROWS_DEFAULT, 1, ROWS_MAX)
_SERVICE = Text("service", ".+", "factory.example")
_AT = Moment("at", ".+", "2025-10-08T14:32:15Z", "end of the window; now if left out")

TOOLS: tuple[AnyTool, ...] = (
    Tool(
        "get_active_users",
        GROUP,
        "Who is using the app now: people with a request in the last 5 minutes, their device and page.",
        ActiveUsers,
        (_LIMIT,),
        ActiveUsersOutput,
        active_users,
        "users",
    ),
    Tool(
        "get_usage_stats",
        GROUP,
        "How much the app is used: sessions, people, most used features.",
        UsageStats,
        (Number("days", 7, 1, 30), _AT, Number("limit", TOP_SHOWN, 1, 10)),
        UsageStatsOutput,
        usage_stats,
        "features",
    ),
    Tool(
        "get_system_performance",
        GROUP,
        "How fast and how healthy 7 days were, and whether proxy, app or store is to blame.",
        Performance,
        (_AT, _SERVICE, Number("limit", TOP_SHOWN, 1, 10)),
        PerformanceOutput,
        system_performance,
        "endpoints",
    ),
    Tool(
        "list_requests",
        GROUP,
        "Single requests, newest first: who, what, status, time, trace id.",
        AccessLogs,
        (
            Number("hours", 24, 1, 168),
            _AT,
            Text("user", ".+", "ana@example.com", "a login or an address"),
            Text("endpoint", "/.*|__other__", "/items/{item_id}", "a route; __other__: other addresses"),
            Text("status", "[1-5]xx|[0-9]{3}", "5xx", "a code or a class like 5xx"),
            _SERVICE,
            Number("limit", 8, 1, ROWS_MAX),
        ),
        RequestsOutput,
        list_requests,
        "requests",
        limit_goes_along=True,
    ),
    Tool(
        "explain_request",
        GROUP,
        "One request by trace id: nginx line, app span, who, where the time went, which code failed.",
        Explained,
        (
            Text(
                "trace_id",
                "[0-9a-fA-F]{32}",
                "4bf92f3577b34da6a3ce929d0e0e4736",
                "32 hex digits",
                required=True,
            ),
            Number("hours", 24, 1, TRACE_HOURS_MAX, "how far back to look"),
            Moment("at", ".+", "2025-10-08T14:32:15Z", "its timestamp, if known: finds an old one at once"),
        ),
        TraceOutput,
        explain_request,
    ),
    Tool(
        "what_broke",
        GROUP,
        "What broke, whom it hit, and deployments: failures in groups.",
        WhatBroke,
        (Number("hours", 24, 1, 720), _AT, Number("limit", TOP_SHOWN, 1, ROWS_MAX)),
        WhatBrokeOutput,
        what_broke,
        "groups",
    ),
    Tool(
        "compare_periods",
        GROUP,
        "The last days beside as many days before: traffic, people, speed, errors.",
        Periods,
        (Number("days", 7, 1, 30), _AT, _SERVICE, Number("limit", TOP_SHOWN, 1, 10)),
        PeriodsOutput,
        compare_periods,
        "endpoints",
    ),
    Tool(
        "list_unused_endpoints",
        GROUP,
        "Endpoints that nobody used.",
        UnusedEndpoints,
        (Number("days", 30, 1, 30), _AT, _LIMIT),
        UnusedEndpoints,
        unused_endpoints,
        "endpoints",
    ),
)
