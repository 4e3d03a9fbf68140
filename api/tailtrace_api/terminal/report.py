"""The three answers as tables for a terminal. Texts come in `en` and `es`; values are those of HTTP.

Each number says what it is of: usage, or all traffic, which has health checks, bots and files too (docs/definitions.md).

| columns of the terminal | what is left out |
|---|---|
| `WIDE` and more | nothing |
| `NARROW` and more | the year of the last request, which the window has |
| fewer | what people use most, p50 and p99 |

Nothing is cut: names and routes go on in the next line.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from rich import box
from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from tailtrace_api.answers.request_records import (
    CardViews,
    EndpointTimes,
    Report,
    SystemHealth,
    UsageSummary,
    UserSessions,
)
from tailtrace_bridge.core.cards import CARD_PREFIX
from tailtrace_bridge.core.records import OTHER
from tailtrace_bridge.core.text import printable

ROWS_MAX = 12
WIDE, NARROW = 100, 70
GAP = 2
"""Between two columns."""
_WHOLE, _SHORT = "%Y-%m-%d %H:%M", "%m-%d %H:%M"
_BARS = " ▁▂▃▄▅▆▇█"

# ruff: noqa: E501  # a text stands on one line in each language
_TEXTS = {
    "en": {
        "usage": "Usage: {requests} from {addresses}, by {users} on {devices}; {errors}, {avg}",
        "usage.unnamed": "Usage: {requests} from {addresses}, none of them with a name; {errors}, {avg}",
        "all": "All traffic: {requests}, {apart} of them no usage (health checks, bots, files); {errors}, {rate}",
        "uptime": "Uptime: {uptime} of {minutes} with traffic",
        "window": "{start} to {end} ({zone})",
        "request.one": "{n} request", "request.other": "{n} requests",
        "address.one": "{n} address", "address.other": "{n} addresses",
        "user.one": "{n} user", "user.other": "{n} users",
        "device.one": "{n} device", "device.other": "{n} devices",
        "error.one": "{n} error (5xx)", "error.other": "{n} errors (5xx)",
        "minute.one": "{n} minute", "minute.other": "{n} minutes",
        "avg": "{avg} on average", "untimed": "no response times in this log",
        "other": "other addresses", "more": "and {count} more: `--json` has them",
        "people": "Who (usage)", "people.none": "Who (usage): nobody, all that came are health checks, bots and files",
        "user": "user", "sessions": "sessions", "hours": "hours", "requests": "requests", "favorites": "uses most", "seen": "last seen",
        "endpoints": "How fast (all traffic)", "endpoint": "endpoint", "calls": "calls", "app": "app", "errors": "5xx",
        "cards": "Cards", "card": "card", "views": "views",
        "peak": "Peak hours (usage)",
        "nothing": "No requests in this window. Is TAILTRACE_LOG the log that nginx writes? `tailtrace import FILE` reads older ones.",
    },
    "es": {
        "usage": "Uso: {requests} desde {addresses}, de {users} en {devices}; {errors}, {avg}",
        "usage.unnamed": "Uso: {requests} desde {addresses}, ninguna con nombre; {errors}, {avg}",
        "all": "Todo el tráfico: {requests}, de ellos {apart} que no son uso (comprobaciones de salud, robots, ficheros); {errors}, {rate}",
        "uptime": "Disponible: {uptime} de {minutes} con tráfico",
        "window": "{start} a {end} ({zone})",
        "request.one": "{n} acceso", "request.other": "{n} accesos",
        "address.one": "{n} dirección", "address.other": "{n} direcciones",
        "user.one": "{n} usuario", "user.other": "{n} usuarios",
        "device.one": "{n} dispositivo", "device.other": "{n} dispositivos",
        "error.one": "{n} error (5xx)", "error.other": "{n} errores (5xx)",
        "minute.one": "{n} minuto", "minute.other": "{n} minutos",
        "avg": "{avg} de media", "untimed": "sin tiempos de respuesta en este log",
        "other": "otras direcciones", "more": "y {count} más: `--json` los tiene",
        "people": "Quién (uso)", "people.none": "Quién (uso): nadie, solo hay comprobaciones de salud, robots y ficheros",
        "user": "usuario", "sessions": "sesiones", "hours": "horas", "requests": "accesos", "favorites": "usa más", "seen": "visto",
        "endpoints": "Qué rápido (todo el tráfico)", "endpoint": "endpoint", "calls": "llamadas", "app": "app", "errors": "5xx",
        "cards": "Tarjetas", "card": "tarjeta", "views": "vistas",
        "peak": "Horas punta (uso)",
        "nothing": "Sin accesos en este periodo. ¿Es TAILTRACE_LOG el log que escribe nginx? `tailtrace import FILE` lee los antiguos.",
    },
}  # fmt: skip


def print_report(console: Console, report: Report, lang: str) -> None:
    """Print what `--json` gives, in words."""
    console.print(Group(*_parts(report, lang, console.width)))


def _parts(report: Report, lang: str, width: int) -> Iterable[RenderableType]:
    texts = _TEXTS[lang]
    usage, health = report.dashboard_usage, report.system_health_history
    zone = ZoneInfo(usage.timezone)
    start, end = (f"{_time(usage.window[name], zone):{_WHOLE}}" for name in ("from", "to"))
    yield Text(texts["window"].format(start=start, end=end, zone=zone), style="dim")
    if not health.error_rate.overall.requests:
        yield Text(texts["nothing"], style="yellow")
        return
    yield from _heading(usage.summary, health, lang)
    yield Text()
    if usage.user_sessions:
        yield _people(usage.user_sessions, texts, zone, width)
        yield from _more(usage.truncated.get("user_sessions", len(usage.user_sessions)), texts)
    else:
        yield Text(f"{texts['people.none']}\n", style="bold")
    yield _endpoints(health, texts, width)
    cards = len(health.api_response_times) - len(_own_routes(health))
    routes = health.truncated.get("api_response_times", len(health.api_response_times))
    yield from _more(routes - cards, texts)
    if usage.most_viewed_cards:
        yield _cards(usage.most_viewed_cards, texts)
        yield Text()
    yield Text(texts["peak"], style="bold")
    yield _bars([row.requests for row in usage.peak_hours])


def _heading(summary: UsageSummary, health: SystemHealth, lang: str) -> Iterable[Text]:
    """Say the numbers of usage, those of all traffic, and in how many requests the two differ."""
    texts, overall = _TEXTS[lang], health.error_rate.overall

    def count(what: str, n: int) -> str:
        return texts[f"{what}.{'one' if n == 1 else 'other'}"].format(n=_number(n, lang))

    average = summary.avg_response_time_ms
    yield Text(
        texts["usage" if summary.unique_users or summary.unique_devices else "usage.unnamed"].format(
            requests=count("request", summary.total_requests),
            addresses=count("address", summary.unique_addresses),
            users=count("user", summary.unique_users),
            devices=count("device", summary.unique_devices),
            errors=count("error", summary.errors_5xx),
            avg=texts["untimed"] if average is None else texts["avg"].format(avg=_ms(average)),
        ),
        style="bold",
    )
    yield Text(
        texts["all"].format(
            requests=count("request", overall.requests),
            apart=_number(overall.requests - summary.total_requests, lang),
            errors=count("error", overall.errors_5xx),
            rate=_percent(100 * overall.error_rate),
        )
    )
    minutes = count("minute", health.minutes_with_traffic)
    yield Text(texts["uptime"].format(uptime=_percent(health.uptime_percentage), minutes=minutes))


def _table(header: str, title: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    table.show_edge, table.pad_edge, table.padding = False, False, (0, 1, 0, 0)
    table.add_column(header, overflow="fold")
    return table


def _people(rows: Sequence[UserSessions], texts: Mapping[str, str], zone: ZoneInfo, width: int) -> Table:
    rows = rows[:ROWS_MAX]
    is_roomy = width >= NARROW
    names = [_shown(row.user) for row in rows]
    numbers = {
        texts["sessions"]: [str(row.sessions) for row in rows],
        texts["hours"]: [f"{row.total_time_hours:.2f}" for row in rows],
        texts["requests"]: [str(row.requests) for row in rows],
    }
    seen = [f"{_time(row.last_seen, zone):{_WHOLE if width >= WIDE else _SHORT}}" for row in rows]
    table = _table(texts["user"], texts["people"])
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    if is_roomy:
        table.add_column(texts["favorites"], overflow="fold")
    table.add_column(texts["seen"], no_wrap=True)
    # Who it was is the point: of what the others leave, the name has half at least.
    taken = sum(max(map(cell_len, column)) + GAP for column in ([name, *cells] for name, cells in numbers.items()))
    room = width - taken - max(map(cell_len, (texts["seen"], *seen))) - GAP - (GAP if is_roomy else 0)
    table.columns[0].min_width = max(1, min(max(map(cell_len, names)), room // 2 if is_roomy else room))
    for index, (name, row) in enumerate(zip(names, rows, strict=True)):
        favorites = _shown(", ".join(_named(feature, texts) for feature in row.favorite_features))
        table.add_row(
            name, *(cells[index] for cells in numbers.values()), *([favorites] if is_roomy else []), seen[index]
        )
    return table


def _endpoints(health: SystemHealth, texts: Mapping[str, str], width: int) -> Table:
    errors = {row.endpoint: row.errors_5xx for row in health.error_rate.by_endpoint}
    table = _table(texts["endpoint"], texts["endpoints"])
    ranks = ("p50", "p95", "p99") if width >= NARROW else ("p95",)
    for name in (texts["calls"], *ranks, f"{texts['app']} p95", texts["errors"]):
        table.add_column(name, justify="right", no_wrap=True)
    for row in _own_routes(health)[:ROWS_MAX]:
        failed = errors.get(row.endpoint, 0)
        table.add_row(
            _shown(_named(row.endpoint, texts)),
            str(row.count),
            *(_ms(getattr(row, f"{rank}_ms")) for rank in ranks),
            _ms(row.app.p95_ms),
            f"[red]{failed}[/]" if failed else "0",
        )
    return table


def _own_routes(health: SystemHealth) -> list[EndpointTimes]:
    return [row for row in health.api_response_times if not row.endpoint.startswith(CARD_PREFIX)]


def _more(count: int, texts: Mapping[str, str]) -> Iterable[RenderableType]:
    if count > ROWS_MAX:
        yield Text(texts["more"].format(count=count - ROWS_MAX), style="dim")
    yield Text()


def _cards(rows: Sequence[CardViews], texts: Mapping[str, str]) -> Table:
    table = _table(texts["card"], texts["cards"])
    table.add_column(texts["views"], justify="right")
    for row in rows[:ROWS_MAX]:
        table.add_row(_shown(row.name), str(row.views))
    return table


def _bars(counts: list[int]) -> Text:
    highest = max(counts) or 1
    return Text("00 " + "".join(_BARS[-(-count * 8 // highest)] for count in counts) + " 23")


def _shown(text: str) -> str:
    """Keep a stranger's text from being markup of rich's, or an order to the terminal, which rich lets through."""
    return escape(printable(text))


def _named(route: str, texts: Mapping[str, str]) -> str:
    return texts["other"] if route == OTHER else route


def _time(text: str, zone: ZoneInfo) -> datetime:
    return datetime.fromisoformat(text).astimezone(zone)


def _number(value: int, lang: str) -> str:
    return f"{value:,}" if lang == "en" else f"{value:,}".replace(",", ".")


def _ms(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.0f} ms" if value >= 10 else f"{value:.1f} ms"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}%"
