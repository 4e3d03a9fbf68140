"""Every route and every tool as nobody, as a member and as an admin, beside the table of what each is to get."""

import asyncio

import pytest
from fastapi.routing import iter_route_contexts

from tailtrace_api.access import policy
from tailtrace_api.access.policy import Reach, reach_of
from tailtrace_api.mcp_server.tools import TOOLS

TRACE = "b" * 32  # a request of Ben's
# What is asked: (status for nobody, for Ana who is a member, for an admin), and whether Ben is in the admin's answer.
EXPECTED = {
    "/health": (200, 200, 200, False),
    "/ready": (200, 200, 200, False),
    "/metrics": (401, 403, 404, False),  # 404: `tailtrace api` has no bridge
    "/openapi.json": (401, 200, 200, False),
    "/": (401, "let in", "let in", False),  # the page and its files may not be built
    "/static/js/components/{name}": (404, 404, 404, False),  # there is no such file
    "/static/{name:path}": (401, 404, 404, False),  # there is no such file
    "/favicon.ico": (401, "let in", "let in", False),
    "/login": ("let in", "let in", "let in", False),
    "/login/{name}": (404, 404, 404, False),
    "/logout": (405, 405, 405, False),  # it takes POST alone: `test_sessions`
    "/session": (401, 200, 200, False),
    "/analytics/stream": (401, 403, 0, False),  # 0: not asked, it has no end
    "/analytics/panels/overview": (401, 200, 200, False),  # it names nobody
    "/analytics/panels/choices": (401, 200, 200, True),
    "/analytics/panels/people": (401, 200, 200, True),
    "/analytics/panels/endpoints": (401, 200, 200, True),
    "/analytics/panels/health": (401, 403, 200, False),
    "/analytics/panels/missing": (401, 200, 200, False),
    "/analytics/panels/requests": (401, 200, 200, True),
    "/analytics/panels/requests/file": (401, 200, 200, True),
    "/analytics/panels/requests/sorted": (401, 200, 200, True),
    "/analytics/panels/requests/forms": (401, 200, 200, False),
    "/analytics/panels/parts": (401, 200, 200, False),  # nothing of these rows has an upstream's time
    "/analytics/panels/parts/{trace_id}": (401, 200, 200, False),
    "/analytics/panels/request/{trace_id}": (401, 200, 200, True),
    "/analytics/panels/trace/{trace_id}": (401, 200, 200, True),  # null for Ana
    "/analytics/access-logs": (401, 200, 200, True),
    "/analytics/dashboard-usage": (401, 403, 200, True),
    "/analytics/system-health-history": (401, 403, 200, True),
    "/analytics/active-users": (401, 200, 200, True),
    "/analytics/usage-stats": (401, 200, 200, True),
    "/analytics/widget": (401, 200, 200, True),  # a feature of his, as it is called here
    "/analytics/variants": (401, 403, 422, False),  # 422: of no card
    "/analytics/system-performance": (401, 403, 200, True),
    "/analytics/compare": (401, 200, 200, True),
    "/analytics/stored": (401, 200, 200, False),
    "/analytics/unused-endpoints": (401, 403, 200, False),
    "/analytics/alerts": (401, 403, 200, False),
    "/analytics/request/{trace_id}": (401, 200, 200, True),
    "/analytics/markers": (401, 403, 405, False),  # it takes POST alone: `test_elsewhere`
    "/analytics/errors": (401, 200, 200, True),
    "/analytics/panels/errors": (401, 200, 200, True),
    "/analytics/panels/markers": (401, 200, 200, False),
    "/analytics/traces/{trace_id}": (401, 404, 200, True),  # 404: it is Ben's
    "/analytics/traces/{trace_id}/otlp": (401, 404, 200, True),  # the path that he asked for
    "/tailnet/devices": (401, 503, 503, False),  # 503: no tailscaled here
    "/tailnet/devices/{device}": (401, 503, 503, False),
    "/tailnet/status": (401, 200, 200, False),
    "/tailnet/whois/{address}": (401, 200, 200, True),
    "/mcp": (401, 400, 400, False),  # 400: no call in it; the tools are asked below
}
FILLED = {
    "{name:path}": "no-such-file",
    "{name}": "no-such-file.js",
    "{trace_id}": TRACE,
    "{device}": "ben-phone",
    "{address}": "100.64.0.8",
}
# Tool: arguments, what Ana gets ("own": hers without Ben; "refused"), and whether Ben is in the admin's answer.
TOOLS_EXPECTED = {
    "get_active_users": ({}, "own", True),
    "get_usage_stats": ({}, "own", True),
    "get_system_performance": ({}, "refused", True),
    "list_requests": ({}, "own", True),
    "explain_request": ({"trace_id": TRACE}, "own", True),
    "what_broke": ({}, "own", True),
    "compare_periods": ({}, "own", True),
    "list_unused_endpoints": ({}, "refused", False),
    "tailscale_list_devices": ({}, "error", False),  # no tailscaled here
    "tailscale_get_device": ({"device": "ben-phone"}, "error", False),
    "tailscale_get_status": ({}, "own", False),
    "tailscale_who_is": ({"address": "100.64.0.8"}, "own", True),
}


@pytest.fixture
def api(make_api, tmp_path):
    (tmp_path / "identities.toml").write_text('"100.64.0.8" = { user = "ben@example.com", device = "ben-phone" }\n')
    return make_api(identities=tmp_path / "identities.toml")


def names_ben(answer):
    return "ben@example.com" in answer or "ben-phone" in answer.replace("/tailnet/devices/ben-phone", "")


def paths_of(guard):
    app = guard.app.api
    return {context.path for context in iter_route_contexts(app.routes)}


def test_every_route_has_an_entry(api):
    assert paths_of(api) == policy.ROUTES.keys() == EXPECTED.keys(), (
        "a route was added or is gone: say in access/policy.py who may see it, and here what each gets"
    )


def test_every_route_as_everybody(api, ask, tokens):
    async def all_of_them():
        found = {}
        for path in EXPECTED:
            asked = path
            for name, value in FILLED.items():
                asked = asked.replace(name, value)
            if path.startswith("/analytics/panels/") and "{trace_id}" not in path and not path.endswith("/forms"):
                asked += "?period=24h" + ("&by=duration" if path.endswith("/sorted") else "")
            everybody = ["", tokens["member"], tokens["admin"]]
            if path == "/analytics/stream":
                statuses = [(await ask(api, asked, token=token)).status_code for token in everybody[:2]]
                found[path] = (*statuses, 0, False)
                continue
            answers = [await ask(api, asked, token=token) for token in everybody]
            statuses = [answer.status_code for answer in answers]
            texts = [answer.text.replace(TRACE, "") for answer in answers]
            if path.endswith("/request/{trace_id}"):
                assert answers[1].json()["found"] is False
            assert not names_ben(texts[0]), path
            # An address that Ana asked for herself may come back to her, but not whose it is.
            assert not names_ben(texts[1]), path
            if EXPECTED[path][2] == "let in" and statuses[2] not in {401, 403}:
                found[path] = (
                    *("let in" if status == statuses[2] else status for status in statuses[:2]), "let in", False,
                )  # fmt: skip
                continue
            found[path] = (*statuses, names_ben(texts[2]))
        return found

    assert asyncio.run(all_of_them()) == EXPECTED


def test_a_member_gets_what_is_theirs(api, ask, tokens):
    async def talk():
        logs = (await ask(api, "/analytics/access-logs", token=tokens["member"])).json()
        own = await ask(api, "/analytics/access-logs?user=ana@example.com", token=tokens["member"])
        others = await ask(api, "/analytics/access-logs?user=ben@example.com", token=tokens["member"])
        usage = (await ask(api, "/analytics/usage-stats", token=tokens["member"])).json()
        compared = (await ask(api, "/analytics/compare", token=tokens["member"])).json()
        panels = {
            name: await ask(api, f"/analytics/panels/{name}", token=tokens["member"])
            for name in (
                "overview?period=24h",
                "choices?period=24h",
                "requests?period=24h",
                "overview?period=24h&user=ben@example.com",
            )
        }
        return logs, own, others, usage, compared, panels

    logs, own, others, usage, compared, panels = asyncio.run(talk())
    overview, choices, requests, of_ben = panels.values()
    assert (overview.json()["only"], choices.json()["users"]) == ("ana@example.com", ["ana@example.com"])
    assert {row["metric"]: row["now"] for row in overview.json()["totals"]}["requests"] == 3
    assert {line["user"] for line in requests.json()["requests"]} == {"ana@example.com"}
    assert of_ben.status_code == 403
    assert (logs["summary"]["total_requests"], {line["user"] for line in logs["logs"]}) == (3, {"ana@example.com"})
    assert own.json()["summary"]["total_requests"] == 3
    assert (others.status_code, others.json()["detail"]) == (
        403,
        "only your own requests are yours to see: leave out user",
    )
    assert (usage["total_requests"], usage["unique_users"]) == (3, 1)
    assert [one["endpoint"] for one in compared["endpoints_new"]] == ["/ana-laptop"]


@pytest.mark.parametrize(
    ("path", "reach"),
    [
        ("/analytics/access-logs", Reach.OWN),
        ("/analytics/access-logs/", Reach.ADMIN),
        ("/analytics/request/abc", Reach.OWN),
        ("/analytics/request/abc/more", Reach.ADMIN),
        ("/analytics/request/", Reach.ADMIN),
        ("//health", Reach.ADMIN),
        ("/health\n", Reach.ADMIN),
        ("/anything/new", Reach.ADMIN),
        ("/HEALTH", Reach.ADMIN),
    ],
)
def test_what_stands_in_no_table_is_closed(path, reach):
    assert reach_of(path) is reach


def test_every_tool_has_an_entry():
    assert {tool.name for tool in TOOLS} == policy.TOOLS.keys() == TOOLS_EXPECTED.keys(), (
        "a tool was added or is gone: say in access/policy.py who may call it, and here what each gets"
    )
    assert policy.reach_of_tool("no_such_tool") is Reach.ADMIN


def test_every_tool_as_everybody(api, ask, tokens):
    async def call(name, arguments, token):
        body = {
            "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": name, "arguments": arguments},
        }  # fmt: skip
        headers = {"Accept": "application/json, text/event-stream", "Host": "127.0.0.1"}
        return await ask(api, "/mcp", method="POST", token=token, json=body, headers=headers)

    async def all_of_them():
        found = {}
        for name, (arguments, _, _) in TOOLS_EXPECTED.items():
            nobody = await call(name, arguments, "")
            assert nobody.status_code == 401
            member = (await call(name, arguments, tokens["member"])).json()["result"]
            admin = (await call(name, arguments, tokens["admin"])).json()["result"]
            said = member["content"][0]["text"]
            got = "refused" if said == policy.ADMINS_ONLY else "error" if member.get("isError") else "own"
            assert not names_ben(str(member)), name
            found[name] = (arguments, got, names_ben(str(admin)))
        return found

    assert asyncio.run(all_of_them()) == TOOLS_EXPECTED


def test_a_page_elsewhere_can_read_why_it_was_refused(api, ask, tokens):
    from tailtrace_api.http.cors import PagesElsewhere

    app = PagesElsewhere(api, ["https://page.example"])
    headers = {"Origin": "https://page.example"}

    async def both():
        refused = await ask(app, "/analytics/widget", headers=headers)
        member = await ask(app, "/analytics/widget", headers=headers, token=tokens["member"])
        admin = await ask(app, "/analytics/widget", headers=headers, token=tokens["admin"])
        return refused, member, admin

    answers = asyncio.run(both())
    assert [answer.status_code for answer in answers] == [401, 200, 200]
    assert {answer.headers["access-control-allow-origin"] for answer in answers} == {"https://page.example"}
    assert [answer.json().get("unique_users") for answer in answers] == [None, 1, 2]
    assert [answer.json().get("total_requests") for answer in answers] == [None, 3, 6]
