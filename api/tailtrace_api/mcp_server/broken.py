"""What broke, for an assistant: groups of failures, whom they hit, since when, and the deployments of that time."""

from collections.abc import Sequence

from tailtrace_api.answers.deployments import Deployment
from tailtrace_api.answers.errors import BrokenThing, Share, WhatBroke
from tailtrace_api.answers.record import Record, record
from tailtrace_api.mcp_server.tool import Call, Rendered

NAMES_SHOWN = 3


@record
class BrokenOutput(Record):
    """A group of failures, in few fields: each is paid for in the list of tools."""

    state: str
    type: str | None
    title: str
    requests: int
    people: int
    hit: tuple[str, ...]
    trace_id: str | None


@record
class WhatBrokeOutput(Record):
    """Of `what_broke`. `markers` are deployments and notes, the newest last."""

    failures: int
    ungrouped: int
    groups: tuple[BrokenOutput, ...]
    markers: tuple[str, ...]


def what_broke(answer: WhatBroke, call: Call) -> Rendered[WhatBrokeOutput]:
    """Show `what_broke`."""
    words, rows = call.words, answer.groups[: call.limit]
    marks = [_marked(one, call) for one in answer.deployments]
    structured = WhatBrokeOutput(
        failures=answer.failures,
        ungrouped=answer.ungrouped,
        groups=tuple(map(_output, rows)),
        markers=tuple(marks),
    )
    counts = {"hours": call.arguments["hours"], "until": call.until}
    ungrouped = [words.say("broke_ungrouped", ungrouped=answer.ungrouped)] if answer.ungrouped else []
    if not answer.groups:
        lines = [*(ungrouped or [words.say("broke_none", **counts)]), *marks]
        # Up to now it is good news.
        return Rendered(structured, lines, is_empty=bool(call.until) and not ungrouped)
    of_5xx = "" if answer.errors_5xx == answer.failures else words.say("broke_of_5xx", errors=answer.errors_5xx)
    groups = words.count("groups", len(answer.groups))
    lines = [
        words.say("broke", failures=words.count("failures", answer.failures), of_5xx=of_5xx, groups=groups, **counts)
    ]
    own = "" if answer.only is None else words.say("broke_own")
    lines += [*([own] if own else []), *marks, *ungrouped, *(_line(row, call) for row in rows)]
    return Rendered(structured, lines, len(rows), len(answer.groups), note=own)


def _marked(one: Deployment, call: Call) -> str:
    words = call.words
    line = words.say("broke_mark", time=one.time, service=one.service or "", text=one.text).replace("  ", " ")
    if not (one.before or one.after):
        return line
    sides = one.before, one.after
    return line + words.say(
        "broke_change",
        rate=_arrow([None if side is None else f"{side.requests_per_minute:g}" for side in sides]),
        errors=_arrow([None if side is None else words.percent(_hundred(side.error_rate)) for side in sides]),
        p95=_arrow([None if side is None else words.millis(side.p95_ms) for side in sides]),
        new=one.new_errors,
    )


def _arrow(values: Sequence[str | None]) -> str:
    return " → ".join(value or "-" for value in values)


def _hundred(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _line(row: BrokenThing, call: Call) -> str:
    say, count = call.words.say, call.words.count
    return say(
        "broke_row",
        state=say(f"state_{row.state}"),
        # Without a type, the title begins with the status.
        type=say("broke_type", type=row.type) if row.type else say("broke_failed"),
        title=row.title,
        requests=count("requests", row.requests),
        people=count("people", row.people),
        hit=", ".join(_names(row.hit)) or "-",
        first=row.first_seen,
        last=row.last_seen,
        versions=say("broke_versions", versions=", ".join(_names(row.versions))) if row.versions else "",
        trace=say("broke_trace", trace=row.traces[0].trace_id) if row.traces else "",
    )


def _output(one: BrokenThing) -> BrokenOutput:
    return BrokenOutput(
        state=one.state,
        type=one.type,
        title=one.title,
        requests=one.requests,
        people=one.people,
        hit=_names(one.hit),
        trace_id=one.traces[0].trace_id if one.traces else None,
    )


def _names(shares: tuple[Share, ...]) -> tuple[str, ...]:
    return tuple(share.name for share in shares[:NAMES_SHOWN])
