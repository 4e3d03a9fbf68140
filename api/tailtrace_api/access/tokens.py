"""Tokens: `ttk_` and 256 random bits. The file keeps their SHA-256 alone; a token is shown once, when it is made.

| what | rule |
|---|---|
| the hash | SHA-256 without salt or stretching: nobody guesses 256 random bits, however fast the hash |
| the file | mode 0600, replaced as a whole under a lock: two commands at once lose nothing, nor does a crash |
| others may write to the file | it is not believed, and says so: who can write it could let themselves in |
| `revoke` | counts from the next request on: the file is looked at each time, and read anew when it changed |
| comparing | every hash, in constant time |

The prefix is what scanners for leaked secrets look for. A token has a role: `member` sees what the user it names sees,
`admin` sees all, `spans` may send spans and see nothing.
"""

import fcntl
import hashlib
import hmac
import json
import logging
import os
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from tailtrace_bridge.core.errors import BridgeError, SettingsError
from tailtrace_bridge.core.files.atomic import replace_file
from tailtrace_bridge.core.files.signature import signature_of
from tailtrace_bridge.core.text import printable

PREFIX = "ttk_"
SECRET_BYTES = 32
TOKENS_MAX = 1000
FILE_BYTES_MAX = 1024 * 1024
ROLES = ("member", "admin", "spans")
_log = logging.getLogger(__name__)


class TokensError(BridgeError):
    """The tokens file cannot be used, or a command names a token there is or is not."""


class WrongTokenError(TokensError, SettingsError):
    """A token that cannot be, as it was asked for."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token as it is kept."""

    name: str
    sha256: str
    role: str
    user: str
    created_us: int


class Tokens:
    """The tokens of one file. Safe to share between threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._signature: tuple[int, ...] | None = None
        self._tokens: tuple[Token, ...] = ()

    def find(self, secret: str) -> Token | None:
        """Return the token of a secret as a request has it; None: there is none, or no more."""
        hashed = hash_of(secret)
        found = None
        for token in self.now():
            if hmac.compare_digest(token.sha256, hashed):
                found = token
        return found

    def now(self) -> tuple[Token, ...]:
        """Return the tokens as of now. A file that cannot be believed has none; the log says why, once."""
        with self._lock:
            signature = signature_of(self.path)
            if signature != self._signature:
                self._signature = signature
                try:
                    self._tokens = _read(self.path)
                except TokensError as error:
                    _log.error("%s; until then no token is taken", error)
                    self._tokens = ()
            return self._tokens

    def kept(self) -> tuple[Token, ...]:
        """Return the tokens that the file has. Raises `TokensError` for one that cannot be believed."""
        return _read(self.path)

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
        with self._changing() as tokens:
            if any(token.name == name for token in tokens):
                raise TokensError(f"{self.path}: there is a token {name!r} already; revoke it, or choose another name")
            if len(tokens) >= TOKENS_MAX:
                raise TokensError(f"{self.path}: {TOKENS_MAX} tokens, the most there may be; revoke some")
            tokens.append(Token(name, hash_of(secret), role, user, now_us))
        return secret

    def revoke(self, name: str) -> None:
        """Forget a token: it opens nothing from now on. Raises `TokensError` where there is none of that name."""
        with self._changing() as tokens:
            kept = [token for token in tokens if token.name != name]
            if len(kept) == len(tokens):
                raise TokensError(f"{self.path}: there is no token {printable(name)!r}; `tailtrace token list` has all")
            tokens[:] = kept

    @contextmanager
    def _changing(self) -> Iterator[list[Token]]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.path.with_name(self.path.name + ".lock"), os.O_CREAT | os.O_RDWR, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
                tokens = list(_read(self.path))
                yield tokens
                text = json.dumps({"tokens": [asdict(token) for token in tokens]}, indent=1) + "\n"
                replace_file(self.path, text.encode())
            finally:
                os.close(lock)
        except OSError as error:
            raise TokensError(
                f"{self.path}: cannot be written ({error.strerror}); mend the folder, or set TAILTRACE_TOKENS"
            ) from error


def hash_of(secret: str) -> str:
    """Return the hash under which a secret is kept."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def _read(path: Path) -> tuple[Token, ...]:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(FILE_BYTES_MAX + 1)
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise TokensError(f"{path}: cannot be read ({error.strerror}); mend its mode or owner") from error
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise TokensError(f"{path}: others may write to it, and so let themselves in; run `chmod 600 {path}`")
    try:
        return tuple(_token(one) for one in json.loads(data)["tokens"])
    except (ValueError, KeyError, TypeError) as error:
        raise TokensError(f"{path}: damaged ({type(error).__name__}); remove it and make the tokens anew") from None


def _token(entry: dict[str, object]) -> Token:
    name, sha256, role, user, created_us = (entry[key] for key in ("name", "sha256", "role", "user", "created_us"))
    if not all(isinstance(one, str) for one in (name, sha256, role, user)) or not isinstance(created_us, int):
        raise TypeError
    return Token(str(name), str(sha256), str(role), str(user), created_us)
