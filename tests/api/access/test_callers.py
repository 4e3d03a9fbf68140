"""Who asks: one line for each kind of request, and who it is taken for."""

import os
import time

import pytest

from tailtrace_api.access.callers import KNOWN_US, Admins, Callers
from tailtrace_api.access.roles import Role
from tailtrace_api.access.tokens import Tokens, TokensError
from tailtrace_bridge.core.records import Identity
from tailtrace_bridge.identity.chain import Found, NotFound, Unavailable
from tailtrace_bridge.identity.loopback import THIS_MACHINE, USERSPACE, Verdict
from tailtrace_bridge.identity.proxies import LOOPBACK, Proxies
from tailtrace_bridge.identity.static_file import IdentityFile
from tailtrace_bridge.testing import FakeClock

CAPABILITY = "tailtrace.dev/cap/admin"


class FakeLocalApi:
    """Ana and Zoe are people, Zoe with the capability; one device has tags, another tags and the capability."""

    def __init__(self):
        self.asked, self.is_up = 0, True

    def whois_with_capabilities(self, address):
        self.asked += 1
        if not self.is_up:
            return Unavailable("no socket"), frozenset()
        return {
            "100.64.0.7": (Found(Identity(address, "user", "ana@example.com", "laptop")), frozenset()),
            "fd7a:115c:a1e0::9": (Found(Identity(address, "user", "zoe@example.com", "pc")), frozenset({CAPABILITY})),
            "100.64.0.20": (Found(Identity(address, "tagged", "", "kiosk", tags="tag:kiosk")), frozenset()),
            "100.64.0.21": (Found(Identity(address, "tagged", "", "bot", tags="tag:bot")), frozenset({CAPABILITY})),
        }.get(address, (NotFound(), frozenset()))


@pytest.fixture
def local_api():
    return FakeLocalApi()


@pytest.fixture
def clock():
    return FakeClock(0)


@pytest.fixture
def make(tmp_path, local_api, clock):
    (tmp_path / "names.toml").write_text('"192.168.1.5" = { user = "eve@example.com" }\n')

    def make_callers(auth_methods="local,token,whois", admins=("Boss@example.com",), **more):
        return Callers(
            frozenset(auth_methods.split(",")), Admins(admins), CAPABILITY, Tokens(tmp_path / "t.json"), local_api, clock,
            IdentityFile(tmp_path / "names.toml", clock=clock), **{"loopback": lambda: THIS_MACHINE, **more},
        )  # fmt: skip

    return make_callers


SERVE_PEERS = Proxies(["unix:", *LOOPBACK])
SERVE = {"x-forwarded-for": "100.64.0.7", "tailscale-user-login": "ana@example.com"}


@pytest.mark.parametrize(
    ("peer", "headers", "role", "login", "way"),
    [
        ("127.0.0.1", {}, Role.ADMIN, "", "local"),
        ("::1", {}, Role.ADMIN, "", "local"),
        ("::ffff:127.0.0.1", {}, Role.ADMIN, "", "local"),
        # Behind a proxy of this machine every peer is loopback: no admin at the machine.
        ("127.0.0.1", {"x-forwarded-for": "127.0.0.1"}, Role.NOBODY, "", ""),
        ("127.0.0.1", {"x-real-ip": "1.2.3.4"}, Role.NOBODY, "", ""),
        ("127.0.0.1", {"forwarded": "for=1.2.3.4"}, Role.NOBODY, "", ""),
        ("127.0.0.1", {"via": "1.1 proxy"}, Role.NOBODY, "", ""),
        ("127.0.0.1", {"x-forwarded-proto": ""}, Role.NOBODY, "", ""),
        ("::1", {"tailscale-headers-info": "x"}, Role.NOBODY, "", ""),
        ("127.0.0.1", SERVE, Role.NOBODY, "", ""),
        # By whois.
        ("100.64.0.7", {}, Role.MEMBER, "ana@example.com", "whois"),
        ("::ffff:100.64.0.7", {}, Role.MEMBER, "ana@example.com", "whois"),
        ("100.64.0.7", {"tailscale-user-login": "boss@example.com"}, Role.MEMBER, "ana@example.com", "whois"),
        ("100.64.0.7", {"x-forwarded-for": "127.0.0.1"}, Role.MEMBER, "ana@example.com", "whois"),
        ("fd7a:115c:a1e0::9", {}, Role.ADMIN, "zoe@example.com", "whois"),
        ("100.64.0.20", {}, Role.NOBODY, "", ""),
        ("100.64.0.21", {}, Role.ADMIN, "", "whois"),
        ("192.168.1.5", {}, Role.MEMBER, "eve@example.com", "whois"),
        ("203.0.113.1", {}, Role.NOBODY, "", ""),
        ("", {}, Role.NOBODY, "", ""),
        ("not an address", {}, Role.NOBODY, "", ""),
        # A wrong token is not forgiven by an address.
        ("100.64.0.7", {"authorization": "Bearer ttk_wrong"}, Role.NOBODY, "", ""),
        ("127.0.0.1", {"authorization": "bearer  "}, Role.NOBODY, "", ""),
        ("100.64.0.7", {"authorization": "Basic YTpi"}, Role.MEMBER, "ana@example.com", "whois"),
    ],
)
def test_who_asks(make, peer, headers, role, login, way):
    caller = make().who(peer, list(headers.items()))
    assert (caller.role, caller.login, caller.way) == (role, login, way)
    assert bool(caller.why) == (role is Role.NOBODY)


@pytest.mark.parametrize(
    ("peer", "headers", "role", "login"),
    [
        ("127.0.0.1", SERVE, Role.MEMBER, "ana@example.com"),
        ("unix:", SERVE, Role.MEMBER, "ana@example.com"),
        ("10.42.0.9", SERVE, Role.NOBODY, ""),
        # What our own tailscaled knows of the address must not deny it.
        ("127.0.0.1", {**SERVE, "tailscale-user-login": "boss@example.com"}, Role.NOBODY, ""),
        ("127.0.0.1", {**SERVE, "x-forwarded-for": "100.64.0.20"}, Role.NOBODY, ""),
        ("127.0.0.1", {**SERVE, "x-forwarded-for": "100.99.9.9"}, Role.MEMBER, "ana@example.com"),
        # Serve has peers of the tailnet alone: what passes such a login on for others is another proxy of this machine.
        ("127.0.0.1", {**SERVE, "x-forwarded-for": "100.64.0.7, 192.168.1.7"}, Role.NOBODY, ""),
        ("127.0.0.1", {**SERVE, "x-forwarded-for": "203.0.113.1"}, Role.NOBODY, ""),
        ("127.0.0.1", {**SERVE, "x-forwarded-for": "100.64.0.7, unknown"}, Role.NOBODY, ""),
        ("127.0.0.1", {**SERVE, "x-forwarded-for": "100.64.0.7:4711"}, Role.NOBODY, ""),
        ("127.0.0.1", {**SERVE, "x-forwarded-for": ""}, Role.NOBODY, ""),
        ("127.0.0.1", {"tailscale-user-login": "boss@EXAMPLE.com"}, Role.ADMIN, "boss@EXAMPLE.com"),
        ("127.0.0.1", {"tailscale-user-login": "=?utf-8?q?zo=C3=A9@example.com?="}, Role.MEMBER, "zoé@example.com"),
        ("127.0.0.1", {"x-forwarded-for": "100.64.0.20"}, Role.NOBODY, ""),
        ("127.0.0.1", {**SERVE, "tailscale-funnel-request": "?1"}, Role.NOBODY, ""),
        ("100.64.0.20", SERVE, Role.NOBODY, ""),
        ("203.0.113.1", SERVE, Role.NOBODY, ""),
        ("127.0.0.1", {}, Role.ADMIN, ""),
    ],
)
def test_what_serve_says_counts_from_loopback_and_by_setting(make, peer, headers, role, login):
    caller = make(serve=SERVE_PEERS).who(peer, list(headers.items()))
    assert (caller.role, caller.login) == (role, login)


def test_two_logins_are_none(make):
    headers = [("tailscale-user-login", "ana@example.com"), ("tailscale-user-login", "boss@example.com")]
    assert make(serve=SERVE_PEERS).who("127.0.0.1", headers).role is Role.NOBODY


def test_a_proxy_elsewhere_is_believed_where_it_is_named(make):
    callers = make(serve=Proxies(["10.42.0.0/16"]))
    assert callers.who("10.42.0.9", list(SERVE.items())).login == "ana@example.com"
    assert callers.who("10.43.0.9", list(SERVE.items())).role is Role.NOBODY
    assert callers.who("127.0.0.1", list(SERVE.items())).role is Role.NOBODY


@pytest.mark.parametrize(
    ("peer", "forwarded", "role", "login"),
    [
        ("127.0.0.1", ["100.64.0.7"], Role.MEMBER, "ana@example.com"),
        ("unix:", ["100.64.0.7"], Role.MEMBER, "ana@example.com"),
        ("127.0.0.1", ["fd7a:115c:a1e0::9"], Role.ADMIN, "zoe@example.com"),
        # What the peer of the proxy wrote stands before what the proxy added.
        ("127.0.0.1", ["fd7a:115c:a1e0::9, 100.64.0.7"], Role.MEMBER, "ana@example.com"),
        ("127.0.0.1", ["fd7a:115c:a1e0::9", "100.64.0.7, 127.0.0.1"], Role.MEMBER, "ana@example.com"),
        ("127.0.0.1", ["fd7a:115c:a1e0::9, 100.64.0.7, 10.0.0.5"], Role.MEMBER, "ana@example.com"),
        ("10.0.0.5", ["100.64.0.7"], Role.MEMBER, "ana@example.com"),
        # Not named, or it says nothing that can be read.
        ("10.0.0.6", ["fd7a:115c:a1e0::9"], Role.NOBODY, ""),
        ("100.64.0.7", ["fd7a:115c:a1e0::9"], Role.MEMBER, "ana@example.com"),
        ("127.0.0.1", ["127.0.0.1"], Role.NOBODY, ""),
        ("127.0.0.1", ["100.64.0.7, "], Role.NOBODY, ""),
        ("127.0.0.1", ["100.64.0.7, unknown"], Role.NOBODY, ""),
        ("127.0.0.1", ["203.0.113.1"], Role.NOBODY, ""),
    ],
)
def test_a_trusted_proxy_speaks_for_its_last_hop(make, peer, forwarded, role, login):
    callers = make(trusted=Proxies(["127.0.0.1", "unix:", "10.0.0.5"]))
    caller = callers.who(peer, [("x-forwarded-for", value) for value in forwarded])
    assert (caller.role, caller.login) == (role, login)


@pytest.mark.parametrize("hop", ["100.64.0.7:4711", "[fd7a:115c:a1e0::9]:4711", "unknown"])
@pytest.mark.parametrize("login", [{}, {"tailscale-user-login": "ana@example.com"}])
def test_a_hop_that_is_no_address_alone_is_told(make, hop, login):
    callers = make(trusted=Proxies(["127.0.0.1"]), serve=SERVE_PEERS)
    caller = callers.who("127.0.0.1", [("x-forwarded-for", f"203.0.113.1, {hop}"), *login.items()])
    assert caller.role is Role.NOBODY
    assert f"`{hop}` (X-Forwarded-For)" in caller.why
    assert "without a port" in caller.why


def test_what_a_proxy_wrote_is_told_cut_and_printable(make):
    caller = make(trusted=Proxies(["127.0.0.1"])).who("127.0.0.1", [("x-forwarded-for", "\x1b[31m" + "x" * 9000)])
    assert caller.why.isprintable()
    assert len(caller.why) < 300


def test_a_trusted_proxy_without_its_header_asks_for_nobody(make):
    callers = make(trusted=Proxies(["127.0.0.1", "unix:"]))
    assert callers.who("unix:", []).role is Role.NOBODY
    assert callers.who("127.0.0.1", [("x-real-ip", "100.64.0.7")]).role is Role.NOBODY
    funnel = [("x-forwarded-for", "100.64.0.7"), ("tailscale-funnel-request", "?1")]
    assert callers.who("unix:", funnel).role is Role.NOBODY


@pytest.mark.parametrize("given", ["trusted", "serve"])
def test_who_asks_through_a_believed_proxy_is_not_its_owner(make, given):
    """As where a proxy drops the header that its client names in `Connection`."""
    assert make().who("100.64.0.7", []).login == "ana@example.com"
    through = make(**{given: Proxies(["100.64.0.7"])}).who("100.64.0.7", [])
    assert (through.role, through.login) == (Role.NOBODY, "")


def test_without_tun_a_proxy_is_believed_on_a_socket_only(make):
    callers = make(trusted=Proxies(["127.0.0.1", "unix:"]), serve=SERVE_PEERS, loopback=lambda: USERSPACE)
    refused = callers.who("127.0.0.1", list(SERVE.items()))
    assert (refused.role, "TAILTRACE_LISTEN=unix:PATH" in refused.why) == (Role.NOBODY, True)
    assert callers.who("unix:", list(SERVE.items())).login == "ana@example.com"


@pytest.mark.parametrize(
    ("auth_methods", "peer", "role"),
    [
        ("token", "127.0.0.1", Role.NOBODY),
        ("whois", "127.0.0.1", Role.NOBODY),
        ("local", "127.0.0.1", Role.ADMIN),
        ("local,token", "100.64.0.7", Role.NOBODY),
        ("whois", "100.64.0.7", Role.MEMBER),
    ],
)
def test_the_auth_methods_of_the_setting(make, auth_methods, peer, role):
    assert make(auth_methods).who(peer, []).role is role


@pytest.mark.parametrize("verdict", [USERSPACE, Verdict(is_this_machine=False, why="nothing proves it")])
def test_where_loopback_may_be_anybody_nobody_is_this_machine(make, verdict):
    caller = make(loopback=lambda: verdict).who("127.0.0.1", [])
    assert (caller.role, caller.why) == (Role.NOBODY, verdict.why)


def test_a_tailscaled_that_does_not_answer_lets_nobody_in(make, local_api):
    callers = make()
    local_api.is_up = False
    assert callers.who("100.64.0.7", []).role is Role.NOBODY
    local_api.is_up = True  # that it was away is not kept
    assert callers.who("100.64.0.7", []).role is Role.MEMBER


def test_a_whois_is_asked_once_in_ten_seconds(make, local_api, clock):
    callers = make()
    for _ in range(5):
        callers.who("100.64.0.7", [])
    assert local_api.asked == 1
    clock.now_us += KNOWN_US
    callers.who("100.64.0.7", [])
    assert local_api.asked == 2


def test_the_file_of_admins_is_read_anew(tmp_path):
    path = tmp_path / "admins"
    path.write_text("# who sees all\nana@example.com  # since May\n\n")
    admins = Admins([], path)
    assert ("ana@example.com" in admins, "ben@example.com" in admins, "" in admins) == (True, False, False)
    path.write_text("ben@example.com\n")
    os.utime(path, ns=(1, 1))
    assert ("ana@example.com" in admins, "ben@example.com" in admins) == (False, True)
    path.unlink()
    assert "ben@example.com" not in admins


def random(size):
    return "x" * size


def test_a_token_opens_until_it_is_revoked(make, tmp_path):
    kept, callers = Tokens(tmp_path / "t.json"), make()
    secret = kept.create("ana", "member", "ana@example.com", random=random, now_us=1)
    header = [("authorization", f"Bearer {secret}")]
    assert (callers.who("203.0.113.1", header).role, callers.who("127.0.0.1", header).login) == (
        Role.MEMBER,
        "ana@example.com",
    )
    kept.revoke("ana")
    assert callers.who("203.0.113.1", header).role is Role.NOBODY


def test_the_file_has_no_secret_and_is_ours_alone(tmp_path):
    kept = Tokens(tmp_path / "t.json")
    secret = kept.create("bot", "admin", "", random=random, now_us=1)
    text = kept.path.read_text()
    assert (secret.startswith("ttk_"), secret in text, secret[4:] in text) == (True, False, False)
    assert kept.path.stat().st_mode & 0o777 == 0o600
    kept.path.chmod(0o620)
    assert Tokens(kept.path).find(secret) is None
    with pytest.raises(TokensError, match="chmod 600"):
        kept.revoke("bot")


@pytest.mark.parametrize(
    ("name", "role", "user", "message"),
    [
        ("bot", "admin", "", "a token 'bot' already"),
        ("", "admin", "", "1 to 64"),
        ("a\x1b[31m", "admin", "", "1 to 64"),
        ("new", "root", "", "no role 'root'"),
        ("new", "member", "", "--user LOGIN"),
        ("new", "spans", "ana@example.com", "leave --user out"),
    ],
)
def test_what_is_no_token(tmp_path, name, role, user, message):
    kept = Tokens(tmp_path / "t.json")
    kept.create("bot", "admin", "", random=random, now_us=1)
    with pytest.raises(TokensError, match=message):
        kept.create(name, role, user, random=random, now_us=1)


def test_a_damaged_file_has_no_tokens(tmp_path, caplog):
    path = tmp_path / "t.json"
    path.write_text('{"tokens": [{"name": 1}]}')
    path.chmod(0o600)
    kept = Tokens(path)
    assert (kept.find("ttk_x"), kept.find("ttk_x")) == (None, None)
    assert [record.getMessage().count(": damaged (") for record in caplog.records] == [1]


def test_a_look_up_among_all_tokens_is_quick(tmp_path):
    kept = Tokens(tmp_path / "t.json")
    for n in range(20):
        kept.create(f"t{n}", "admin", "", random=lambda size, n=n: f"{n:0{size}}", now_us=1)
    start = time.monotonic()
    for _ in range(200):
        assert kept.find("ttk_unknown") is None
    assert time.monotonic() - start < 5  # a hash of passwords would take minutes
