"""Whose rows a text of a rollup has, beside it: so who asks for one person fetches the texts with theirs alone. Pure.

| a text | `who` | may be of |
|---|---|---|
| of a kind that goes by identity | those with a name, and whether there are others: packed as a document is | these |
| of any other kind, or of an older tailtrace | none | anybody |
| that was written over `who` of before: `who_asof_us` is not its `asof_us` | is not looked at | anybody |

Beside `who` stands `at_ns`, the time of the point: InfluxQL knows no OR of times.
"""

import json
import zlib
from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any

from tailtrace_bridge.core.records import Identity
from tailtrace_bridge.store.influx.rollups.whose import Find

LENGTH_MAX = 32_000
"""Characters; more are not written: a string field holds 64 KiB."""
VALUES = attrgetter(
    "address", "kind", "user", "device", "node_id", "tags", "provider", "user_id", "via", "reason", "expired"
)
"""Of an identity, as it is written."""


def pack(identities: Iterable[Identity]) -> str:
    """Write who has rows; nothing where that would be too long."""
    named, others = [], False
    for one in identities:
        if one.user or one.device:
            named.append(VALUES(one))
        else:
            others = True
    content = json.dumps([named, others], separators=(",", ":")).encode()
    packed = b64encode(zlib.compress(content)).decode()
    return packed if len(packed) <= LENGTH_MAX else ""


def can_be_named(point: Sequence[Any]) -> bool:
    """Return whether a text can be asked for by its `at_ns`."""
    return bool(point[3])


def may_have(point: Sequence[Any], find: Find, *, by_address: bool) -> bool:
    """Return whether a text may have rows of those that are meant, who may be meant by an address alone.

    `point` is the time of the text, `asof_us`, `parts`, `who` and `who_asof_us`.
    """
    _, asof_us, _, who, who_asof_us = point
    if not who or who_asof_us != asof_us:
        return True
    named, others = json.loads(zlib.decompress(b64decode(who)))
    return (others and by_address) or any(find(values) for values in named)
