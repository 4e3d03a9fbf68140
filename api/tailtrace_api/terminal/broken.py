"""What broke, in the terminal. All of its text is untrusted."""

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from tailtrace_api.answers.errors import BrokenThing, Share, WhatBroke
from tailtrace_api.terminal.deployments import print_deployments
from tailtrace_bridge.core.text import printable
from tailtrace_bridge.texts.catalogue import Texts

_STATES = {"new": "bold red", "back": "bold red", "ongoing": "yellow", "resolved": "green"}
FRAMES_SHOWN = 4
_TEXTS = Texts("report", "en")


def print_broken(console: Console, found: WhatBroke) -> None:
    """Print the groups."""
    since = f"{found.window['from']} to {found.window['to']}"
    of_5xx = "" if found.errors_5xx == found.failures else f" ({found.errors_5xx} of them answered 5xx)"
    console.print(
        Text(f"{found.failures} failed requests{of_5xx} in {len(found.groups)} groups, {since}"), soft_wrap=True
    )
    if found.ungrouped:
        console.print(Text(f"{found.ungrouped} more answers of 5xx are in no group"), soft_wrap=True)
    for mark in found.markers[: len(found.markers) - len(found.deployments)]:
        said = f"{mark.time}  {mark.service or ''} {mark.text}".replace("  ", " ")
        console.print(Text(printable(f"▲ {said}"), style="cyan"), soft_wrap=True)
    print_deployments(console, found.deployments, "en")
    for one in found.groups:
        console.print()
        _print_group(console, one)
    if found.truncated:
        console.print(Text("more groups are left out"))


def _print_group(console: Console, one: BrokenThing) -> None:
    head = Text(f"{one.state:8} ", style=_STATES[one.state])
    head.append(printable(_TEXTS.named(f"{one.type or 'failed'}  {one.title}")), style="bold")
    console.print(head, soft_wrap=True)
    lines = [
        f"{one.requests} requests, {one.people} people, {one.devices} devices; {one.first_seen} to {one.last_seen}",
        *_listed("hit", one.hit),
        *_listed("endpoints", one.endpoints),
        *_listed("versions", one.versions),
        *(f"in {frame}" for frame in one.frames[-FRAMES_SHOWN:]),
        *(f"tailtrace trace {trace.trace_id}  ({trace.timestamp})" for trace in one.traces[:2] if trace.kept),
        f"id {one.id}",
    ]
    for line in lines:
        console.print(Text(" " * 9 + printable(_TEXTS.named(line))), soft_wrap=True)


def _listed(what: str, shares: Sequence[Share]) -> list[str]:
    return [f"{what}: {', '.join(f'{one.name} ({one.requests})' for one in shares)}"] if shares else []
