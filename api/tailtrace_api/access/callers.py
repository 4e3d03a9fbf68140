"""Who asks: of the peer's address and the headers of a request.

| the request | who it is |
|---|---|
| has `Authorization: Bearer`, and `TAILTRACE_ACCESS` has `token` | whom the token names; unknown or revoked: nobody |
| from loopback, with a header that a proxy sets | with `TAILTRACE_SERVE_HEADERS`, whom `tailscale serve` names |
| from loopback, with such a header, else | nobody: somebody elsewhere asks through a proxy of this machine |
| from loopback, without | with `local`, the admin: who works on this machine |
| from loopback, and tailscaled runs without TUN | nobody: then every peer of the tailnet is 127.0.0.1 |
| from elsewhere | with `whois`, whom tailscaled names; else whom the file of identities names |

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
from tailtrace_api.access.tokens import PREFIX, Tokens
from tailtrace_bridge.core.text import parse_address, printable
from tailtrace_bridge.identity.chain import Answer, Found, IdentityProvider, Unavailable
from tailtrace_bridge.identity.local_api import BackendStatus
from tailtrace_bridge.identity.serve_headers import FUNNEL, decoded

WAYS = ("local", "whois", "token")
KNOWN_US = 10_000_000
"""How long a whois is believed."""
KNOWN_MAX = 4096
TUN_US = 60_000_000
"""How long it is believed that tailscaled has a TUN device."""
ADMINS_BYTES_MAX = 1024 * 1024
_PROXY_HEADERS = ("forwarded", "via", "x-real-ip")
_PROXY_PREFIXES = ("x-forwarded-", "tailscale-")
_log = logging.getLogger(__name__)

Headers = Sequence[tuple[str, str]]
"""Names in lower case, in the order of the request; a name may come twice."""


class LocalApiWhois(Protocol):
    """What of tailscaled's LocalAPI is asked."""

    def whois_with_capabilities(self, address: str) -> tuple[Answer, frozenset[str]]:
        """Say who has an address, and which capabilities it has towards this node."""

    def status(self) -> BackendStatus | Unavailable:
        """Say the state of tailscaled."""


class _Known(NamedTuple):
    login: str
    is_admin: bool
    why: str


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
    """Tells who asks. `clock` gives µs and never goes back; `as_stored` gives what the store has for a login."""

    auth_methods: frozenset[str]
    admins: Admins
    capability: str
    tokens: Tokens
    local_api: LocalApiWhois
    clock: Callable[[], int]
    file: IdentityProvider | None = None
    has_serve_headers: bool = False
    as_stored: Callable[[str], str] = str
    _known: dict[str, tuple[_Known, int]] = field(default_factory=dict)
    _tun: tuple[bool, int] | None = None

    def who(self, peer: str, headers: Headers) -> Caller:
        """Say who asks. It may wait for tailscaled, so it is called in a thread."""
        given: Mapping[str, list[str]] = _by_name(headers)
        secrets = [
            value[7:].strip() for value in given.get("authorization", ()) if value[:7].lower() == "bearer "
        ]  # RFC 6750 section 2.1; the scheme's case does not count, RFC 9110 section 11.1
        if secrets and "token" in self.auth_methods:
            return self._by_token(secrets[0] if len(secrets) == 1 else "")
        address = parse_address(peer)
        if address is not None and address.is_loopback:
            return self._on_loopback(given)
        if "whois" not in self.auth_methods:
            return Caller(why="send a token: `Authorization: Bearer ttk_…`")
        return self._by_whois(str(address) if address is not None else peer)

    def _by_token(self, secret: str) -> Caller:
        token = self.tokens.find(secret) if secret.startswith(PREFIX) else None
        if token is None:
            return Caller(why="this token is unknown or revoked; `tailtrace token create NAME` makes one")
        if token.role == "spans":
            return Caller(way="token", why="this token may only send spans", sends_spans=True)
        if token.role == "admin":
            return Caller(Role.ADMIN, self.as_stored(token.user), "token", sends_spans=True)
        return Caller(Role.MEMBER, self.as_stored(token.user), "token")

    def _on_loopback(self, given: Mapping[str, list[str]]) -> Caller:
        if any(name in _PROXY_HEADERS or name.startswith(_PROXY_PREFIXES) for name in given):
            return self._by_serve(given)
        if "local" not in self.auth_methods:
            return Caller(why="this machine is no way in (TAILTRACE_ACCESS has no `local`): send a token")
        if not self._has_tun():
            return Caller(
                why="tailscaled runs without TUN, so every peer of the tailnet looks like this machine: send a token"
            )
        # The file may name 127.0.0.1, for who asks with TAILTRACE_MCP_SCOPE=own.
        named = self.file.whois("127.0.0.1") if self.file is not None else None
        login = named.identity.user if isinstance(named, Found) else ""
        return Caller(Role.ADMIN, self.as_stored(login) if login else "", "local", sends_spans=True)

    def _by_serve(self, given: Mapping[str, list[str]]) -> Caller:
        if not self.has_serve_headers:
            return Caller(
                why="the request came through a proxy of this machine, which is not believed "
                "(TAILTRACE_SERVE_HEADERS): send a token"
            )
        logins = given.get("tailscale-user-login", [])
        login = printable(decoded(logins[0]).strip()) if len(logins) == 1 else ""
        if not login or FUNNEL in given.get("tailscale-funnel-request", ()):
            return Caller(why="`tailscale serve` names no person: a device with tags, or the internet. Send a token")
        return self._person(login, "serve", is_admin=False)

    def _by_whois(self, address: str) -> Caller:
        now_us = self.clock()
        known, until_us = self._known.get(address, (None, 0))
        if known is None or now_us >= until_us:
            known = self._ask(address)
            if len(self._known) >= KNOWN_MAX:
                self._known.clear()
            self._known[address] = (known, now_us + KNOWN_US)
        if known.why:
            return Caller(why=known.why)
        return self._person(known.login, "whois", is_admin=known.is_admin)

    def _ask(self, address: str) -> _Known:
        answer, capabilities = self.local_api.whois_with_capabilities(address)
        if isinstance(answer, Found):
            is_admin, login = self.capability in capabilities, answer.identity.user
            if login or is_admin:
                return _Known(login, is_admin, "")
            return _Known("", False, f"{address} is a device without a person: send a token")
        if self.file is not None and isinstance(named := self.file.whois(address), Found) and named.identity.user:
            return _Known(named.identity.user, False, "")
        if isinstance(answer, Unavailable):
            _log.warning("access: nobody can say who %s is: %s", address, answer.reason)
            return _Known("", False, "nobody can tell now who you are, see the log of tailtrace; or send a token")
        return _Known("", False, f"{address} is nobody's address that the tailnet knows: send a token")

    def _person(self, login: str, way: str, *, is_admin: bool) -> Caller:
        role = Role.ADMIN if is_admin or login in self.admins else Role.MEMBER
        return Caller(role, self.as_stored(login) if login else "", way, sends_spans=role is Role.ADMIN)

    def _has_tun(self) -> bool:
        now_us = self.clock()
        if self._tun is None or now_us >= self._tun[1]:
            status = self.local_api.status()
            self._tun = (isinstance(status, Unavailable) or status.has_tun, now_us + TUN_US)
        return self._tun[0]


def _by_name(headers: Headers) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in headers:
        found.setdefault(name, []).append(value)
    return found
