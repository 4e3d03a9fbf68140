"""The view of a card, and which variant of the card it was: one key for both, so that no store needs to know. Pure.

| asked for | the key |
|---|---|
| `/_tailtrace/view?card=prices` | `prices` |
| `/_tailtrace/view?card=prices&variant=B` | `prices#B` |
| a `variant` that is not of the form `VARIANT` | as without one: the card was seen all the same |
| `/_tailtrace/view?card=C%23`, a name with `#` in it | `C##`: with a variant even if that is empty |

So a key divides at its last `#`. A view is stored under the endpoint `CARD_PREFIX` + key, and a store rolls it up like
any other; what shows cards takes the key apart again, and adds up the variants.
"""

import re

VIEW_PATH = "/_tailtrace/view"
CARD_PREFIX = f"{VIEW_PATH}?card="
CARD_LENGTH_MAX = 64
VARIANT = re.compile(r"[A-Za-z0-9._-]{1,16}")
_DIVIDER = "#"


def card_key(card: str, variant: str = "") -> str:
    """Return the key of a card and its variant; empty for a card without a name."""
    if not card:
        return ""
    if VARIANT.fullmatch(variant):
        return f"{card}{_DIVIDER}{variant}"
    return f"{card}{_DIVIDER}" if _DIVIDER in card else card


def split_key(key: str) -> tuple[str, str]:
    """Return card and variant of a key; the variant is empty where there was none."""
    card, divider, variant = key.rpartition(_DIVIDER)
    return (card, variant) if divider else (key, "")


def split_endpoint(endpoint: str) -> tuple[str, str]:
    """Return card and variant of the endpoint that a view is stored under."""
    return split_key(endpoint.removeprefix(CARD_PREFIX))
