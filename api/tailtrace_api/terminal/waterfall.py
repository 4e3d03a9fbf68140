"""A kept trace in the terminal: who asked, where the time went, a bar for each span, and what broke.

A bar is drawn against the whole trace; what is shorter than a column is one mark. All of its text is untrusted.
"""

from collections.abc import Iterator

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from tailtrace_api.answers.traces import Failure, Span, Trace, TracedRequest
from tailtrace_bridge.core.text import printable

BAR_COLUMNS = 40
NAME_COLUMNS = 48
FRAMES_SHOWN = 8
"""Of a stack: those of the app itself first, else the innermost."""
_PHASES = {
    "attempt": "a server before, in vain",
    "connect": "connecting to the app",
    "waiting": "waiting for the app to begin",
    "app": "app, until its first byte",
    "answer": "the rest of its answer",
    "client": "client, network and nginx",
}


def print_trace(console: Console, trace: Trace) -> None:
    """Draw a trace."""
    for request in trace.requests:
        console.print(_head(request), soft_wrap=True)
        console.print(_phases(request))
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim")
    table.add_column("span", max_width=NAME_COLUMNS, no_wrap=True, overflow="ellipsis")
    table.add_column("service", max_width=20, no_wrap=True, overflow="ellipsis")
    table.add_column("", width=BAR_COLUMNS)
    table.add_column("ms", justify="right", no_wrap=True)
    for span in trace.spans:
        colour = "red" if span.failed else "cyan" if span.nginx else "green"
        mark = " (outside)" if span.outside else ""
        name = Text("  " * span.depth + printable(span.name) + mark, style="red" if span.failed else "")
        service = Text(printable(span.service or ""), style="dim")
        table.add_row(name, service, Text(_bar(span, trace.duration_ms), style=colour), f"{span.duration_ms:.1f}")
    console.print(table)
    for span in trace.spans:
        for failure in span.failures:
            console.print(Group(*_failure(span, failure)), soft_wrap=True)
    if trace.url:
        console.print(Text(printable(trace.url)), soft_wrap=True)


def _head(request: TracedRequest) -> Text:
    who = request.user or request.device or request.ip
    place = f" ({request.device}, {request.ip})" if request.user and request.device else f" ({request.ip})"
    said = f"{request.timestamp}  {request.method} {request.path}  {request.status}  {who}{place}"
    return Text(printable(said), style="bold red" if request.status >= 500 else "bold")


def _phases(request: TracedRequest) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(justify="right")
    table.add_column()
    for phase in request.phases:
        table.add_row(f"{phase.duration_ms:.1f} ms", _PHASES.get(phase.phase, phase.phase))
    if not request.phases:
        table.add_row("", "the log has no times" if request.duration_ms is None else "less than a millisecond")
    return table


def _bar(span: Span, total_ms: float) -> str:
    scale = BAR_COLUMNS / total_ms if total_ms > 0 else 0
    begin = min(BAR_COLUMNS - 1, max(0, round(span.start_ms * scale)))
    length = max(1, min(BAR_COLUMNS - begin, round(span.duration_ms * scale)))
    return " " * begin + "━" * length


def _failure(span: Span, failure: Failure) -> Iterator[Text]:
    said = f": {failure.message}" if failure.message else ""
    yield Text(printable(f"{failure.type}{said}  in {span.name}"), style="bold red")
    own = [frame for frame in failure.stack if frame.own]
    for frame in (own or list(failure.stack))[-FRAMES_SHOWN:]:
        yield Text(printable(f"  {frame.file}:{frame.line} in {frame.function}"))
        if frame.source:
            yield Text(printable(f"    {frame.source}"), style="dim")
