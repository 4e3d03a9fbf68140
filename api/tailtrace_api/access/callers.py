"""Who asks: of the peer's address and the headers of a request.

| the request | who it is |
|---|---|
| has `Authorization: Bearer`, and `TAILTRACE_ACCESS` has `token` | whom the token names; unknown or revoked: nobody |
| has the cookie of a session, the same | as whose token somebody logged in; one that is over counts as none |
| with a header that proxies set, from `TAILTRACE_TRUSTED_PROXIES` | who has the forwarded address (`proxies`) |
| with such a header, from one whose serve headers are believed | whom `serve` names, if whois does not deny it |
| the same, for an address that is none of the tailnet | nobody: serve has no such peers, another proxy has |
| the same, and Funnel's header | nobody: the internet asks |
| with such a header, from loopback or a unix socket, else | nobody: somebody elsewhere asks through that proxy |
| from loopback, without | with `local`, the admin: who works on this machine |
| from loopback, with or without, where that may be anybody (`loopback`) | nobody |
| from a unix socket, without | nobody: what forwards bytes does not say for whom |
| from a believed proxy elsewhere, without | nobody: not the proxy's owner, whoever asks through it |
| from elsewhere | with `whois`, whom tailscaled names; else whom the file of identities names |

The peer is that of the socket. Serve's headers are believed of `TAILTRACE_SERVE_PROXIES`, and with
`TAILTRACE_SERVE_HEADERS` of loopback and of unix sockets.

A person is an admin by `TAILTRACE_ADMINS`, by the file `TAILTRACE_ADMINS_FILE`, or by the capability
`TAILTRACE_ADMIN_CAPABILITY` that the tailnet's ACL grants to who asks; else a member. A device with tags is no person:
it is nobody, but by that capability. What forwards bytes without headers (`ssh -L`, `tailscale serve --tcp`) makes its
users the machine's own: who lets others do that takes `local` off `TAILTRACE_ACCESS`.

https://tailscale.com/kb/1324/grants#app-capabilities , https://tailscale.com/kb/1312/serve#identity-headers
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

from tailtrace_api.access.roles import Caller, Role
from tailtrace_api.access.sessions import Sessions, cookie_of
from tailtrace_api.access.tokens import PREFIX, Tokens
from tailtrace_api.access.tokens_file import Token
from tailtrace_bridge.core.text import parse_address, printable
from tailtrace_bridge.identity.chain import Answer, Found, IdentityProvider, Unavailable
from tailtrace_bridge.identity.fronts import is_of_tailnet
from tailtrace_bridge.identity.loopback import Verdict
from tailtrace_bridge.identity.proxies import UNIX, Proxies
from tailtrace_bridge.identity.serve_headers import FUNNEL, decoded

AUTH_METHODS = ("local", "whois", "token")
KNOWN_US = 10_000_000
"""How long a whois is believed."""
KNOWN_MAX = 4096
ADMINS_BYTES_MAX = 1024 * 1024
_PROXY_HEADERS = ("forwarded", "via", "x-real-ip")
_PROXY_PREFIXES = ("x-forwarded-", "tailscale-")
FORWARDED = "x-forwarded-for"
HOP_LENGTH_MAX = 64
"""Of what a proxy writes in the place of an address, in our answer: the longest address has 45."""
_BY_SOCKET = "Let the proxy come by a socket that no peer reaches: TAILTRACE_LISTEN=unix:PATH, and unix: in its setting"
_log = logging.getLogger(__name__)

Headers = Sequence[tuple[str, str]]
"""Names in lower case, in the order of the request; a name may come twice."""


class LocalApiWhois(Protocol):
    """What of tailscaled's LocalAPI is asked."""

    def whois_with_capabilities(self, address: str) -> tuple[Answer, frozenset[str]]:
        """Return who has an address, and which capabilities it has towards this node."""


class _Known(NamedTuple):
    login: str = ""
    is_admin: bool = False
    why: str = ""
    has_node: bool = False
    """Our tailscaled knows whose address it is."""
    is_kept: bool = True


class Admins:
    """The logins of admins: those of the setting, and those of a file, one on each line, read anew when it changed."""

    def __init__(self, logins: Sequence[str], path: Path | None = None) -> None:
        self._logins, self._path = frozenset(login.casefold() for login in logins), path
        self._signature: tuple[int, ...] | None = None
        self._of_file: frozenset[str] = frozenset()

    def __contains__(self, login: str) -> bool:
        """Whether this is an admin's login. Logins are e-mail addresses: upper case counts as lower."""
        return bool(login) and login.casefold() in self._logins | self._file()

    def _file(self) -> frozenset[str]:
        if self._path is None:
            return frozenset()
        try:
            found = self._path.stat()
            signature = (found.st_mtime_ns, found.st_size, found.st_ino)
            if signature != self._signature:
                with self._path.open("rb") as file:
                    text = file.read(ADMINS_BYTES_MAX).decode("utf-8", "replace")
                lines = (line.partition("#")[0].strip() for line in text.splitlines())
                self._of_file, self._signature = frozenset(line.casefold() for line in lines if line), signature
        except OSError as error:
            if self._signature != ():
                _log.error("TAILTRACE_ADMINS_FILE: %s: %s; until it can be read it names nobody", self._path, error)
            self._of_file, self._signature = frozenset(), ()
        return self._of_file


@dataclass(slots=True)
class Callers:
    """Tells who asks.

    `loopback` says what a peer on loopback is, `clock` gives µs and never goes back, `as_stored` gives what the store
    has for a login.
    """

    auth_methods: frozenset[str]
    admins: Admins
    capability: str
    tokens: Tokens
    local_api: LocalApiWhois
    clock: Callable[[], int]
    file: IdentityProvider | None = None
    loopback: Callable[[], Verdict] = field(kw_only=True)
    trusted: Proxies = field(default_factory=Proxies, kw_only=True)
    serve: Proxies = field(default_factory=Proxies, kw_only=True)
    as_stored: Callable[[str], str] = str
    sessions: Sessions | None = field(default=None, kw_only=True)
    """Who is logged in with a browser; None: nobody can."""
    _known: dict[str, tuple[_Known, int]] = field(default_factory=dict)

    def who(self, peer: str, headers: Headers) -> Caller:
        """Return who asks; `peer` is an address, or `unix:`. May wait for tailscaled: call it in a thread."""
        given: Mapping[str, list[str]] = _by_name(headers)
        secrets = [
            value[7:].strip() for value in given.get("authorization", ()) if value[:7].lower() == "bearer "
        ]  # RFC 6750 section 2.1; the scheme's case does not count, RFC 9110 section 11.1
        if secrets and "token" in self.auth_methods:
            return self._by_token(secrets[0] if len(secrets) == 1 else "")
        if (session := self._session(given.get("cookie", ()))) is not None:
            return self._of_token(session, "session")
        address = parse_address(peer)
        is_loopback = address is not None and address.is_loopback
        is_near = is_loopback or peer == UNIX
        if (
            any(name in _PROXY_HEADERS or name.startswith(_PROXY_PREFIXES) for name in given)
            if is_near
            else peer in self.trusted or peer in self.serve
        ):
            return self._by_proxy(peer, given, is_loopback=is_loopback)
        if peer == UNIX:
            return Caller(why="nothing says for whom the socket's peer asks: send a token")
        if is_loopback:
            return self._on_loopback()
        return self._by_whois(str(address) if address is not None else peer)

    def _by_token(self, secret: str) -> Caller:
        token = self.tokens.find(secret) if secret.startswith(PREFIX) else None
        if token is None:
            return Caller(why="this token is unknown or revoked; `tailtrace token create NAME` makes one")
        if token.role == "spans":
            return Caller(way="token", why="this token may only send spans", sends_spans=True)
        return self._of_token(token, "token")

    def _session(self, cookies: Sequence[str]) -> Token | None:
        if self.sessions is None or "token" not in self.auth_methods or not (secret := cookie_of(cookies)):
            return None
        return self.sessions.find(secret)

    def _of_token(self, token: Token, way: str) -> Caller:
        is_admin = token.role == "admin"
        role = Role.ADMIN if is_admin else Role.MEMBER
        # A browser sends its cookie by itself, so it opens nothing that is written to by programs.
        sends_spans = is_admin and way == "token"
        return Caller(role, self.as_stored(token.user), way, sends_spans=sends_spans, token=token.name)

    def _on_loopback(self) -> Caller:
        if "local" not in self.auth_methods:
            return Caller(why="this machine is no way in (TAILTRACE_ACCESS has no `local`): send a token")
        if not (verdict := self.loopback()).is_this_machine:
            return Caller(why=verdict.why)
        # The file may name 127.0.0.1, for who asks with TAILTRACE_MCP_SCOPE=own.
        named = self.file.whois("127.0.0.1") if self.file is not None else None
        login = named.identity.user if isinstance(named, Found) else ""
        return Caller(Role.ADMIN, self.as_stored(login) if login else "", "local", sends_spans=True)

    def _by_proxy(self, peer: str, given: Mapping[str, list[str]], *, is_loopback: bool) -> Caller:
        is_trusted = peer in self.trusted
        if not is_trusted and peer not in self.serve:
            return Caller(
                why="the request came through a proxy of this machine, which is not believed "
                "(TAILTRACE_TRUSTED_PROXIES, TAILTRACE_SERVE_HEADERS): send a token"
            )
        # Whoever goes past the proxy brings its headers themselves.
        if is_loopback and not (verdict := self.loopback()).is_this_machine:
            return Caller(why=f"no proxy on 127.0.0.1 is believed: {verdict.why}. {_BY_SOCKET}")
        if FUNNEL in given.get("tailscale-funnel-request", ()):
            return Caller(why="the request came through Funnel, from the internet: send a token")
        if peer in self.serve and (not is_trusted or "tailscale-user-login" in given):
            return self._by_serve(given)
        address = self.trusted.forwarded(given.get(FORWARDED, ()))
        parsed = parse_address(address)
        if parsed is None or parsed.is_loopback:
            return Caller(why=_unsaid(self.trusted.last_hop(given.get(FORWARDED, ()))))
        return self._by_whois(address)

    def _by_serve(self, given: Mapping[str, list[str]]) -> Caller:
        logins = given.get("tailscale-user-login", [])
        login = printable(decoded(logins[0]).strip()) if len(logins) == 1 else ""
        if not login:
            return Caller(why="`tailscale serve` names no person: a device with tags, or the internet. Send a token")
        # What serve says of the address is checked where our own tailscaled knows it; elsewhere it may not.
        address = self.serve.forwarded(given.get(FORWARDED, ()))
        if FORWARDED in given and not address:
            return Caller(why=_unsaid(self.serve.last_hop(given[FORWARDED])))
        if FORWARDED in given and not is_of_tailnet(address):
            return Caller(why="the proxy names a login for an address that is none of the tailnet: send a token")
        known = self._known_at(address) if address else None
        if known is None or not known.has_node:
            return self._person(login, "serve", is_admin=False)
        if known.login.casefold() != login.casefold():
            return Caller(why=f"the proxy names {login}, but {address} is not theirs: send a token")
        return self._person(login, "serve", is_admin=known.is_admin)

    def _by_whois(self, address: str) -> Caller:
        if "whois" not in self.auth_methods:
            return Caller(why="send a token: `Authorization: Bearer ttk_…`")
        known = self._known_at(address)
        if known.why:
            return Caller(why=known.why)
        return self._person(known.login, "whois", is_admin=known.is_admin)

    def _known_at(self, address: str) -> _Known:
        now_us = self.clock()
        known, until_us = self._known.get(address, (None, 0))
        if known is None or now_us >= until_us:
            known = self._ask(address)
            if len(self._known) >= KNOWN_MAX:
                self._known.clear()
            if known.is_kept:
                self._known[address] = (known, now_us + KNOWN_US)
        return known

    def _ask(self, address: str) -> _Known:
        answer, capabilities = self.local_api.whois_with_capabilities(address)
        if isinstance(answer, Found):
            is_admin, login = self.capability in capabilities, answer.identity.user
            why = "" if login or is_admin else f"{address} is a device without a person: send a token"
            return _Known(login, is_admin, why, has_node=True)
        if self.file is not None and isinstance(named := self.file.whois(address), Found) and named.identity.user:
            return _Known(named.identity.user)
        if isinstance(answer, Unavailable):
            _log.warning("access: nobody can say who %s is: %s", address, answer.reason)
            why = "nobody can tell now who you are, see the log of tailtrace; or send a token"
            return _Known(why=why, is_kept=False)
        return _Known(why=f"{address} is nobody's address that the tailnet knows: send a token")

    def _person(self, login: str, way: str, *, is_admin: bool) -> Caller:
        role = Role.ADMIN if is_admin or login in self.admins else Role.MEMBER
        return Caller(role, self.as_stored(login) if login else "", way, sends_spans=role is Role.ADMIN)


def _by_name(headers: Headers) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in headers:
        found.setdefault(name, []).append(value)
    return found


def _unsaid(hop: str) -> str:
    """Say why it is not known for whom a proxy asks; `hop` is what its X-Forwarded-For names last."""
    if not hop:
        return "the proxy does not say for whom it asks (X-Forwarded-For): send a token"
    return (
        f"the proxy asks for `{printable(hop, HOP_LENGTH_MAX)}` (X-Forwarded-For), which is no address of somebody: "
        "let it write the address alone, without a port; or send a token"
    )
