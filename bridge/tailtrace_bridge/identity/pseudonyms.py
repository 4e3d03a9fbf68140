"""Pseudonyms: who a row is from is kept as a keyed hash, so that people still count and nobody is named. Pure.

| what | becomes |
|---|---|
| a user, a device, a router (`via`) | `user-`, `device-`, and 64 bits of HMAC-SHA-256 in hex |
| a user's id, a node's id | `uid-`, `node-`, the same |
| an address | an IPv6 address of 2001:db8::/32, which is nobody's (RFC 3849), with 96 bits of it |
| tags, kind, reason | stay: they are of no person |

A pseudonym's own address says that it is one: it stays what it is, also when it comes from an export.

The same name gives the same pseudonym as long as the key is the same; so sessions, filters and renames work, with
`tailtrace_api` turning a login into its pseudonym where somebody asks for it. Without the key nobody can try names out.
"""

import hashlib
import hmac
import ipaddress
from collections import OrderedDict
from functools import lru_cache

from tailtrace_bridge.core.records import Identity
from tailtrace_bridge.identity.fronts import FRONTS

KEY_LENGTH_MIN = 16
CACHED_MAX = 16_384
_PREFIX = 0x20010DB8 << 96


class Pseudonyms:
    """Makes pseudonyms with one key."""

    def __init__(self, key: str) -> None:
        self._key = key.encode()
        self._cached = lru_cache(CACHED_MAX)(self._make)
        self._made_of: OrderedDict[Identity, Identity] = OrderedDict()  # in the order of their last use, as `_cached`

    def identity(self, identity: Identity) -> Identity:
        """Return an identity without its names; one that has none already stays."""
        if identity.address.startswith("2001:db8:"):
            return identity
        made = self._cached(identity)
        self._made_of[made] = identity
        self._made_of.move_to_end(made)
        if len(self._made_of) > CACHED_MAX:
            self._made_of.popitem(last=False)
        return made

    def known(self, pseudonym: Identity) -> Identity:
        """Return whom a pseudonym was made of, of the `CACHED_MAX` last asked for; itself, where that is not known."""
        return self._made_of.get(pseudonym, pseudonym)

    def user(self, login: str) -> str:
        """Return the pseudonym of a login."""
        return self._name("user", login)

    def device(self, name: str) -> str:
        """Return the pseudonym of a device."""
        return self._name("device", name)

    def key(self, text: str) -> str:
        """Return the pseudonym of a node's key."""
        return self._name("key", text)

    def address(self, text: str) -> str:
        """Return the pseudonym of an address; `unix:` is no person's."""
        if text in {"", "unix:"}:
            return text
        return str(ipaddress.IPv6Address(_PREFIX | int.from_bytes(self._hash("address", text)[:12])))

    def _make(self, identity: Identity) -> Identity:
        return identity._replace(
            address=self.address(identity.address),
            user=self.user(identity.user),
            device=self.device(identity.device),
            node_id=self._name("node", identity.node_id),
            user_id=self._name("uid", identity.user_id),
            via=identity.via if identity.via in FRONTS else self.device(identity.via),
        )

    def _name(self, kind: str, text: str) -> str:
        return f"{kind}-{self._hash(kind, text)[:8].hex()}" if text else ""

    def _hash(self, kind: str, text: str) -> bytes:
        # The kind goes in: equal texts of two kinds must not be seen to be equal.
        return hmac.digest(self._key, f"{kind}\0{text}".encode("utf-8", "surrogatepass"), hashlib.sha256)
