"""Tokens: `ttk_` and 256 random bits. A token is shown once, when it is made; `tokens_file` keeps its hash.

The prefix is what scanners for leaked secrets look for. A token has a role: `member` sees what the user it names sees,
`admin` sees all, `spans` may send spans and see nothing. A revoked token opens nothing from the next request on, nor do
the links and sessions that came of it.
"""

from collections.abc import Callable
from pathlib import Path

from tailtrace_api.access.tokens_file import Token, TokensError, TokensFile, found, hash_of, read
from tailtrace_bridge.core.errors import SettingsError
from tailtrace_bridge.core.text import printable

PREFIX = "ttk_"
SECRET_BYTES = 32
TOKENS_MAX = 1000
ROLES = ("member", "admin", "spans")


class WrongTokenError(TokensError, SettingsError):
    """A token that cannot be, as it was asked for."""


class Tokens:
    """The tokens of one file. Safe to share between threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = TokensFile(path)

    def find(self, secret: str) -> Token | None:
        """Return the token of a secret as a request has it; None: there is none, or no more."""
        return found(secret, self.file.now().tokens)

    def now(self) -> tuple[Token, ...]:
        """Return the tokens as of now. A file that cannot be believed has none."""
        return tuple(self.file.now().tokens)

    def kept(self) -> tuple[Token, ...]:
        """Return the tokens that the file has. Raises `TokensError` for one that cannot be believed."""
        return tuple(read(self.path).tokens)

    def create(self, name: str, role: str, user: str, *, random: Callable[[int], str], now_us: int) -> str:
        """Keep a new token and give its secret, which nobody can give again. Raises `TokensError`."""
        if not name or len(name) > 64 or not name.isprintable() or name != name.strip():
            raise WrongTokenError(f"a token's name has 1 to 64 printable characters, not {printable(name)!r}")
        if role not in ROLES:
            raise WrongTokenError(f"there is no role {printable(role)!r}: write {', '.join(ROLES)}")
        if role == "member" and not user:
            raise WrongTokenError(
                f"whose data does {name!r} show? --user LOGIN says it; --role admin shows all, --role spans none"
            )
        if role != "member" and user:
            raise WrongTokenError(f"a token of role {role} is nobody's: leave --user out, or write --role member")
        secret = PREFIX + random(SECRET_BYTES)
        with self.file.changing() as kept:
            if any(token.name == name for token in kept.tokens):
                raise TokensError(f"{self.path}: there is a token {name!r} already; revoke it, or choose another name")
            if len(kept.tokens) >= TOKENS_MAX:
                raise TokensError(f"{self.path}: {TOKENS_MAX} tokens, the most there may be; revoke some")
            kept.tokens.append(Token(name, hash_of(secret), role, user, now_us))
        return secret

    def revoke(self, name: str) -> None:
        """Forget a token: it opens nothing from now on. Raises `TokensError` where there is none of that name."""
        with self.file.changing() as kept:
            tokens = [token for token in kept.tokens if token.name != name]
            if len(tokens) == len(kept.tokens):
                raise TokensError(f"{self.path}: there is no token {printable(name)!r}; `tailtrace token list` has all")
            kept.tokens = tokens
            kept.links = [link for link in kept.links if link.token != name]
            kept.sessions = [session for session in kept.sessions if session.token != name]
