"""Pages of other origins can change nothing and read nothing that is not meant for them; no page of ours loads theirs."""

import asyncio
import json

import httpx
import pytest
from fastapi.routing import iter_route_contexts

from tailtrace_api.access.guard import SECURITY_HEADERS
from tailtrace_api.http.cors import PagesElsewhere
from tailtrace_api.http.page_files import POLICY
from tailtrace_bridge.spans.receiver import make_receiver

EVIL = {"Origin": "https://evil.example"}


@pytest.fixture
def api(make_api):
    guard = make_api(access="token")
    return PagesElsewhere(guard, ["https://intranet.example"])


def test_nothing_is_changed_by_a_route_except_these(make_api):
    """What a forged request could do is nothing: the others are tried one by one, here and in `test_sessions`."""
    methods = {context.path: context.methods for context in iter_route_contexts(make_api().app.api.routes)}
    others = {path for path, allowed in methods.items() if not allowed or allowed - {"GET", "HEAD"}}
    assert others == {"/mcp", "/analytics/markers", "/login", "/logout"}


def test_a_marker_is_an_admins_and_none_of_a_page_elsewhere(make_api, ask, tokens):
    api = make_api(access="local,token")
    body = json.dumps({"text": "shop 1.4 deployed"})

    async def post(who="admin", **headers):
        token = {"token": tokens[who]} if who else {}
        given = {"Content-Type": "application/json", **headers}
        answer = await ask(api, "/analytics/markers", method="POST", headers=given, content=body, **token)
        return answer.status_code

    async def talk():
        return [
            await post("member"),
            await post(**{"Content-Type": "text/plain"}),
            await post(**{"Content-Type": "application/x-www-form-urlencoded"}),
            await post(**EVIL),
            await post(Origin="null"),
            await post(**{"Sec-Fetch-Site": "cross-site"}),
            await post(**{"Sec-Fetch-Site": "same-site"}),
            await post(),
            await post(Origin="http://test", **{"Sec-Fetch-Site": "same-origin"}),
        ]

    assert asyncio.run(talk()) == [403, 415, 415, 403, 403, 403, 403, 201, 201]
    asked = {**EVIL, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    answer = asyncio.run(ask(api, "/analytics/markers", method="OPTIONS", headers=asked))
    assert [name for name in answer.headers if name.startswith("access-control")] == []


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"text": "deployed", "time": "yesterday"}, ["body", "time"]),
        ({"text": "deployed", "at": "2026-10-09T10:00:00Z"}, ["body", "at"]),
        ({"text": " "}, ["body", "text"]),
        ({}, ["body", "text"]),
    ],
)
def test_a_marker_that_is_not_understood_is_not_written_down(make_api, ask, tokens, body, where):
    answer = asyncio.run(
        ask(
            make_api(access="local,token"), "/analytics/markers", method="POST", token=tokens["admin"],
            headers={"Content-Type": "application/json"}, content=json.dumps(body),
        )
    )  # fmt: skip
    assert (answer.status_code, [one["loc"] for one in answer.json()["detail"]]) == (422, [where])


@pytest.mark.parametrize(
    "path", ["/", "/analytics/access-logs", "/openapi.json", "/metrics", "/mcp", "/analytics/widget"]
)
def test_no_page_elsewhere_may_read(api, ask, tokens, path):
    async def talk():
        asked = {**EVIL, "Access-Control-Request-Method": "GET"}
        return [
            await ask(api, path, method="GET" if path != "/mcp" else "POST", headers=EVIL, token=tokens["admin"]),
            await ask(api, path, method="OPTIONS", headers=asked),
        ]

    for answer in asyncio.run(talk()):
        assert "access-control-allow-origin" not in answer.headers


def test_a_page_that_the_settings_name_may_read_the_widget(api, ask, tokens):
    """What the test above looks for would be there."""
    named = {"Origin": "https://intranet.example"}
    answer = asyncio.run(ask(api, "/analytics/widget", headers=named, token=tokens["admin"]))
    assert answer.headers["access-control-allow-origin"] == "https://intranet.example"


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data", 415),
        ("", 415),
        ("application/json", 200),
    ],
)
def test_no_form_elsewhere_sends_spans(kind, status):
    """The three types that a browser sends without asking first are none that the receiver takes."""

    async def send():
        transport = httpx.ASGITransport(make_receiver(lambda _spans: True))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:4318") as client:
            asked = await client.options("/v1/traces", headers={**EVIL, "Access-Control-Request-Method": "POST"})
            body = json.dumps({"resourceSpans": []}).encode()
            return asked, await client.post("/v1/traces", content=body, headers={**EVIL, "Content-Type": kind})

    asked, sent = asyncio.run(send())
    assert (asked.status_code, sent.status_code) == (405, status)
    assert [name for name in (*asked.headers, *sent.headers) if name.startswith("access-control")] == []


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/docs/oauth2-redirect"])
def test_there_is_no_page_with_scripts_of_a_cdn(make_api, ask, tokens, path):
    answer = asyncio.run(ask(make_api(access="token"), path, token=tokens["admin"]))
    assert answer.status_code == 404


@pytest.mark.parametrize("policy", [SECURITY_HEADERS["content-security-policy"], POLICY])
def test_a_policy_names_no_other_host_and_nothing_inline(policy):
    assert [word for word in ("http", "//", "unsafe", "data:", "blob:", "*") if word in policy] == []
    assert "frame-ancestors 'none'" in policy
