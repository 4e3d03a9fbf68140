"""Logging in with a browser: a link that an admin makes once leads to a session, which a cookie carries.

| what | rule |
|---|---|
| a link | `…/login#ttl_` and 256 random bits; good for one login and for some minutes |
| its secret | in the fragment: no browser sends that, so it stands in no log and no Referer; the page posts it |
| what looks at a link before its reader does | gets the page and burns nothing: only the POST of its button logs in |
| a session | another 256 random bits, made at the login: no value that a browser brought becomes one |
| a browser that logs in again | its session of before ends |
| a session ends | after its time, by logging out, with its token; and when its token has `SESSIONS_MAX` newer ones |
| the server starts anew | sessions and links go on: the tokens' file has their hashes |

The cookie is `HttpOnly` and `SameSite=Lax`: a link that leads here from a mail works, while no request that a page
elsewhere makes carries it. Where the browser came by https it is `Secure` and `__Host-…`, which no other host can set.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from tailtrace_api.access.tokens import SECRET_BYTES, WrongTokenError
from tailtrace_api.access.tokens_file import Kept, Link, Session, Token, TokensError, TokensFile, found, hash_of
from tailtrace_bridge.core.text import printable

LINK_PREFIX = "ttl_"
SESSION_PREFIX = "tts_"
LINKS_MAX = 10
"""Of one token; the oldest goes."""
SESSIONS_MAX = 20
"""Of one token; the oldest goes."""
ALL_MAX = 1000
"""Of all tokens together, sessions and links each; the oldest goes."""
COOKIE = "tailtrace"
SECURE_COOKIE = f"__Host-{COOKIE}"
_SECOND_US = 1_000_000
OfToken = TypeVar("OfToken", Link, Session)


class Sessions:
    """The links and sessions of one file. `clock` gives µs since the epoch. Safe to share between threads."""

    def __init__(self, file: TokensFile, clock: Callable[[], int]) -> None:
        self._file, self._clock = file, clock

    def link(self, name: str, *, life_us: int, session_us: int, random: Callable[[int], str]) -> str:
        """Make a link's secret for the token `name`. Raises `TokensError` where there is none that can see anything."""
        secret = LINK_PREFIX + random(SECRET_BYTES)
        with self._changing() as kept:
            token = _named(name, kept)
            if token is None:
                raise TokensError(
                    f"{self._file.path}: there is no token {printable(name)!r}; `tailtrace token create` makes one"
                )
            if token.role == "spans":
                raise WrongTokenError(f"{name!r} may only send spans: whoever logged in with it would see nothing")
            kept.links.append(Link(name, hash_of(secret), self._clock() + life_us, session_us))
            kept.links = _newest(kept.links, name, LINKS_MAX)
        return secret

    def log_in(self, secret: str, before: str, *, random: Callable[[int], str]) -> tuple[str, int] | None:
        """Use a link up; return its new session's secret and how many seconds it lasts. None: it is none, or no more.

        The session `before`, which the browser had until now, ends. Raises `TokensError` where nothing can be written.
        """
        # Whatever is no link costs no writing.
        if found(secret, self._file.now().links) is None:
            return None
        with self._changing() as kept:
            link = found(secret, kept.links)
            if link is None:
                return None
            made = SESSION_PREFIX + random(SECRET_BYTES)
            kept.links.remove(link)
            _end(kept, before)
            kept.sessions.append(Session(link.token, hash_of(made), self._clock() + link.session_us))
            kept.sessions = _newest(kept.sessions, link.token, SESSIONS_MAX)
            return made, link.session_us // _SECOND_US

    def log_out(self, secret: str) -> None:
        """End a session. Raises `TokensError` where nothing can be written."""
        if found(secret, self._file.now().sessions) is not None:
            with self._changing() as kept:
                _end(kept, secret)

    def find(self, secret: str) -> Token | None:
        """Return the token that a session is of; None: there is none, or no more."""
        kept = self._file.now()
        session = found(secret, kept.sessions)
        return _named(session.token, kept) if session and session.until_us > self._clock() else None

    def count(self, name: str) -> int:
        """Return how many browsers are logged in with a token."""
        now_us = self._clock()
        return sum(one.token == name and one.until_us > now_us for one in self._file.now().sessions)

    @contextmanager
    def _changing(self) -> Iterator[Kept]:
        """Lend what the file has, without what is over."""
        with self._file.changing() as kept:
            now_us = self._clock()
            kept.links = [one for one in kept.links if one.until_us > now_us]
            kept.sessions = [one for one in kept.sessions if one.until_us > now_us]
            yield kept


def cookie_of(values: Iterable[str]) -> str:
    """Return the session's secret of a request's `Cookie` headers; empty: it has none, or several of one name.

    A page of another port of this host, or over http, can set a cookie beside ours: then none counts.
    """
    pairs = [one.strip().partition("=") for value in values for one in value.split(";")]
    for name in (SECURE_COOKIE, COOKIE):
        if given := [value for key, _, value in pairs if key == name]:
            return given[0] if len(given) == 1 else ""
    return ""


def set_cookie(secret: str, *, life_s: int, is_https: bool) -> str:
    """Return the value of `Set-Cookie` that gives a browser its session; empty and of 0 s, that takes it."""
    name = SECURE_COOKIE if is_https else COOKIE
    return f"{name}={secret}; Path=/; Max-Age={life_s}; HttpOnly; SameSite=Lax{'; Secure' if is_https else ''}"


def _named(name: str, kept: Kept) -> Token | None:
    return next((token for token in kept.tokens if token.name == name), None)


def _newest(those: list[OfToken], name: str, own_max: int) -> list[OfToken]:
    """Return them, the newest of which stands last, without the oldest of a token and of all that are too many."""
    own = [one for one in those if one.token == name]
    gone = own[:-own_max]
    return [one for one in those if one not in gone][-ALL_MAX:]


def _end(kept: Kept, secret: str) -> None:
    over = found(secret, kept.sessions)
    kept.sessions = [one for one in kept.sessions if one is not over]
