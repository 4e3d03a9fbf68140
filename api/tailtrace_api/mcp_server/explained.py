"""A kept trace for an assistant: where the time went, which spans took it, which lines of the app broke. Pure."""

from collections.abc import Mapping
from typing import Any

from tailtrace_api.mcp_server.words import Words

Fields = Mapping[str, Any]
SLOWEST_SHOWN = 3
FRAMES_SHOWN = 3
"""The innermost of the app's own: what broke is in the last, who called it in those before."""
FAILURES_SHOWN = 3


def digest(trace: Fields) -> dict[str, Any]:
    """Return what of a trace an assistant gets: phases, the spans with most time of their own, failures."""
    spans = trace["spans"]
    of_app = [span for span in spans if not span["nginx"]]
    own = own_times(spans)
    slowest = sorted((span for span in of_app if own[span["id"]] > 0), key=lambda span: -own[span["id"]])
    failures = [(span, failure) for span in spans for failure in span["failures"]]
    return {
        "phases": [
            {"phase": phase["phase"], "ms": phase["duration_ms"]}
            for request in trace["requests"]
            for phase in request["phases"]
        ],
        "spans": len(spans),
        "slowest": [
            {"span": span["name"], "service": span["service"], "own_ms": round(own[span["id"]], 3)}
            for span in slowest[:SLOWEST_SHOWN]
        ],
        "failures": [
            {
                "type": failure["type"],
                "span": span["name"],
                "service": span["service"],
                "frames": [
                    {key: frame[key] for key in ("file", "line", "function", "source")}
                    for frame in [one for one in failure["stack"] if one["own"]][-FRAMES_SHOWN:]
                ],
            }
            for span, failure in failures[-FAILURES_SHOWN:]
        ],
    }


def own_times(spans: list[Fields]) -> dict[str, float]:
    """Return how long each span had none of its children at work, in milliseconds."""
    children: dict[str, list[tuple[float, float]]] = {}
    for span in spans:
        if span["parent_id"]:
            children.setdefault(span["parent_id"], []).append(
                (span["start_ms"], span["start_ms"] + span["duration_ms"])
            )
    own: dict[str, float] = {}
    for span in spans:
        start, end = span["start_ms"], span["start_ms"] + span["duration_ms"]
        covered = 0.0
        for child_start, child_end in sorted(children.get(span["id"], ())):
            covered += max(0.0, min(child_end, end) - max(child_start, start))
            start = max(start, child_end)
        own[span["id"]] = max(0.0, span["duration_ms"] - covered)
    return own


def sentences(short: Fields, words: Words) -> list[str]:
    """Tell it in sentences."""
    lines = []
    if short["phases"]:
        parts = "; ".join(f"{words.say('phase_' + one['phase'])} {words.millis(one['ms'])}" for one in short["phases"])
        lines.append(words.say("trace_phases", parts=parts))
    if short["slowest"]:
        parts = "; ".join(
            f"{one['span']}{_of(one['service'])} {words.millis(one['own_ms'])}" for one in short["slowest"]
        )
        lines.append(words.say("trace_slowest", spans=short["spans"], parts=parts))
    for failure in short["failures"]:
        lines.append(
            words.say("trace_failure", type=failure["type"], span=failure["span"], service=_of(failure["service"]))
        )
        lines += [
            f"  {frame['file']}:{frame['line']} {frame['function']}: {frame['source'] or ''}".rstrip(": ")
            for frame in failure["frames"]
        ]
    return lines


def _of(service: str | None) -> str:
    return f" ({service})" if service else ""
