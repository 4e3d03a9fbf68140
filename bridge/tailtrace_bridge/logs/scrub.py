"""Paths without what names a person or opens a door: e-mail addresses and tokens are replaced before they are stored.

| in a path | becomes |
|---|---|
| an e-mail address, its `@` also as `%40` | `[email]` |
| a JSON Web Token: three parts of base64url, the first of `{"` | `[token]` |
| what begins like a known key: `ghp_`, `glpat-`, `xoxb-`, `sk_live_`, `AKIA`, `tskey-`, `ttk_` … | `[token]` |
| 32 or more hex digits in a row, not all letters; 28 or more of base64 with both cases and digits | `[token]` |
| a UUID with its dashes, a number, a word | stays: an id of a thing, which the app has a name for |

A path that a token or an address stood in loses it for good: what is not kept cannot leak. Pure.
"""

import re

EMAIL, TOKEN = "[email]", "[token]"
_FILES = "png|jpe?g|gif|webp|avif|svg|ico|css|js|mjs|map|woff2?|ttf|html?|json|pdf|txt|xml"
_EMAIL = re.compile(
    rf"[A-Za-z0-9.!#$&'*+=?^_`{{|}}~%-]+(?:@|%40)(?!\dx\.)(?:[A-Za-z0-9-]+\.)+(?!(?:{_FILES})(?![A-Za-z0-9-]))[A-Za-z]{{2,24}}"
    r"(?![A-Za-z0-9-])",
    re.IGNORECASE,
)
_TOKEN = re.compile(
    r"""
      eyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]{6,}(?:\.[A-Za-z0-9_-]*)?
    | (?<![A-Za-z0-9])(?:
          gh[pousr]_ | github_pat_ | glpat- | xox[abeprs]- | sk-(?=[A-Za-z0-9_-]{16}) | [rsp]k_(?:live|test)_ | AKIA
        | ASIA | AIza | ya29\. | tskey- | ttk_ | npm_ | pypi- | dop_v1_ | SG\.
      )[A-Za-z0-9_.-]{10,}
    | (?<![A-Za-z0-9])(?=[A-Fa-f]*[0-9])[0-9A-Fa-f]{32,}(?![A-Za-z0-9])
    | (?<![A-Za-z0-9_+=-])(?=[A-Za-z0-9_+=-]*[A-Z])(?=[A-Za-z0-9_+=-]*[a-z])(?=[A-Za-z0-9_+=-]*[0-9])
      [A-Za-z0-9_+=-]{28,}
    """,
    re.VERBOSE,
)
_SUSPECT = re.compile(r"@|%40|[A-Za-z0-9_+=.-]{14}", re.IGNORECASE)
_UUID = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")


def scrub(text: str) -> str:
    """Return a path without addresses and tokens. Most have neither, and cost one look."""
    if _SUSPECT.search(text) is None:
        return text
    return _TOKEN.sub(_token, _EMAIL.sub(EMAIL, text))


def _token(match: re.Match[str]) -> str:
    return match[0] if _UUID.fullmatch(match[0]) else TOKEN
