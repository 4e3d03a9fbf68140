"""The guard: limits, headers, cookies, and what starts and what does not."""

import asyncio
import html
import logging
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from tailtrace_api.access.auth_methods import make_callers, require_way
from tailtrace_api.access.guard import BODY_BYTES_BURST, SECURITY_HEADERS, AccessCounters, Guard, of_spans
from tailtrace_api.access.limits import PEERS_MAX, Buckets, peer_name
from tailtrace_api.access.policy import ROUTES
from tailtrace_api.access.roles import Caller, Role
from tailtrace_api.commands.cli import app as command_line
from tailtrace_bridge.core.errors import SettingsError
from tailtrace_bridge.spans.receiver import ReceiverCounters, make_receiver
from tailtrace_bridge.testing import FakeClock
from tailtrace_bridge.wiring.parts import monotonic_us

S = 1_000_000


def test_a_bucket_fills_with_time():
    clock = FakeClock(0)
    buckets = Buckets(2, 3, clock)
    assert [buckets.wait_s("a", 1) for _ in range(4)] == [0, 0, 0, 0.5]
    assert buckets.wait_s("b", 1) == 0
    clock.now_us += S // 2
    assert [buckets.wait_s("a", 1) for _ in range(2)] == [0, 0.5]
    clock.now_us += 100 * S
    assert [buckets.wait_s("a", 1) for _ in range(4)] == [0, 0, 0, 0.5]


def test_a_debt_is_waited_for():
    clock = FakeClock(0)
    buckets = Buckets(10, 20, clock)
    buckets.charge("a", 50)
    assert buckets.wait_s("a", 0) == 3
    clock.now_us += 3 * S
    assert buckets.wait_s("a", 0) == 0


def test_peers_are_bounded():
    buckets = Buckets(1, 1, FakeClock(0))
    for n in range(PEERS_MAX + 5):
        buckets.wait_s(f"peer {n}", 1)
    assert buckets.peers_forgotten == 5


@pytest.mark.parametrize(
    ("peer", "name"),
    [
        ("203.0.113.5", "203.0.113.5"),
        ("::ffff:203.0.113.5", "203.0.113.5"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("", ""),
    ],
)
def test_who_counts_as_one_peer(peer, name):
    assert peer_name(peer) == name


def test_a_peer_that_asks_too_often(make_api, ask, tokens):
    api = make_api(requests_per_s=1)

    async def talk():
        own = [(await ask(api, "/health")) for _ in range(6)]
        other = await ask(api, "/health", peer="203.0.113.6")
        return own, other

    own, other = asyncio.run(talk())
    assert ([one.status_code for one in own[:4]], own[-1].status_code, other.status_code) == ([200] * 4, 429, 200)
    assert own[-1].headers["retry-after"] == "1"
    assert api.counters.refused[429] == 2


def test_every_answer_has_the_headers_and_no_cookie(make_api, ask, tokens):
    api = make_api()

    async def talk():
        return [
            await ask(api, path, token=token)
            for path in ({*ROUTES, "/nowhere"} - {"/analytics/stream"})
            for token in ("", tokens["admin"])
        ]

    answers = asyncio.run(talk())
    assert {answer.status_code for answer in answers} >= {200, 401, 404, 422}
    for answer in answers:
        assert SECURITY_HEADERS.keys() <= {name.lower() for name in answer.headers}, answer.url
        assert "set-cookie" not in answer.headers
        assert "access-control-allow-origin" not in answer.headers
        assert ("www-authenticate" in answer.headers) == (answer.status_code == 401)


def test_a_browser_of_nobody_is_told_how_to_log_in(make_api, ask):
    async def talk():
        api = make_api()
        return [
            await ask(api, path, headers={"accept": accept})
            for path, accept in (("/", "text/html,*/*"), ("/", "*/*"), ("/session", "text/html,*/*"))
        ]

    page, *others = asyncio.run(talk())
    assert page.status_code == 401
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "You are not logged in" in page.text
    assert "tailtrace token link NAME" in page.text
    assert [html.escape(one.json()["detail"]) in page.text for one in others] == [True, True]


def guard_of(settings, status, header):
    """Before an app that answers so."""

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": status, "headers": [header]})
        await send({"type": "http.response.body", "body": b"x"})

    return Guard(app, make_callers(settings), AccessCounters(), clock=monotonic_us)


def test_an_app_says_by_itself_what_differs(ask, chosen):
    guard = guard_of(chosen(), 200, (b"Cache-Control", b"max-age=60"))
    answer = asyncio.run(ask(guard, "/health", peer="127.0.0.1"))
    assert answer.headers.get_list("cache-control") == ["max-age=60"]
    assert answer.headers["x-frame-options"] == "DENY"


def test_nobody_hears_what_is_wrong_with_the_store(make_api, ask, tokens, monkeypatch):
    from tailtrace_bridge.core.errors import StoreError
    from tailtrace_bridge.store.sqlite.store import SqliteStore

    def fail(*_):
        raise StoreError("store sqlite:/secret/place: broken")

    monkeypatch.setattr(SqliteStore, "newest_us", fail)
    api = make_api()

    async def talk():
        return [(await ask(api, "/ready", token=token)).json() for token in ("", tokens["member"], tokens["admin"])]

    assert [answer["problems"] for answer in asyncio.run(talk())] == [[], [], ["store sqlite:/secret/place: broken"]]


def test_every_503_says_when_to_ask_again(make_api, ask, tokens, monkeypatch):
    from tailtrace_api.http import event_stream
    from tailtrace_bridge.core.errors import StoreError
    from tailtrace_bridge.store.sqlite.store import SqliteStore

    def fail(*_, **__):
        raise StoreError("store sqlite:t.db: broken")

    monkeypatch.setattr(SqliteStore, "newest_us", fail)
    monkeypatch.setattr(SqliteStore, "log", fail)
    monkeypatch.setattr(event_stream, "STREAMS_MAX", 0)
    api = make_api(tailscale_socket="none.sock")
    paths = ("/analytics/access-logs", "/analytics/stream", "/tailnet/devices", "/tailnet/devices/kiosk", "/ready")

    async def talk():
        document = (await ask(api, "/openapi.json", token=tokens["admin"])).json()
        return document, [await ask(api, path, token=tokens["admin"]) for path in paths]

    document, answers = asyncio.run(talk())
    assert [(one.status_code, one.headers.get("retry-after")) for one in answers] == [(503, "5")] * len(paths)
    assert [set(one.json()) for one in answers[:-1]] == [{"detail"}] * (len(paths) - 1)
    assert "Error" in document["components"]["schemas"]
    for path, methods in document["paths"].items():
        for way in methods.values():
            for status in {"429", "503"} & set(way["responses"]):
                assert way["responses"][status]["headers"]["Retry-After"]["required"], (path, status)


def test_an_app_that_knows_better_says_itself_when_to_ask_again(ask, chosen):
    guard = guard_of(chosen(), 503, (b"Retry-After", b"1"))
    answer = asyncio.run(ask(guard, "/health", peer="127.0.0.1"))
    assert answer.headers.get_list("retry-after") == ["1"]


def test_no_secret_in_a_log(make_api, ask, tokens, caplog):
    caplog.set_level(logging.DEBUG)
    api = make_api()
    bad = "ttk_" + "z" * 43

    async def talk():
        return [
            await ask(api, "/analytics/access-logs", token=token) for token in (*tokens.values(), bad, "ghp_notours")
        ]

    answers = asyncio.run(talk())
    said = caplog.text + "".join(answer.text + str(answer.headers) for answer in answers)
    assert [secret for secret in (*tokens.values(), bad) if secret in said] == []


def test_how_long_what_is_kept_is_shown(make_api, ask):
    api = make_api(retention_days=30, rollup_retention_days=365)
    answer = asyncio.run(ask(api, "/ready"))
    assert answer.json()["keeps"] == {"requests_days": 30, "sums_days": None, "pseudonyms": False}


def test_a_websocket_is_closed(make_api):
    sent = []

    async def talk():
        async def receive():
            return {"type": "websocket.connect"}

        async def send(message):
            sent.append(message)

        await make_api()({"type": "websocket", "path": "/", "headers": [], "client": ("127.0.0.1", 1)}, receive, send)

    asyncio.run(talk())
    assert sent == [{"type": "websocket.close", "code": 1008}]


@pytest.mark.parametrize(
    ("who", "status"), [("", 401), ("member", 403), ("spans", 200), ("admin", 200), ("revoked", 401)]
)
def test_the_receiver_beyond_loopback_takes_a_token(ask, chosen, tokens, who, status):
    counters = ReceiverCounters()
    receiver = make_receiver(lambda _spans: True, counters)
    guard = Guard(
        receiver, make_callers(chosen()), AccessCounters(counters.refused), clock=monotonic_us, judge=of_spans
    )
    answer = asyncio.run(
        ask(
            guard, "/v1/traces", method="POST", token=tokens.get(who, ""), content=b"{}",
            headers={"Content-Type": "application/json"},
        )
    )  # fmt: skip
    assert answer.status_code == status
    assert counters.refused == ({} if status == 200 else {status: 1})


def test_a_token_for_spans_sees_nothing(make_api, ask, tokens):
    assert asyncio.run(ask(make_api(), "/analytics/access-logs", token=tokens["spans"])).status_code == 401


def test_a_peer_that_sends_more_bytes_than_its_share(ask):
    class Anyone:
        def who(self, _peer, _headers):
            return Caller(Role.ADMIN, sends_spans=True)

    async def app(scope, receive, send):
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    clock = FakeClock(0)
    guard = Guard(app, Anyone(), AccessCounters(), clock=clock, judge=of_spans)

    async def talk():
        first = await ask(guard, "/v1/traces", method="POST", content=bytes(BODY_BYTES_BURST + 1))
        second = await ask(guard, "/v1/traces", method="POST", content=b"x")
        clock.now_us += S
        return first.status_code, second.status_code, (await ask(guard, "/v1/traces", method="POST")).status_code

    assert asyncio.run(talk()) == (200, 429, 200)


@pytest.mark.parametrize(
    ("field", "address", "more", "has_tokens", "starts"),
    [
        ("listen", "127.0.0.1:1", {}, False, True),
        ("listen", "localhost:1", {}, False, True),
        ("listen", "[::1]:1", {}, False, True),
        ("listen", "0.0.0.0:1", {}, False, False),
        ("listen", "[::]:1", {}, False, False),
        ("listen", "100.64.0.1:1", {}, False, False),
        ("listen", "server.example.com:1", {}, False, False),
        ("listen", ":1", {}, False, False),
        ("listen", "0.0.0.0:1", {"access": "local,whois"}, False, True),
        ("listen", "0.0.0.0:1", {"serve_headers": True}, False, True),
        ("listen", "0.0.0.0:1", {}, True, True),
        ("listen", "0.0.0.0:1", {"access": "local"}, True, False),
        ("bridge_listen", "0.0.0.0:1", {}, False, False),
        ("bridge_listen", "0.0.0.0:1", {}, True, True),
        ("otlp_listen", "0.0.0.0:1", {"access": "local,token,whois"}, False, False),
        ("otlp_listen", "0.0.0.0:1", {}, True, True),
    ],
)
def test_what_starts_beyond_loopback(chosen, request, field, address, more, has_tokens, starts):
    if has_tokens:
        request.getfixturevalue("tokens")
    picked = chosen(**{field: address, **more})
    if starts:
        require_way(picked, field)
        return
    with pytest.raises(
        SettingsError, match=f"TAILTRACE_{field.upper()}: .* is open to others(?s:.*)tailtrace token create"
    ):
        require_way(picked, field)


def test_a_word_that_is_no_way(chosen):
    with pytest.raises(SettingsError, match="no method 'whoise': write local, whois, token"):
        require_way(chosen(listen="0.0.0.0:1", access="whoise"), "listen")


@pytest.mark.parametrize("command", [["serve"], ["api"], ["bridge"]])
def test_the_commands_refuse_and_say_how(tmp_path, command):
    options = ["--listen", "0.0.0.0:0", "--store", f"sqlite:{tmp_path}/t.db"]
    result = subprocess.run(
        [sys.executable, "-m", "tailtrace_api.main", *command, *options],
        capture_output=True, text=True, check=False, cwd=tmp_path, timeout=60,
    )  # fmt: skip
    assert result.returncode == 2
    for how in ("TAILTRACE_ACCESS=local,token,whois", "tailtrace token create NAME --role admin", "127.0.0.1:0"):
        assert how in result.stderr


def test_the_command_makes_lists_and_revokes(tmp_path):
    def run(*words):
        return CliRunner().invoke(command_line, ["token", *words])

    made = run("create", "ana", "--user", "ana@example.com")
    assert (made.exit_code, made.stdout[:4], len(made.stdout.strip())) == (0, "ttk_", 47)
    assert run("list").stdout.startswith("ana  member  ana@example.com  made 20")
    assert made.stdout.strip() not in (tmp_path / "tailtrace.tokens.json").read_text()
    assert run("revoke", "ana").exit_code == 0
    assert run("list", "--json").stdout == '{"tokens": []}\n'
    assert (run("revoke", "ana").exit_code, run("create").exit_code, run("steal").exit_code) == (1, 2, 2)
    assert (run("create", "x").exit_code, run("create", "x", "--role", "king").exit_code) == (2, 2)
    (tmp_path / "tailtrace.tokens.json").write_text("{")
    damaged = run("list")
    assert (damaged.exit_code, damaged.stdout, "damaged (JSONDecodeError)" in damaged.stderr) == (1, "", True)
