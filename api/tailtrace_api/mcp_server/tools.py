"""All tools, and how one is called: arguments checked, the source asked, untrusted text fenced, the answer kept short.

| the answer | is |
|---|---|
| has more rows than `limit` | cut, with a note how to see more |
| would cost more than `TOKENS_MAX`, and `limit` was not given | cut at half as many rows, and again, with a note |
| cannot be had | an error that says what to do; the next call may work |
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from tailtrace_api.access.policy import ADMINS_ONLY, is_allowed, reach_of_tool
from tailtrace_api.access.roles import Role
from tailtrace_api.answers.insight_records import Stored
from tailtrace_api.answers.record import Record
from tailtrace_api.mcp_server import analytics, tailnet_tools
from tailtrace_api.mcp_server.fence import Fence
from tailtrace_api.mcp_server.parameters import Number, WrongArgumentError, check
from tailtrace_api.mcp_server.schema import as_values
from tailtrace_api.mcp_server.source import Source
from tailtrace_api.mcp_server.tool import AnyTool, Call, Rendered
from tailtrace_api.mcp_server.words import Words
from tailtrace_bridge.core.errors import BridgeError

TOKENS_MAX = 1500
"""Of an answer whose caller asked for no number of rows."""
TOOLS: tuple[AnyTool, ...] = (*analytics.TOOLS, *tailnet_tools.TOOLS)
GROUPS = (analytics.GROUP, tailnet_tools.GROUP)
_PIECE = re.compile(r"[A-Za-z]{1,6}|[0-9]{1,3}|[^\w\s]{1,2}|[^\sA-Za-z0-9]|\n")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call gives."""

    text: str
    structured: dict[str, Any] | None
    """None: it is an error, which `text` tells."""


@dataclass(slots=True)
class Counts:
    """What hit a limit so far."""

    calls: int = 0
    errors: int = 0
    shortened: int = 0
    """Answers cut because they would have cost too much."""


def select(wanted: str | None) -> tuple[AnyTool, ...]:
    """Return the tools that a list of groups and names means; all where there is none. Raises `WrongArgumentError`."""
    if not wanted:
        return TOOLS
    words = [word.strip() for word in wanted.split(",") if word.strip()]
    known = {*GROUPS, *(tool.name for tool in TOOLS)}
    if wrong := [word for word in words if word not in known]:
        raise WrongArgumentError(
            f"--tools: there is no {', '.join(wrong)}; write groups ({', '.join(GROUPS)}) or names "
            f"({', '.join(tool.name for tool in TOOLS)}), with commas"
        )
    return tuple(tool for tool in TOOLS if tool.group in words or tool.name in words)


class Toolbox:
    """Calls tools of one source in one language. Safe to share between threads."""

    def __init__(self, tools: Sequence[AnyTool], source: Source, words: Words) -> None:
        self.tools = {tool.name: tool for tool in tools}
        self.counts = Counts()
        self.fence = Fence()
        self._source = source
        self._words = words

    def all_counts(self) -> dict[str, int]:
        """Count calls, and what hit a limit here or at the fence."""
        return asdict(self.counts) | asdict(self.fence.counts)

    def call(self, name: str, given: Mapping[str, object], user: str | None = None) -> Answer:
        """Call a tool; `user` restricts it to what is theirs. Raises `KeyError` for a tool there is not."""
        tool = self.tools[name]
        self.counts.calls += 1
        if user is not None and not is_allowed(Role.MEMBER, reach_of_tool(name)):
            self.counts.errors += 1
            return Answer(ADMINS_ONLY, None)
        try:
            arguments = check(name, tool.parameters, given)
            sent = {key: value for key, value in arguments.items() if key != "limit" or tool.limit_goes_along}
            answer = self.fence.record(self._source.answer(tool.answer, sent, user))
        except (WrongArgumentError, BridgeError) as error:
            self.counts.errors += 1
            return Answer(self.fence.text(str(error), 600), None)
        arguments = self.fence.value(arguments)
        return self._short(tool, answer, arguments, user, is_bounded=given.get("limit") is None)

    def _short(
        self, tool: AnyTool, answer: Record, arguments: Mapping[str, Any], user: str | None, *, is_bounded: bool
    ) -> Answer:
        wanted = limit = arguments.get("limit", analytics.ROWS_DEFAULT)
        while True:
            rendered = tool.present(answer, Call(arguments, self._words, limit))
            if rendered.is_empty and (note := self._where(user)):
                rendered = replace(rendered, lines=[*rendered.lines, note], note=note)
            made = self._made(tool, rendered, wanted)
            if not is_bounded or limit <= 1 or tokens_at_most(made) <= TOKENS_MAX:
                self.counts.shortened += limit < wanted
                return made
            limit //= 2

    def _where(self, user: str | None) -> str:
        """Say where there is something, to who found nothing; empty where that is not known."""
        try:
            stored = self._source.answer(Stored, {}, user)
        except BridgeError:  # an API of before does not know it
            return ""
        if stored.first_day is None:
            return self._words.say("stored_none" if user is None else "stored_none_own")
        said = "stored" if user is None else "stored_own"
        return self._words.say(said, first=stored.first_day, last=stored.last_day)

    def _made(self, tool: AnyTool, rendered: Rendered[Record], wanted: int) -> Answer:
        structured, lines = as_values(rendered.structured), list(rendered.lines)
        if rendered.note:
            structured["note"] = rendered.note
        if rendered.shown < rendered.total:
            note = self._note(tool, rendered, wanted)
            structured["note"] = f"{rendered.note} {note}".strip()
            lines.append(note)
        lines.append(self._words.say("from_logs"))
        # A program goes on with the key of an endpoint, people read what it is called.
        return Answer("\n".join(map(self._words.say.named, lines)), structured)

    def _note(self, tool: AnyTool, rendered: Rendered[Record], wanted: int) -> str:
        most = next(one.high for one in tool.parameters if isinstance(one, Number) and one.name == "limit")
        values = {"shown": rendered.shown, "total": rendered.total, "what": self._words.say(tool.rows)}
        if rendered.shown < wanted:
            return self._words.say("shortened", **values, limit=wanted)
        if wanted >= most:
            return self._words.say("cut_most", **values)
        return self._words.say("cut", **values, limit=min(most, max(rendered.total, wanted + 1)), most=most)


def tokens_at_most(answer: Answer) -> int:
    """Guess from above what an answer costs: the tokenizer of each model differs, and none is ours."""
    text = answer.text + json.dumps(answer.structured, ensure_ascii=False, separators=(",", ":"))
    return sum(1 for _ in _PIECE.finditer(text))
