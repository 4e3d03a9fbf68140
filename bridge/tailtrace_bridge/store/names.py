"""Renames: who an identity of the past is called now. Pure, for every store.

A row keeps the names of its time. Rollups go by who it is, and that needs a name that stays:

| the identity | is who, by | its name now |
|---|---|---|
| has a user id | that | the login found out last under that id |
| has a login and no user id, and one user has ever had that login | that user's id | that user's |
| has a login and no user id, else | its login | its login |
| has a node id | that | the device's name found out last under that id |
| has a device's name and no node id, and one node of that user has ever had that name | that node's id | that node's |
| has a device's name and no node id, else | its name | its name |

Two people who had the same address, login or device name one after the other stay two, where ids tell them apart.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple, TypeVar

from tailtrace_bridge.core.records import Identity

K = TypeVar("K")


class Named(NamedTuple):
    """An identity that the store knows, and when it was last found out, µs since the epoch."""

    identity: Identity
    named_us: int


def user_key(identity: Identity) -> str:
    """Return what stays when a user is renamed: the id, else the login; empty where there is no user."""
    return identity.user_id or identity.user


def device_key(identity: Identity) -> str:
    """Return what stays when a device is renamed: the node id, else the name; empty where there is no device."""
    return identity.node_id or identity.device


class Names:
    """What identities are called now, by all that are known: given oldest first, since the last word wins."""

    def __init__(self, known: Iterable[Identity]) -> None:
        named = [one for one in known if one.user or one.device]  # most of a public log's addresses have neither
        self._logins = {one.user_id: one.user for one in named if one.user_id and one.user}
        self._id_of_login = _only((one.user, one.user_id) for one in named if one.user and one.user_id)
        self._devices = {one.node_id: one.device for one in named if one.node_id and one.device}
        self._node_of_name = _only(
            ((user_key(self._with_user(one)), one.device), one.node_id) for one in named if one.node_id and one.device
        )

    def of(self, one: Identity) -> Identity:
        """Return an identity, which is among the known, with the ids that it can be given and the names of now."""
        return self._with_device(self._with_user(one)) if one.user or one.device else one

    def _with_user(self, one: Identity) -> Identity:
        user_id = one.user_id or (self._id_of_login.get(one.user, "") if one.user else "")
        return one if not user_id else one._replace(user_id=user_id, user=self._logins[user_id])

    def _with_device(self, one: Identity) -> Identity:
        node_id = one.node_id or (self._node_of_name.get((user_key(one), one.device), "") if one.device else "")
        return one if not node_id else one._replace(node_id=node_id, device=self._devices.get(node_id, one.device))


def names_of_now(known: Mapping[int, Named]) -> dict[int, Identity]:
    """Return each identity, by the same number, with the ids that it can be given and the names of now."""
    # Of two that were found out at the same time, the last word has the one stored later.
    in_order = sorted(known.items(), key=lambda item: (item[1].named_us, item[0]))
    names = Names(named.identity for _, named in in_order)
    return {number: names.of(one) for number, (one, _) in known.items()}


def _only(pairs: Iterable[tuple[K, str]]) -> dict[K, str]:
    """Return the one value of each key; nothing of a key that has had several."""
    found: dict[K, str] = {}
    for key, value in pairs:
        if found.setdefault(key, value) != value:
            found[key] = ""
    return found
