"""The one table of who may see what. Pure.

| reach | nobody | a member | an admin |
|---|---|---|---|
| `ALL` | yes | yes | yes |
| `OWN` | 401 | what is theirs: the answer is filtered by their login | all |
| `ADMIN` | 401 | 403 | all |

What stands in no table is `ADMIN`: a route or a tool that somebody adds and forgets here is closed. An answer that
cannot be restricted to one person (totals of everybody, the state of the system) is `ADMIN` as well.
"""

import re
from collections.abc import Mapping
from enum import Enum

from tailtrace_api.access.roles import Role


class Reach(Enum):
    """Who reaches something: the lowest role that does."""

    ALL = Role.NOBODY
    OWN = Role.MEMBER
    ADMIN = Role.ADMIN


ROUTES: Mapping[str, Reach] = {
    "/health": Reach.ALL,
    "/ready": Reach.ALL,  # what is wrong is told to admins only
    "/metrics": Reach.ADMIN,
    "/openapi.json": Reach.OWN,
    # The page holds no data. A member's has fewer boxes, and asks from time to time: the stream tells of everybody.
    "/": Reach.OWN,
    "/static/js/components/{name}": Reach.ALL,  # pages of other origins load them; they hold no data
    "/static/{name:path}": Reach.OWN,
    "/favicon.ico": Reach.OWN,
    # Who logs in is nobody yet; who logs out may be nobody any more.
    "/login": Reach.ALL,
    "/login/{name}": Reach.ALL,
    "/logout": Reach.ALL,
    "/session": Reach.OWN,
    "/analytics/stream": Reach.ADMIN,
    "/analytics/panels/overview": Reach.OWN,
    "/analytics/panels/choices": Reach.OWN,
    "/analytics/panels/people": Reach.OWN,
    "/analytics/panels/endpoints": Reach.OWN,
    "/analytics/panels/health": Reach.ADMIN,
    "/analytics/panels/missing": Reach.OWN,
    "/analytics/panels/requests": Reach.OWN,
    "/analytics/panels/requests/file": Reach.OWN,
    "/analytics/panels/requests/sorted": Reach.OWN,
    "/analytics/panels/requests/forms": Reach.OWN,
    "/analytics/panels/parts": Reach.OWN,
    "/analytics/panels/parts/{trace_id}": Reach.OWN,
    "/analytics/panels/request/{trace_id}": Reach.OWN,
    "/analytics/panels/trace/{trace_id}": Reach.OWN,
    "/analytics/access-logs": Reach.OWN,
    "/analytics/dashboard-usage": Reach.ADMIN,
    "/analytics/system-health-history": Reach.ADMIN,
    "/analytics/active-users": Reach.OWN,
    "/analytics/usage-stats": Reach.OWN,
    "/analytics/widget": Reach.OWN,
    "/analytics/variants": Reach.ADMIN,
    "/analytics/system-performance": Reach.ADMIN,
    "/analytics/compare": Reach.OWN,
    "/analytics/stored": Reach.OWN,
    "/analytics/unused-endpoints": Reach.ADMIN,
    "/analytics/alerts": Reach.ADMIN,
    "/analytics/request/{trace_id}": Reach.OWN,
    "/analytics/errors": Reach.OWN,  # a member's names and traces are their own
    "/analytics/panels/errors": Reach.OWN,
    "/analytics/panels/markers": Reach.OWN,  # they are about nobody
    "/analytics/markers": Reach.ADMIN,
    "/analytics/traces/{trace_id}": Reach.OWN,
    "/analytics/traces/{trace_id}/otlp": Reach.OWN,
    "/tailnet/devices": Reach.OWN,
    "/tailnet/devices/{device}": Reach.OWN,
    "/tailnet/status": Reach.OWN,
    "/tailnet/whois/{address}": Reach.OWN,
    "/mcp": Reach.OWN,  # then `TOOLS`
}
TOOLS: Mapping[str, Reach] = {
    "get_active_users": Reach.OWN,
    "get_usage_stats": Reach.OWN,
    "get_system_performance": Reach.ADMIN,
    "list_requests": Reach.OWN,
    "explain_request": Reach.OWN,
    "what_broke": Reach.OWN,
    "compare_periods": Reach.OWN,
    "list_unused_endpoints": Reach.ADMIN,
    "tailscale_list_devices": Reach.OWN,
    "tailscale_get_device": Reach.OWN,
    "tailscale_get_status": Reach.OWN,
    "tailscale_who_is": Reach.OWN,
}
ADMINS_ONLY = "only an admin may see this: it is about everybody, and cannot be restricted to you"


def _pattern(path: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)(:path)?\}", path)
    text = "".join(
        re.escape(part) if place % 3 == 0 else "" if place % 3 == 1 else (".+" if part else "[^/]+")
        for place, part in enumerate(parts)
    )
    return re.compile(text)


_PATTERNS = [(_pattern(path), reach) for path, reach in ROUTES.items()]


def reach_of(path: str) -> Reach:
    """Return the reach of a path as it was asked for, percent signs undone."""
    return next((reach for pattern, reach in _PATTERNS if pattern.fullmatch(path)), Reach.ADMIN)


def reach_of_tool(name: str) -> Reach:
    """Return the reach of an MCP tool."""
    return TOOLS.get(name, Reach.ADMIN)


def is_allowed(role: Role, reach: Reach) -> bool:
    """Whether a role may ask at all."""
    return role >= reach.value
