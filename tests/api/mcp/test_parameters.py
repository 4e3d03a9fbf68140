"""Arguments: what is taken, and the message for what is not."""

import pytest

from tailtrace_api.mcp_server.parameters import WrongArgumentError, check, schema
from tailtrace_api.mcp_server.tools import TOOLS, select

BY_NAME = {tool.name: tool for tool in TOOLS}


@pytest.mark.parametrize(
    ("tool", "given", "taken"),
    [
        ("get_usage_stats", {}, {"days": 7, "limit": 5}),
        ("get_usage_stats", {"days": 30}, {"days": 30, "limit": 5}),
        ("get_usage_stats", {"days": "14", "limit": 2.0}, {"days": 14, "limit": 2}),
        ("get_usage_stats", {"days": None}, {"days": 7, "limit": 5}),
        ("list_requests", {"status": "5xx"}, {"hours": 24, "status": "5xx", "limit": 8}),
        ("tailscale_who_is", {"address": "::ffff:100.64.0.2"}, {"address": "100.64.0.2"}),
        ("tailscale_get_status", {}, {}),
        (
            "get_usage_stats",
            {"at": "2025-10-08T14:32:15+02:00"},
            {"days": 7, "at": "2025-10-08T12:32:15+00:00", "limit": 5},
        ),
        (
            "explain_request",
            {"trace_id": "a" * 32, "at": "2025-10-08T14:32:15.5+02:00"},
            {"trace_id": "a" * 32, "hours": 24, "at": "2025-10-08T12:32:15.500000+00:00"},
        ),
        (
            "explain_request",
            {"trace_id": "a" * 32, "at": "2025-10-08"},
            {"trace_id": "a" * 32, "hours": 24, "at": "2025-10-08T00:00:00+00:00"},
        ),
    ],
)
def test_taken(tool, given, taken):
    assert check(tool, BY_NAME[tool].parameters, given) == taken


@pytest.mark.parametrize(
    ("tool", "given", "message"),
    [
        ("get_usage_stats", {"days": 0}, 'days: 0 is wrong; give a whole number from 1 to 30, such as {"days": 7}'),
        ("get_usage_stats", {"days": True}, 'days: True is wrong; give a whole number from 1 to 30, such as {"days": 7}'),
        ("get_usage_stats", {"days": 1.5}, 'days: 1.5 is wrong; give a whole number from 1 to 30, such as {"days": 7}'),
        ("get_usage_stats", {"day": 7}, "get_usage_stats has no argument 'day'; it takes days, at, limit"),
        ("tailscale_get_status", {"x": 1}, "tailscale_get_status has no argument 'x'; it takes no arguments"),
        ("explain_request", {}, 'explain_request needs trace_id: 32 hex digits, such as {"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"}'),
        ("explain_request", {"trace_id": "xyz"}, "trace_id: 'xyz' is wrong; give 32 hex digits, such as"),
        ("list_requests", {"status": "6xx"}, "status: '6xx' is wrong; give a code or a class like 5xx, such as"),
        ("tailscale_who_is", {"address": "100.64.0.7:80"}, "address: '100.64.0.7:80' is no address; give IPv4 or IPv6, without a port, such as"),
        ("tailscale_get_device", {"device": ["a"]}, "device: ['a'] is wrong; give name, address or node id, such as"),
        ("list_requests", {"at": "now"}, "at: 'now' is no time; give end of the window; now if left out, such as"),
        ("compare_periods", {"at": "1969-12-31"}, "at: '1969-12-31' is no time; give end of the window"),
        ("list_unused_endpoints", {"at": "0001-01-01T00:00+14:00"}, "at: '0001-01-01T00:00+14:00' is no time"),
        ("get_usage_stats", {"days": "9" * 999}, "days: '999"),
        ("explain_request", {"trace_id": "0" * 32, "at": "yesterday"}, "at: 'yesterday' is no time; give its timestamp, if known"),
    ],
)  # fmt: skip
def test_refused_with_the_right_form(tool, given, message):
    with pytest.raises(WrongArgumentError) as wrong:
        check(tool, BY_NAME[tool].parameters, given)
    assert str(wrong.value).startswith(message)
    assert len(str(wrong.value)) < 250


def test_schema_of_a_tool():
    assert schema(BY_NAME["explain_request"].parameters) == {
        "type": "object",
        "properties": {
            "trace_id": {"type": "string", "description": "32 hex digits"},
            "hours": {"type": "integer", "default": 24, "minimum": 1, "maximum": 720, "description": "how far back to look"},
            "at": {"type": "string", "description": "its timestamp, if known: finds an old one at once"},
        },
        "required": ["trace_id"],
        "additionalProperties": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("wanted", "count"), [(None, 12), ("", 12), ("analytics", 8), ("tailscale", 4), ("analytics,tailscale", 12), ("get_active_users, tailscale_who_is", 2)]
)  # fmt: skip
def test_select(wanted, count):
    assert len(select(wanted)) == count


def test_select_something_unknown():
    with pytest.raises(
        WrongArgumentError, match=r"--tools: there is no x; write groups \(analytics, tailscale\) or names"
    ):
        select("analytics,x")
