"""Paths without what names a person or opens a door: e-mail addresses and tokens are replaced before they are stored.

| in a path | becomes |
|---|---|
| an e-mail address, its `@` also as `%40` | `[email]` |
| all from the word before the `@` on that is one more than `AT_SIGNS_MAX` | `[email]` |
| a JSON Web Token: three parts of base64url, the first of `{"` | `[token]` |
| what begins like a known key: `ghp_`, `glpat-`, `xoxb-`, `sk_live_`, `AKIA`, `tskey-`, `ttk_` … | `[token]` |
| 32 or more hex digits in a row, not all letters; 28 or more of base64 with both cases and digits | `[token]` |
| what a name says is a secret: `;jsessionid=…`, `%3Ftoken=…`, `/api_key=…` | the name, and `[token]` |
| a user and a password: `//ann:…@host` | `[token]@` |
| a UUID with its dashes, a number, a word | stays: an id of a thing, which the app has a name for |

A path that a token or an address stood in loses it for good: what is not kept cannot leak. Pure.

These texts are untrusted, so each costs time in proportion to its length, whatever is in it. A pattern that begins
at every character and reads on to the end of a word takes the square of it; here

* an address is looked for from its `@`, of which the domain behind it holds no other;
* a token begins at the start of a word, or is recognised or rejected within a bounded number of characters;
* a JSON Web Token may begin inside a word, so where no part follows the word its `eyJ` is hidden first.
"""

import re
from itertools import islice

EMAIL, TOKEN = "[email]", "[token]"
AT_SIGNS_MAX = 4
"""Of one path, `%40` counted: no path of an app has more, and each is looked at."""
WEB_TOKENS_FEW = 8
"""So often each `eyJ` may read on to the end of its word, in vain: a path is short enough for that."""
_FILES = "p(?:ng|df)|j(?:pe?g|s(?:on)?)|gif|w(?:ebp|off2?)|avif|svg|ico|css|m(?:js|ap)|t(?:tf|xt)|html?|xml"
"""Endings of files, by their first letters: most words are told to be none at the first."""
_LOCAL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.!#$&'*+=?^_`{|}~%-"
"""What may stand before the `@`; it holds `%40` as well."""
_AT = re.compile("@|%40")
_DOMAIN_PATTERN = (
    r"(?=[A-Za-z0-9-]++\.[A-Za-z0-9-])(?!\d[Xx]\.)"
    rf"(?:[A-Za-z0-9-]++\.)+(?=[A-Za-z]{{2,24}}+(?![A-Za-z0-9-]))(?!(?i:{_FILES})(?![A-Za-z0-9-]))[A-Za-z]++"
)
_DOMAIN = re.compile(_DOMAIN_PATTERN)
_AT_DOMAIN = re.compile(rf"[@%](?:(?<=@)|40){_DOMAIN_PATTERN}")
_KEYS = (
    r"gh[pousr]_|github_pat_|glpat-|xox[abeprs]-|sk-(?=[A-Za-z0-9_-]{16})|rk_(?:live|test)_|sk_(?:live|test)_"
    r"|pk_(?:live|test)_|AKIA|ASIA|AIza|ya29\.|tskey-|tt[kls]_|npm_|pypi-|dop_v1_|SG\."
)
"""How known keys begin, each with a letter of its own: `re` then passes over all that begins with no such letter."""
_TOKEN = re.compile(
    rf"""
      eyJ[A-Za-z0-9_-]{{6,}}+\.[A-Za-z0-9_-]{{6,}}+(?:\.[A-Za-z0-9_-]*+)?
    | (?<![A-Za-z0-9])(?:
        (?:{_KEYS})[A-Za-z0-9_.-]{{10,}}+
      | (?=[A-Fa-f]*+[0-9])[0-9A-Fa-f]{{32,}}+(?![A-Za-z0-9])
      | (?<![_+=-])(?=[a-z0-9_+=-]*+[A-Z])(?=[A-Z0-9_+=-]*+[a-z])(?=[A-Za-z_+=-]*+[0-9])[A-Za-z0-9_+=-]{{28,}}+
    )
    """,
    re.VERBOSE,
)
_PLAIN = re.compile(
    r"(?:[^A-Za-z0-9_+.=@%-]++|(?!SG\.)[A-Za-z0-9_+.-]{1,13}+(?![A-Za-z0-9_+.-])|%(?!40|(?:25)*+3[Dd]))*+",
)
"""Neither an `@` nor a `=`, and each word too short for a token; each character is looked at once. The one kind of 13
characters is `SG.` and ten."""
_SHORT = re.compile(r"(?:[^A-Za-z0-9_+=-]++|[A-Za-z0-9_+=-]{1,27}+(?![A-Za-z0-9_+=-]))*+")
_KEY = re.compile(rf"(?:{_KEYS})[A-Za-z0-9_.-]{{10}}")
"""Each token but a JSON Web Token is a word that is not short, or has a key in it. To look for these, word by word and
at letters that begin a key, is cheaper than to look where a token may begin."""
_WORD = re.compile(r"[A-Za-z0-9_+=-]++")
_BASE64 = re.compile("(?=[a-z0-9_+=-]*+[A-Z])(?=[A-Z0-9_+=-]*+[a-z])[A-Za-z_+=-]*+[0-9]")
_HEX = re.compile("(?<![A-Za-z0-9])[0-9A-Fa-f]{32}")
"""Of a long word: whether it can be base64, and whether a part of it can be hex."""
_WEB_TOKEN = re.compile(r"eyJ[A-Za-z0-9_-]{6}")
_CREDENTIALS = re.compile(r"(?:(?<=/)|\A)[^/@:\s]*+:[^/@\s]++@")
_EQUALS = re.compile("=|%(?:25)*+3[Dd]")
_NAMED = re.compile(
    r"([TtSsPpAaJjCc](?=[OoEeIiAaWwPpUuRr][KkCcSsGgDdIiTtEe])"  # most letters begin none, and are told so at once
    r"(?i:(?<=t)oken|(?<=s)(?:ecret|ess(?:ion)?_?id|ignature)|(?<=\bs)i[dg]|(?<=p)(?:assw(?:or)?d|wd)"
    r"|(?<=a)(?:pi[_-]?key|uth)|(?<=j)wt|(?<=c)redential))"
    r"(=|%(?:25)*3[Dd])[^/;&\s\"'…]++"
)
"""Parameters that stand in a path, as where a `?` was encoded."""
UUID_LENGTH = 36
_UUID = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_ALONE = re.compile(r"(?<![A-Za-z0-9_-])[A-Za-z0-9_-]{9,}+(?!\.[A-Za-z0-9_-]{6})")
"""A word that is not the first part of a JSON Web Token, since no second one follows."""


def scrub(text: str) -> str:
    """Return a path without addresses and tokens. Most have neither, and cost one look."""
    if _PLAIN.fullmatch(text):
        return text
    if ("=" in text or "%" in text) and _EQUALS.search(text):
        text = _NAMED.sub(_named, text)
    if ":" in text and "@" in text:
        text = _CREDENTIALS.sub(f"{TOKEN}@", text)
    if "%40" in text:
        at_signs = text.count("@") + text.count("%40")
        text = _without_encoded(text) if at_signs <= AT_SIGNS_MAX else _without_encoded(_cut(text)) + EMAIL
    elif "@" in text:
        text = _without_emails(text)
    if "eyJ" in text and _WEB_TOKEN.search(text):
        return _without_tokens(text)
    return _TOKEN.sub(_token, text) if _may_be_token(text) or _KEY.search(text) else text


def _may_be_token(text: str) -> bool:
    """Return whether a long word can be a token: to look where one may begin in it takes several times as long."""
    end = 0
    while (short := _SHORT.match(text, end)) and (end := short.end()) < len(text):
        word = _WORD.match(text, end)
        if word is None or _BASE64.match(text, end) or _HEX.search(text, end, word.end()):
            return True
        end = word.end()
    return False


def _cut(text: str) -> str:
    """Return what stands before the word of the first `@` too many, where some are `%40`."""
    return text[: next(islice(_AT.finditer(text), AT_SIGNS_MAX, None)).start()].rstrip(_LOCAL)


def _without_emails(text: str) -> str:
    """Replace addresses, none of whose `@` is `%40`."""
    parts: list[str] = []
    first, *behind = text.split("@")
    is_cut = len(behind) > AT_SIGNS_MAX
    if is_cut:
        behind = [*behind[: AT_SIGNS_MAX - 1], behind[AT_SIGNS_MAX - 1].rstrip(_LOCAL)]
    for part in behind:
        domain = _DOMAIN.match(part)
        if domain and len(before := first.rstrip(_LOCAL)) < len(first):
            parts += (before, EMAIL)
            first = part[domain.end() :]
        else:
            parts += (first, "@")
            first = part
    return "".join((*parts, first, EMAIL) if is_cut else (*parts, first))


def _without_encoded(text: str) -> str:
    """Do so where there are `%40`: of several in one run of `_LOCAL`, the last with a domain behind it counts."""
    parts: list[str] = []
    kept = looked = start = end = 0
    """Up to where `text` is in `parts`, and was looked at; where the last address starts, and ends: 0, none yet."""
    is_open = False
    """Whether the run goes on behind the last `%40`."""
    for match in _AT_DOMAIN.finditer(text):
        at = match.start()
        run = looked + len(text[looked:at].rstrip(_LOCAL))
        if not (is_open and run == looked):
            if end:
                parts += (text[kept:start], EMAIL)
                kept = end
            start, end = run, 0
        if at > start:
            end = looked = match.end()
        else:
            looked = at + (text[at] == "@")
        is_open = text[at] == "%"
    if end:
        parts += (text[kept:start], EMAIL)
        kept = end
    return "".join((*parts, text[kept:]))


def _without_tokens(text: str) -> str:
    """Replace tokens in a text with `eyJ` in it: where it begins no token it is hidden, letter for letter alike."""
    few = text.count("eyJ") <= WEB_TOKENS_FEW
    hidden = text if few else _ALONE.sub(lambda word: word[0].replace("eyJ", "eyI"), text)
    if hidden == text:
        return _TOKEN.sub(_token, text)
    parts: list[str] = []
    kept = 0
    for match in _TOKEN.finditer(hidden):
        if _token(match) == TOKEN:
            parts += (text[kept : match.start()], TOKEN)
            kept = match.end()
    return "".join((*parts, text[kept:]))


def _named(match: re.Match[str]) -> str:
    """Return the name and `[token]`. As a template `re` would make an expander of it at each call."""
    return match[1] + match[2] + TOKEN


def _token(match: re.Match[str]) -> str:
    found = match[0]
    return found if len(found) == UUID_LENGTH and _UUID.fullmatch(found) else TOKEN
