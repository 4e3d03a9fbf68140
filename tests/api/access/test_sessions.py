"""Login links and the sessions they lead to: one use, a short life, a fresh session, and an end."""

import asyncio
import json
import secrets

import httpx
import pytest
from typer.testing import CliRunner

from tailtrace_api.access.sessions import LINKS_MAX, SESSIONS_MAX, Sessions, cookie_of, set_cookie
from tailtrace_api.access.tokens import Tokens, WrongTokenError
from tailtrace_api.access.tokens_file import TokensError
from tailtrace_api.commands.cli import app as command_line
from tailtrace_bridge.testing import FakeClock

S = 1_000_000
MINUTE, DAY = 60 * S, 86_400 * S
SECURE = "__Host-tailtrace"
JSON = {"Content-Type": "application/json"}


class Browser:
    """A browser elsewhere, with its own cookies, on an API."""

    def __init__(self, app, **headers):
        self._transport = httpx.ASGITransport(app, client=("203.0.113.5", 4711))
        self._headers, self.cookies = headers, httpx.Cookies()

    def _ask(self, method, path, **more):
        async def one():
            async with httpx.AsyncClient(
                transport=self._transport, base_url="http://test", cookies=self.cookies, timeout=30
            ) as client:
                answer = await client.request(method, path, **more)
                self.cookies = client.cookies
                return answer

        return asyncio.run(one())

    def get(self, path, **headers):
        return self._ask("GET", path, headers={**self._headers, **headers})

    def post(self, path, body, **headers):
        return self._ask("POST", path, content=json.dumps(body), headers={**JSON, **self._headers, **headers})

    def log_in(self, url, **headers):
        return self.post("/login", {"code": url.partition("#")[2]}, **headers)


@pytest.fixture
def api(make_api):
    return make_api(access="token,whois")


@pytest.fixture
def link(tokens, tmp_path, monkeypatch):
    """`link("ana")`: what `tailtrace token link ana` prints."""
    monkeypatch.setenv("TAILTRACE_CHECKPOINT", str(tmp_path / "checkpoint.json"))
    monkeypatch.setenv("TAILTRACE_PUBLIC_URL", "https://stats.example.com/")

    def make(name, *options):
        done = CliRunner().invoke(command_line, ["token", "link", name, *options])
        assert done.exit_code == 0, done.output
        return done.stdout.strip()

    return make


@pytest.fixture
def kept(tmp_path, tokens):
    """The tokens, their sessions and a clock that stands at the first second."""
    clock, made = FakeClock(S), Tokens(tmp_path / "tailtrace.tokens.json")
    return made, Sessions(made.file, clock), clock


def test_a_link_logs_one_browser_in_once(api, link):
    url = link("ana")
    assert url.startswith("https://stats.example.com/login#ttl_")
    ana, thief = Browser(api), Browser(api)
    assert ana.get("/analytics/access-logs").status_code == 401
    done = ana.log_in(url)
    assert (done.status_code, done.content) == (204, b"")
    logs = ana.get("/analytics/access-logs").json()
    assert {line["user"] for line in logs["logs"]} == {"ana@example.com"}
    assert ana.get("/analytics/dashboard-usage").status_code == 403
    assert ana.get("/session").json() == {
        "user": "ana@example.com", "role": "member", "way": "session", "token": "ana",
    }  # fmt: skip
    again = thief.log_in(url)
    assert (again.status_code, "used already" in again.json()["detail"]) == (401, True)
    assert (dict(thief.cookies), thief.get("/session").status_code) == ({}, 401)


def test_whatever_looks_at_a_link_before_its_reader_burns_nothing(api, link):
    """A messenger's preview, a mail scanner: it gets the page, and has no secret to send."""
    url, scanner = link("boss"), Browser(api)
    for method in ("GET", "HEAD"):
        assert scanner._ask(method, "/login").status_code in {200, 503}  # 503: the page may not be built
    assert scanner._ask("GET", f"/login?code={url.partition('#')[2]}").cookies == {}
    assert Browser(api).log_in(url).status_code == 204


def test_the_cookie(api, link):
    plain = Browser(api).log_in(link("ana", "--days", "2")).headers["set-cookie"]
    by_https = Browser(api).log_in(link("ana"), Host="stats.example", Origin="https://stats.example")
    assert by_https.status_code == 400  # a name that the settings do not know
    secure = Browser(api).log_in(link("ana"), Origin="https://test").headers["set-cookie"]
    assert plain.partition("; ")[2] == "Path=/; Max-Age=172800; HttpOnly; SameSite=Lax"
    assert secure.startswith(f"{SECURE}=tts_")
    assert secure.partition("; ")[2] == "Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax; Secure"


def test_a_session_that_a_browser_brings_becomes_none(api, link):
    """Fixation: what somebody put there before the login is not what is logged in afterwards."""
    ana = Browser(api)
    ana.cookies.set("tailtrace", "tts_planted", domain="test.local")
    assert ana.log_in(link("ana")).status_code == 204
    assert ana.cookies["tailtrace"] not in {"", "tts_planted"}
    planted = Browser(api, Cookie="tailtrace=tts_planted")
    assert planted.get("/session").status_code == 401


def test_a_second_login_ends_the_first_session(api, link):
    browser = Browser(api)
    browser.log_in(link("ana"))
    first = Browser(api, Cookie=f"tailtrace={browser.cookies['tailtrace']}")
    assert first.get("/session").json()["token"] == "ana"
    browser.log_in(link("boss"))
    assert browser.get("/session").json() == {"user": None, "role": "admin", "way": "session", "token": "boss"}
    assert first.get("/session").status_code == 401


def test_logging_out(api, link):
    ana = Browser(api)
    ana.log_in(link("ana"))
    copied = Browser(api, Cookie=f"tailtrace={ana.cookies['tailtrace']}")
    assert ana.get("/logout").status_code == 405
    assert copied.get("/session").status_code == 200
    done = ana.post("/logout", {})
    assert (done.status_code, "Max-Age=0" in done.headers["set-cookie"]) == (204, True)
    assert (copied.get("/session").status_code, dict(ana.cookies)) == (401, {})
    assert ana.post("/logout", {}).status_code == 204


ELSEWHERE = [
    ({"Origin": "https://evil.example"}, 403),
    ({"Origin": "null"}, 403),
    ({"Origin": "http://test:81"}, 403),  # another port of this host has the cookie too
    ({"Sec-Fetch-Site": "cross-site"}, 403),
    ({"Sec-Fetch-Site": "same-site"}, 403),
    ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
    ({"Content-Type": "text/plain"}, 415),
]


def test_no_page_elsewhere_logs_in_or_out(api, link):
    ana, url = Browser(api), link("ana")
    asked = [ana.log_in(url, **headers).status_code for headers, _ in ELSEWHERE]
    assert (asked, dict(ana.cookies)) == ([status for _, status in ELSEWHERE], {})
    assert ana.log_in(url).status_code == 204  # nor is the link used up
    asked = [ana.post("/logout", {}, **headers).status_code for headers, _ in ELSEWHERE]
    assert (asked, ana.get("/session").status_code) == ([status for _, status in ELSEWHERE], 200)
    assert ana.post("/logout", {}, Origin="http://test", **{"Sec-Fetch-Site": "same-origin"}).status_code == 204


def test_a_session_changes_nothing_for_a_page_elsewhere(api, link):
    boss = Browser(api)
    boss.log_in(link("boss"))
    for path in ("/analytics/markers", "/mcp", "/anything/new"):
        forged = boss.post(path, {"text": "x"}, Origin="http://test:81")
        assert (forged.status_code, forged.json()["detail"]) == (
            403,
            "this request comes from a page of another origin",
        ), path
    assert boss.post("/analytics/markers", {"text": "shop 1.4 deployed"}, Origin="http://test").status_code == 201


def test_a_revoked_token_logs_everybody_out(api, link, tmp_path):
    ana, waiting = Browser(api), link("ana")
    ana.log_in(link("ana"))
    assert ana.get("/session").status_code == 200
    kept = Tokens(tmp_path / "tailtrace.tokens.json")
    kept.revoke("ana")
    assert ana.get("/session").status_code == 401
    assert Browser(api).log_in(waiting).status_code == 401
    # A new token of the name is another one.
    kept.create("ana", "admin", "", random=secrets.token_urlsafe, now_us=9)
    assert (ana.get("/session").status_code, Browser(api).log_in(waiting).status_code) == (401, 401)


def test_a_session_outlives_the_server_and_the_file_has_no_secret(api, link, make_api, tmp_path):
    ana, url = Browser(api), link("ana")
    ana.log_in(url)
    after = Browser(make_api(access="token"), Cookie=f"tailtrace={ana.cookies['tailtrace']}")
    assert after.get("/session").json()["user"] == "ana@example.com"
    path = tmp_path / "tailtrace.tokens.json"
    link("ana")
    text = path.read_text()
    assert (ana.cookies["tailtrace"][4:] in text, url.partition("#ttl_")[2] in text) == (False, False)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_session_is_a_way_in_only_where_tokens_are(link, make_api, api):
    ana = Browser(api)
    ana.log_in(link("ana"))
    closed = Browser(make_api(access="local,whois"), Cookie=f"tailtrace={ana.cookies['tailtrace']}")
    assert closed.get("/session").status_code == 401


def test_a_session_sends_no_spans(api, link):
    """A page elsewhere that gets a browser to send spans would send its cookie too."""
    boss = Browser(api)
    boss.log_in(link("boss"))
    caller = api._callers.who("203.0.113.5", [("cookie", f"tailtrace={boss.cookies['tailtrace']}")])
    assert (caller.role.name, caller.sends_spans) == ("ADMIN", False)


def test_a_link_is_good_for_some_minutes(kept):
    _, sessions, clock = kept
    late, right = (
        sessions.link("ana", life_us=10 * MINUTE, session_us=DAY, random=secrets.token_urlsafe) for _ in "ab"
    )
    clock.now_us += 10 * MINUTE - 1
    assert sessions.log_in(right, "", random=secrets.token_urlsafe)[1] == 86_400
    clock.now_us += 1
    assert sessions.log_in(late, "", random=secrets.token_urlsafe) is None


def test_a_session_ends_after_its_time(kept):
    _, sessions, clock = kept
    link = sessions.link("boss", life_us=MINUTE, session_us=DAY, random=secrets.token_urlsafe)
    session, _ = sessions.log_in(link, "", random=secrets.token_urlsafe)
    clock.now_us += DAY - 1
    assert (sessions.find(session).name, sessions.count("boss")) == ("boss", 1)
    clock.now_us += 1
    assert (sessions.find(session), sessions.count("boss")) == (None, 0)


def test_links_and_sessions_are_bounded_and_what_is_over_leaves_the_file(kept):
    tokens, sessions, clock = kept

    def link():
        return sessions.link("ana", life_us=MINUTE, session_us=DAY, random=secrets.token_urlsafe)

    links = [link() for _ in range(LINKS_MAX + 1)]
    assert sessions.log_in(links[0], "", random=secrets.token_urlsafe) is None
    for_boss = sessions.link("boss", life_us=MINUTE, session_us=DAY, random=secrets.token_urlsafe)
    boss, _ = sessions.log_in(for_boss, "", random=secrets.token_urlsafe)
    made = [sessions.log_in(link(), "", random=secrets.token_urlsafe)[0] for _ in range(SESSIONS_MAX + 1)]
    assert [sessions.find(one) is not None for one in (made[0], made[1], made[-1], boss)] == [False, True, True, True]
    clock.now_us += 2 * DAY
    link()
    assert (len(tokens.file.now().links), len(tokens.file.now().sessions)) == (1, 0)


def test_who_can_have_no_link(kept):
    _, sessions, _ = kept
    with pytest.raises(TokensError, match="no token 'nobody'; `tailtrace token create` makes one"):
        sessions.link("nobody", life_us=S, session_us=S, random=secrets.token_urlsafe)
    with pytest.raises(WrongTokenError, match="may only send spans"):
        sessions.link("app", life_us=S, session_us=S, random=secrets.token_urlsafe)


def test_the_command_says_what_is_missing(tokens, tmp_path, monkeypatch):
    monkeypatch.setenv("TAILTRACE_CHECKPOINT", str(tmp_path / "checkpoint.json"))

    def run(*words):
        done = CliRunner().invoke(command_line, ["token", *words])
        return done.exit_code, done.output

    status, said = run("link", "ana", "--minutes", "5")
    assert (status, "http://127.0.0.1:8470/login#ttl_" in said, "within 5 minutes" in said) == (0, True, True)
    assert "TAILTRACE_PUBLIC_URL is not set" in said
    assert run("link", "ana", "--minutes", "0")[0] == 2
    assert "logged in 0" in run("list")[1]
    monkeypatch.setenv("TAILTRACE_ACCESS", "local,whois")
    status, said = run("link", "ana")
    assert (status, "TAILTRACE_ACCESS has no `token`" in said) == (2, True)
    monkeypatch.setenv("TAILTRACE_ACCESS", "token")
    monkeypatch.setenv("TAILTRACE_LISTEN", f"unix:{tmp_path}/api.sock")
    status, said = run("link", "ana")
    assert (status, "TAILTRACE_PUBLIC_URL: say where" in said) == (2, True)


@pytest.mark.parametrize(
    ("headers", "secret"),
    [
        (["tailtrace=a"], "a"),
        (["theme=dark; tailtrace=a;x=y"], "a"),
        (["theme=dark"], ""),
        ([f"tailtrace=a; {SECURE}=b"], "b"),  # only a page of this very host can have set that one
        (["tailtrace=a; tailtrace=b"], ""),  # a page of another port put one beside ours
        (["tailtrace=a", "tailtrace=b"], ""),
        (["xtailtrace=a", ""], ""),
    ],
)
def test_the_secret_of_a_request(headers, secret):
    assert cookie_of(headers) == secret


def test_a_cookie_that_is_taken_away():
    gone = set_cookie("", life_s=0, is_https=True)
    assert gone == f"{SECURE}=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax; Secure"
