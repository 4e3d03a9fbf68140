"""The three answers as tables for a terminal. Values are those of HTTP.

Each number says what it is of: usage, or all traffic with health checks, bots and files (docs/definitions.md).

| columns of the terminal | what is left out |
|---|---|
| `WIDE` and more | nothing |
| `NARROW` and more | the year of the last request, which the window has |
| fewer | what people use most, p50 and p99 |

Nothing is cut: names and routes go on in the next line.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from rich import box
from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from tailtrace_api.answers.deployments import Deployment
from tailtrace_api.answers.request_records import (
    CardViews,
    EndpointTimes,
    Report,
    SystemHealth,
    UsageSummary,
    UserSessions,
)
from tailtrace_api.answers.requests import placed
from tailtrace_api.terminal.deployments import print_deployments
from tailtrace_api.terminal.numbers import decimal, hours, milliseconds, percent
from tailtrace_bridge.core.cards import CARD_PREFIX
from tailtrace_bridge.core.text import printable
from tailtrace_bridge.core.times import parse_time
from tailtrace_bridge.texts.catalogue import Texts

ROWS_MAX = 12
WIDE, NARROW = 100, 70
GAP = 2
"""Between two columns."""
_WHOLE, _SHORT = "%Y-%m-%d %H:%M", "%m-%d %H:%M"
_BARS = " ▁▂▃▄▅▆▇█"


def print_report(
    console: Console,
    report: Report,
    lang: str,
    compared: Sequence[Deployment] = (),
    *,
    is_narrow: bool = False,
    stored: tuple[str, str] | None = None,
) -> None:
    """Print what `--json` gives, in words, and what deployments changed; `is_narrow`: of a user, endpoint or status.

    `stored`: the first and the last day of what is stored, for where the window has nothing.
    """
    console.print(Group(*_parts(report, lang, console.width, stored, is_narrow=is_narrow)))
    if is_narrow:
        console.print(Text(Texts("report", lang)("narrow"), style="dim"))
    if compared:
        console.print(Text(f"\n{Texts('report', lang)('deployments')}", style="bold"))
        print_deployments(console, compared, lang, ZoneInfo(report.dashboard_usage.timezone))


def _parts(
    report: Report, lang: str, width: int, stored: tuple[str, str] | None, *, is_narrow: bool
) -> Iterable[RenderableType]:
    texts = Texts("report", lang)
    usage, health = report.dashboard_usage, report.system_health_history
    zone = ZoneInfo(usage.timezone)
    start, end = (f"{_time(usage.window[name], zone):{_WHOLE}}" for name in ("from", "to"))
    yield Text(texts("window", start=start, end=end, zone=zone), style="dim")
    if not health.error_rate.overall.requests:
        yield Text(texts("nothing-narrow") if is_narrow else _nothing(health, texts, zone, stored), style="yellow")
        return
    yield from _heading(usage.summary, health, lang)
    yield Text()
    if usage.user_sessions:
        yield _people(usage.user_sessions, lang, zone, width)
        yield from _more(usage.truncated.get("user_sessions", len(usage.user_sessions)), lang)
    else:
        yield Text(f"{texts('people.none')}\n", style="bold")
    yield _endpoints(health, lang, width)
    cards = len(health.api_response_times) - len(_own_routes(health))
    routes = health.truncated.get("api_response_times", len(health.api_response_times))
    yield from _more(routes - cards, lang)
    if usage.most_viewed_cards:
        yield _cards(usage.most_viewed_cards, lang)
        yield Text()
    yield Text(texts("peak"), style="bold")
    yield _bars([row.requests for row in usage.peak_hours])


def _nothing(health: SystemHealth, texts: Texts, zone: ZoneInfo, stored: tuple[str, str] | None) -> str:
    """Return where there is something, as after an import of old logs; or what may be wrong."""
    if health.data_freshness_seconds is None:
        return texts("nothing") if stored is None else texts("nothing-before", first=stored[0], last=stored[1])
    newest = parse_time(health.window["to"]) - timedelta(seconds=health.data_freshness_seconds)
    newest = (newest + timedelta(milliseconds=500)).replace(microsecond=0)
    after = (newest + timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return texts("nothing-here", time=f"{newest.astimezone(zone):{_WHOLE}}", at=after)


def _heading(summary: UsageSummary, health: SystemHealth, lang: str) -> Iterable[Text]:
    """Return the numbers of usage, those of all traffic, and in how many requests the two differ."""
    texts, overall = Texts("report", lang), health.error_rate.overall

    def count(what: str, n: int) -> str:
        return texts.count(what, n, decimal(n, lang))

    average = summary.avg_response_time_ms
    yield Text(
        texts(
            "usage" if summary.unique_users or summary.unique_devices else "usage.unnamed",
            requests=count("request", summary.total_requests),
            addresses=count("address", summary.unique_addresses),
            users=count("user", summary.unique_users),
            devices=count("device", summary.unique_devices),
            errors=count("error", summary.errors_5xx),
            avg=texts("untimed") if average is None else texts("avg", avg=milliseconds(average, lang)),
        ),
        style="bold",
    )
    yield Text(
        texts(
            "all",
            requests=count("request", overall.requests),
            apart=decimal(overall.requests - summary.total_requests, lang),
            errors=count("error", overall.errors_5xx),
            rate=percent(100 * overall.error_rate, lang),
        )
    )
    minutes = count("minute", health.minutes_with_traffic)
    down = texts("down", down=count("minute", health.minutes_down), partial=decimal(health.minutes_partial, lang))
    yield Text(texts("uptime", uptime=percent(health.uptime_percentage, lang), minutes=minutes) + down)
    if len(health.uptime_by_service) > 1:
        for one in health.uptime_by_service[:ROWS_MAX]:
            minutes = count("minute", one.minutes_with_traffic)
            up = texts(
                "uptime-of", service=one.service or "–", uptime=percent(one.uptime_percentage, lang), minutes=minutes
            )
            yield Text(printable(up))


def _table(header: str, title: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    table.show_edge, table.pad_edge, table.padding = False, False, (0, 1, 0, 0)
    table.add_column(header, overflow="fold")
    return table


def _people(rows: Sequence[UserSessions], lang: str, zone: ZoneInfo, width: int) -> Table:
    texts, rows = Texts("report", lang), rows[:ROWS_MAX]
    is_roomy = width >= NARROW
    names = [_plain(row.user) for row in rows]
    numbers = {
        texts("sessions"): [decimal(row.sessions, lang) for row in rows],
        texts("time"): [hours(row.total_time_hours, lang) for row in rows],
        texts("requests"): [decimal(row.requests, lang) for row in rows],
    }
    seen = [f"{_time(row.last_seen, zone):{_WHOLE if width >= WIDE else _SHORT}}" for row in rows]
    table = _table(texts("user"), texts("people"))
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    if is_roomy:
        table.add_column(texts("favorites"), overflow="fold")
    table.add_column(texts("seen"), no_wrap=True)
    # Who it was is the point: of what the others leave, the name has half at least.
    taken = sum(max(map(cell_len, column)) + GAP for column in ([name, *cells] for name, cells in numbers.items()))
    room = width - taken - max(map(cell_len, (texts("seen"), *seen))) - GAP - (GAP if is_roomy else 0)
    table.columns[0].min_width = max(1, min(max(map(cell_len, names)), room // 2 if is_roomy else room))
    for index, (name, row) in enumerate(zip(names, rows, strict=True)):
        favorites = _plain(", ".join(texts.named(feature) for feature in row.favorite_features))
        table.add_row(
            name, *(cells[index] for cells in numbers.values()), *([favorites] if is_roomy else []), seen[index]
        )
    return table


def _endpoints(health: SystemHealth, lang: str, width: int) -> Table:
    texts = Texts("report", lang)
    errors = {(row.service, row.endpoint): row.errors_5xx for row in health.error_rate.by_endpoint}
    routes = _own_routes(health)[:ROWS_MAX]
    services = {row.service for row in routes}
    table = _table(texts("endpoint"), texts("endpoints"))
    ranks = ("p50", "p95", "p99") if width >= NARROW else ("p95",)
    for name in (texts("calls"), *ranks, f"{texts('app')} p95", texts("errors")):
        table.add_column(name, justify="right", no_wrap=True)
    for row in routes:
        failed = errors.get((row.service, row.endpoint), 0)
        table.add_row(
            _plain(placed(texts.named(row.endpoint), row.service, services)),
            decimal(row.count, lang),
            *(milliseconds(getattr(row, f"{rank}_ms"), lang) for rank in ranks),
            milliseconds(row.app.p95_ms, lang),
            f"[red]{decimal(failed, lang)}[/]" if failed else "0",
        )
    return table


def _own_routes(health: SystemHealth) -> list[EndpointTimes]:
    return [row for row in health.api_response_times if not row.endpoint.startswith(CARD_PREFIX)]


def _more(count: int, lang: str) -> Iterable[RenderableType]:
    if count > ROWS_MAX:
        yield Text(Texts("report", lang)("more", count=decimal(count - ROWS_MAX, lang)), style="dim")
    yield Text()


def _cards(rows: Sequence[CardViews], lang: str) -> Table:
    texts = Texts("report", lang)
    table = _table(texts("card"), texts("cards"))
    table.add_column(texts("views"), justify="right")
    for row in rows[:ROWS_MAX]:
        table.add_row(_plain(row.name), decimal(row.views, lang))
    return table


def _bars(counts: list[int]) -> Text:
    highest = max(counts) or 1
    return Text("00 " + "".join(_BARS[-(-count * 8 // highest)] for count in counts) + " 23")


def _plain(text: str) -> str:
    """Keep untrusted text from being markup of rich's, or an order to the terminal, which rich lets through."""
    return escape(printable(text))


def _time(text: str, zone: ZoneInfo) -> datetime:
    return parse_time(text).astimezone(zone)
