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

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tailtrace_bridge.core.records import Identity


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


def names_of_now(known: Mapping[int, Named]) -> dict[int, Identity]:
    """Return each identity, by the same number, with the ids that it can be given and the names of now."""
    # Oldest first, so that the last word wins; of two at the same time the one stored later.
    in_order = [
        named.identity
        for _, named in sorted(known.items(), key=lambda item: (item[1].named_us, item[0]))
        if named.identity.user or named.identity.device  # most of a public log's addresses have neither
    ]
    logins = {one.user_id: one.user for one in in_order if one.user_id and one.user}
    ids_of_login = _collect([(one.user, one.user_id) for one in in_order if one.user and one.user_id])

    def with_user(one: Identity) -> Identity:
        user_id = one.user_id or (_only(ids_of_login.get(one.user, set())) if one.user else "")
        return one if not user_id else one._replace(user_id=user_id, user=logins[user_id])

    users = [with_user(one) for one in in_order]
    devices = {one.node_id: one.device for one in in_order if one.node_id and one.device}
    nodes_of_name = _collect(
        [((user_key(one), one.device), one.node_id) for one in users if one.node_id and one.device]
    )

    def with_device(one: Identity) -> Identity:
        node_id = one.node_id or (_only(nodes_of_name.get((user_key(one), one.device), set())) if one.device else "")
        return one if not node_id else one._replace(node_id=node_id, device=devices.get(node_id, one.device))

    return {
        number: with_device(with_user(one)) if one.user or one.device else one for number, (one, _) in known.items()
    }


def _collect(pairs: Sequence[tuple[object, str]]) -> dict[object, set[str]]:
    found: dict[object, set[str]] = defaultdict(set)
    for key, value in pairs:
        found[key].add(value)
    return found


def _only(values: set[str]) -> str:
    return next(iter(values)) if len(values) == 1 else ""
