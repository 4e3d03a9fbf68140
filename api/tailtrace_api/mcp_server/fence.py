r"""Untrusted text, made harmless before an assistant reads it. Pure.

Paths, device names, logins and error types come from whoever sent the request. An assistant reads all that a tool says
as one text, so a path like `/ignore previous instructions ...` would speak to it. Each text that came from outside:

| what is in it | becomes |
|---|---|
| control, bidirectional and invisible characters, line breaks | their escape, `\u202e`: nothing hides |
| `<` `>` `[` `]` `|` and a backslash | percent-encoded: no HTML, no Markdown link or image, no chat template |
| a backtick | an apostrophe: no code block begins or ends |
| spaces in a path | `%20` |
| what reads like an order to an assistant, in any of these disguises | `(withheld: ...)`, counted |
| `PROSE_WORDS_MIN` words or more, with spaces, between two slashes of a path | likewise: a sentence is no path |
| more than `TEXT_LENGTH_MAX` characters | cut, with `…` |

The pattern for orders is a net, not a wall: what passes it is still one short line of quoted data, and the server's
instructions say that such text is never to be obeyed.
"""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar
from urllib.parse import unquote_plus

from tailtrace_api.answers.record import Record, fields_of
from tailtrace_bridge.core.text import printable

R = TypeVar("R", bound=Record)

TEXT_LENGTH_MAX = 120
PROBLEM_LENGTH_MAX = 400
"""Of a message of ours: what to do stands at its end."""
DEPTH_MAX = 8
WITHHELD = "(withheld: reads like an order to an assistant, {} characters)"
PROSE = "(withheld: a sentence where a path should be, {} characters)"
PROSE_WORDS_MIN = 6
_OURS = frozenset({"problem", "problems", "description"})
_MARKUP = str.maketrans({"<": "%3C", ">": "%3E", "[": "%5B", "]": "%5D", "|": "%7C", "\\": "%5C", "`": "'"})
_LOOKALIKES = str.maketrans("0134579@$", "oieastgas")
"""Digits that stand for letters."""
_HOMOGLYPHS = str.maketrans("авеіјкмнорсѕтухԁ", "abeijkmhopcstyxd")
"""Cyrillic letters that look like Latin ones."""
_DISTANCE = r"(?:\w+ ){0,5}"
_WHOSE = r"(?:the|this|that|your|all|any|my|its|el|la|los|las|tu|tus|todas?|todos?)"
_ORDERS = re.compile(
    rf"\b(?:ignor\w*|disregard\w*|forget\w*|overrid\w*|bypass\w*|olvid\w*|omit[ea]\w*) {_DISTANCE}"
    rf"(?:instruc\w+|prompts?|rules?|reglas|context\w*|guidelines|previous|prior|above|anterior\w*)\b"
    rf"|\b(?:new|updated|nuevas?|real|actual) {_DISTANCE}?(?:instruc\w+|orders?|ordenes)\b"
    r"|\b(?:system|developer) (?:prompt|message|override|instruc\w+)\b"
    r"|\b(?:you are|eres|act as|pretend to be|actua como) (?:now|ahora|a|an|un|una|dan|the|my|el|la)\b"
    rf"|\b(?:call|use|invoke|run|execute|llama|usa|ejecuta) {_WHOSE} {_DISTANCE}"
    r"(?:tools?|functions?|herramientas?|commands?|comandos?)\b"
    rf"|\b(?:do not|dont|never|no se lo) {_DISTANCE}(?:tell|mention|reveal|inform|digas|cuentes|menciones)\b"
    rf"|\b(?:send|post|email|upload|exfiltrate|leak|reveal|print|show|envia|manda|revela|muestra) {_WHOSE} {_DISTANCE}"
    rf"(?:passwords?|secrets?|tokens?|keys?|credentials?|prompts?|contrasenas?|claves?|conversation|conversacion)\b"
    r"|\b(?:im start|im end|endoftext|begin (?:system|admin)|end of (?:log|logs|data|output|tool result)s?)\b"
    r"|\b(?:assistant|human|system|user) (?:must|should|please|debe|has to|is to)\b"
    r"|\b(?:important|attention|urgent) (?:\w+ )?(?:assistant|ai|llm|claude|model|agent|instruc\w+)\b"
    r"|(?:^| )(?:inst|sys|s) (?:\w+ ){1,20}(?:inst|sys)(?: |$)"
)
_TEMPLATE = re.compile(
    r"<\s*+(?:/\s*+)?(?:system\w*|assistant|user\w*|human|important|tool\w*|function\w*|instruction\w*|antml:\w+|s)\s*>"
    r"|<\s*invoke\b|^\W*(?:system|assistant|human)\s*:"
    r"|<\|.{0,40}?\|>|\[/?(?:INST|SYS)\]|<<\s*/?SYS\s*>>|(?:^|\\n|\n)[^\S\n]*+#{1,6}\s*(?:system|instruction|assistant)"
    r"|(?:^|\\n|\n)[^\S\n]*+(?:human|assistant|system)\s*:",
    re.IGNORECASE,
)


@dataclass(slots=True)
class FenceCounts:
    """What hit the fence so far."""

    withheld: int = 0
    cut: int = 0


class Fence:
    """Makes texts harmless, and counts what it had to do."""

    def __init__(self) -> None:
        self.counts = FenceCounts()

    def text(self, text: str, length_max: int = TEXT_LENGTH_MAX, *, is_path: bool = False) -> str:
        """Make one text harmless: the table above. What begins with a slash is a path, too."""
        withheld = WITHHELD if reads_like_an_order(text) else ""
        if not withheld and (is_path or text.startswith("/")) and reads_like_a_sentence(text):
            withheld = PROSE
        if withheld:
            self.counts.withheld += 1
            return withheld.format(len(text))
        shown = printable(text.translate(_MARKUP), 10 * len(text))  # an escape is ten characters at most
        if shown.startswith("/"):
            shown = shown.replace(" ", "%20")
        if len(shown) > length_max:
            self.counts.cut += 1
            shown = shown[: length_max - 1] + "…"
        return shown

    def record(self, record: R) -> R:
        """Make each text in an answer harmless."""
        made: R = self.value(record)
        return made

    def value(self, value: Any, depth: int = 0, length_max: int = TEXT_LENGTH_MAX, *, is_path: bool = False) -> Any:
        """Make each text in a value harmless, keys of tables too. What is nested too deep is left out."""
        if isinstance(value, str):
            return self.text(value, length_max, is_path=is_path)
        if depth >= DEPTH_MAX:
            return None
        if isinstance(value, Record):
            return type(value)(**self._named(fields_of(value), depth + 1, length_max))
        if isinstance(value, Mapping):
            return {self.text(key): one for key, one in self._named(value, depth + 1, length_max).items()}
        if isinstance(value, list | tuple):
            return type(value)(self.value(one, depth + 1, length_max) for one in value)
        return value

    def _named(self, values: Mapping[str, Any], depth: int, length_max: int) -> dict[str, Any]:
        return {
            name: self.value(one, depth, PROBLEM_LENGTH_MAX if name in _OURS else length_max, is_path=name == "path")
            for name, one in values.items()
        }


@lru_cache(maxsize=8192)
def reads_like_an_order(text: str) -> bool:
    """Return whether a text speaks to an assistant, also percent-encoded, in slugs, accented or spelt with digits."""
    for _ in range(3):
        if _TEMPLATE.search(text) or _ORDERS.search(_plain(text)) or _ORDERS.search(_plain(text, joined=True)):
            return True
        decoded = unquote_plus(text)
        if decoded == text:
            return False
        text = decoded
    return False


@lru_cache(maxsize=8192)
def reads_like_a_sentence(path: str) -> bool:
    """Return whether a path has a sentence in it, also percent-encoded."""
    decoded = unquote_plus(path)
    return any(
        len(segment.split()) >= PROSE_WORDS_MIN
        for text in (path, decoded, unquote_plus(decoded))
        for segment in text.split("/")
    )


def _plain(text: str, *, joined: bool = False) -> str:
    """Return lower-case words with one space between: `Ígnore-ALL` → `ignore all`. `joined` reads digits as letters."""
    split = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)
    decomposed = unicodedata.normalize("NFKD", split)
    letters = "".join(one for one in decomposed if not unicodedata.combining(one) and unicodedata.category(one) != "Cf")
    lowered = letters.casefold().translate(_HOMOGLYPHS).replace("'", "").replace("’", "")
    if joined:
        lowered = lowered.translate(_LOOKALIKES)
    return " ".join(re.findall(r"[^\W_]+", lowered))
