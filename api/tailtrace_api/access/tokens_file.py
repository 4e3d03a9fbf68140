"""The file that keeps tokens, login links and sessions: their SHA-256 alone, never a secret.

| what | rule |
|---|---|
| the hash | SHA-256 without salt or stretching: nobody guesses 256 random bits, however fast the hash |
| the file | mode 0600, replaced as a whole under a lock: two programs at once lose nothing, nor does a crash |
| others may write to the file | it is not believed, and says so: who can write it could let themselves in |
| another program changed it | it counts from the next look on: each look sees whether the file is another |
| comparing | every hash, in constant time |
"""

import fcntl
import hashlib
import hmac
import json
import logging
import os
import stat
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Protocol, TypeVar

from tailtrace_bridge.core.errors import BridgeError
from tailtrace_bridge.core.files.atomic import replace_file
from tailtrace_bridge.core.files.signature import signature_of

FILE_BYTES_MAX = 4 * 1024 * 1024
_log = logging.getLogger(__name__)


class TokensError(BridgeError):
    """The tokens file cannot be used, or a command names a token there is or is not."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token as it is kept."""

    name: str
    sha256: str
    role: str
    user: str
    created_us: int


@dataclass(frozen=True, slots=True)
class Link:
    """A login link as it is kept: good for one login until `until_us`, for a session of `session_us`."""

    token: str
    sha256: str
    until_us: int
    session_us: int


@dataclass(frozen=True, slots=True)
class Session:
    """A browser that is logged in as what the token of that name is, until `until_us`."""

    token: str
    sha256: str
    until_us: int


@dataclass(slots=True)
class Kept:
    """What the file has; who changes the file changes these lists."""

    tokens: list[Token] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    sessions: list[Session] = field(default_factory=list)


class _Hashed(Protocol):
    @property
    def sha256(self) -> str: ...


Secret = TypeVar("Secret", bound=_Hashed)


class TokensFile:
    """One file. Safe to share between threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._signature: tuple[int, ...] | None = None
        self._kept = Kept()

    def now(self) -> Kept:
        """Return what the file has now, to look at. One that cannot be believed has nothing; the log says why, once."""
        with self._lock:
            signature = signature_of(self.path)
            if signature != self._signature:
                self._signature = signature
                try:
                    self._kept = read(self.path)
                except TokensError as error:
                    _log.error("%s; until then no token is taken", error)
                    self._kept = Kept()
            return self._kept

    @contextmanager
    def changing(self) -> Iterator[Kept]:
        """Lend what the file has, and write it back. Raises `TokensError` where it cannot be read or written."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.path.with_name(self.path.name + ".lock"), os.O_CREAT | os.O_RDWR, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
                kept = read(self.path)
                yield kept
                replace_file(self.path, (json.dumps(asdict(kept), indent=1) + "\n").encode())
            finally:
                os.close(lock)
        except OSError as error:
            raise TokensError(
                f"{self.path}: cannot be written ({error.strerror}); mend the folder, or set TAILTRACE_TOKENS"
            ) from error


def hash_of(secret: str) -> str:
    """Return the hash under which a secret is kept."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def found(secret: str, kept: Iterable[Secret]) -> Secret | None:
    """Return which of these a secret is; None: none of them."""
    hashed = hash_of(secret)
    right = None
    for one in kept:
        if hmac.compare_digest(one.sha256, hashed):
            right = one
    return right


def read(path: Path) -> Kept:
    """Return what a file has. Raises `TokensError` for one that cannot be believed."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(FILE_BYTES_MAX + 1)
    except FileNotFoundError:
        return Kept()
    except OSError as error:
        raise TokensError(f"{path}: cannot be read ({error.strerror}); mend its mode or owner") from error
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise TokensError(f"{path}: others may write to it, and so let themselves in; run `chmod 600 {path}`")
    try:
        entries = json.loads(data)
        return Kept(
            [_entry(Token, one) for one in entries["tokens"]],
            # A file of before login links has none of the two.
            [_entry(Link, one) for one in entries.get("links", ())],
            [_entry(Session, one) for one in entries.get("sessions", ())],
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TokensError(f"{path}: damaged ({type(error).__name__}); remove it and make the tokens anew") from None


Entry = TypeVar("Entry", Token, Link, Session)


def _entry(kind: type[Entry], given: dict[str, Any]) -> Entry:
    values = {one.name: given[one.name] for one in fields(kind)}
    if any(not isinstance(value, int if name.endswith("_us") else str) for name, value in values.items()):
        raise TypeError
    return kind(**values)
