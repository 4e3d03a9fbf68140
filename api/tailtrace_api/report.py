"""The three answers as tables for a terminal. Texts come in `en` and `es`; values are the HTTP bodies'."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from rich import box
from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from tailtrace_bridge.cards import CARD_PREFIX
from tailtrace_bridge.identity import printable
from tailtrace_bridge.routes import OTHER

ROWS_MAX = 12
_BARS = " ▁▂▃▄▅▆▇█"

# ruff: noqa: E501  # a text stands on one line in each language
_TEXTS = {
    "en": {
        "title": "{requests} requests by {users} users on {devices} devices, {errors} errors (5xx), {avg} on average",
        "window": "{start} to {end} ({zone})",
        "other": "other addresses", "more": "and {count} more: `--json` has them",
        "people": "Who",
        "user": "user", "sessions": "sessions", "hours": "hours", "requests": "requests", "favorites": "uses most", "seen": "last seen",
        "endpoints": "How fast", "endpoint": "endpoint", "calls": "calls", "app": "app", "errors": "5xx",
        "cards": "Cards", "card": "card", "views": "views",
        "peak": "Peak hours",
        "uptime": "Uptime {uptime} over {minutes} minutes with traffic, error rate {rate}",
        "nothing": "No requests in this window. Is TAILTRACE_LOG the log that nginx writes? `tailtrace import FILE` reads older ones.",
    },
    "es": {
        "title": "{requests} accesos de {users} usuarios en {devices} dispositivos, {errors} errores (5xx), {avg} de media",
        "window": "{start} a {end} ({zone})",
        "other": "otras direcciones", "more": "y {count} más: `--json` los tiene",
        "people": "Quién",
        "user": "usuario", "sessions": "sesiones", "hours": "horas", "requests": "accesos", "favorites": "usa más", "seen": "visto",
        "endpoints": "Qué rápido", "endpoint": "endpoint", "calls": "llamadas", "app": "app", "errors": "5xx",
        "cards": "Tarjetas", "card": "tarjeta", "views": "vistas",
        "peak": "Horas punta",
        "uptime": "Disponible {uptime} en {minutes} minutos con tráfico, tasa de errores {rate}",
        "nothing": "Sin accesos en este periodo. ¿Es TAILTRACE_LOG el log que escribe nginx? `tailtrace import FILE` lee los antiguos.",
    },
}  # fmt: skip


def print_report(console: Console, report: Mapping[str, Any], lang: str) -> None:
    """Print what `--json` gives: `access_logs`, `dashboard_usage`, `system_health_history`."""
    console.print(Group(*_parts(report, _TEXTS[lang])))


def _parts(report: Mapping[str, Any], texts: Mapping[str, str]) -> Iterable[RenderableType]:
    usage, health = report["dashboard_usage"], report["system_health_history"]
    overall = health["error_rate"]["overall"]
    zone = ZoneInfo(usage["timezone"])
    start, end = (_time(usage["window"][name], zone) for name in ("from", "to"))
    yield Text(texts["window"].format(start=start, end=end, zone=zone), style="dim")
    if not overall["requests"]:
        yield Text(texts["nothing"], style="yellow")
        return
    summary = usage["summary"]
    yield Text(
        texts["title"].format(
            requests=summary["total_requests"],
            users=summary["unique_users"],
            devices=summary["unique_devices"],
            errors=overall["errors_5xx"],
            avg=_ms(summary["avg_response_time_ms"]),
        ),
        style="bold",
    )
    yield Text()
    yield _people(usage["user_sessions"], texts, zone)
    yield from _more(len(usage["user_sessions"]), texts)
    yield _endpoints(health, texts)
    yield from _more(len(_own_routes(health)), texts)
    if usage["most_viewed_cards"]:
        yield _cards(usage["most_viewed_cards"], texts)
    yield Text(texts["peak"], style="bold")
    yield _bars([row["requests"] for row in usage["peak_hours"]])
    yield Text()
    yield Text(
        texts["uptime"].format(
            uptime=_percent(health["uptime_percentage"]),
            minutes=health["minutes_with_traffic"],
            rate=_percent(100 * overall["error_rate"]),
        )
    )


def _table(header: str, title: str) -> Table:
    return Table(header, title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)


def _people(rows: list[dict[str, Any]], texts: Mapping[str, str], zone: ZoneInfo) -> Table:
    table = _table("user", texts["people"])
    table.columns[0].header = texts["user"]
    table.columns[0].no_wrap = True  # who it was is the point: where it is narrow, other columns give way
    for name in ("sessions", "hours", "requests"):
        table.add_column(texts[name], justify="right")
    table.add_column(texts["favorites"], min_width=14)  # the longest word of a usual name
    table.add_column(texts["seen"], no_wrap=True)
    for row in rows[:ROWS_MAX]:
        table.add_row(
            _shown(row["user"]),
            str(row["sessions"]),
            f"{row['total_time_hours']:.2f}",
            str(row["requests"]),
            _shown(", ".join(_named(feature, texts) for feature in row["favorite_features"])),
            _time(row["last_seen"], zone),
        )
    return table


def _endpoints(health: Mapping[str, Any], texts: Mapping[str, str]) -> Table:
    errors = {row["endpoint"]: row["errors_5xx"] for row in health["error_rate"]["by_endpoint"]}
    table = _table("endpoint", texts["endpoints"])
    table.columns[0].header = texts["endpoint"]
    for name in (texts["calls"], "p50", "p95", "p99", f"{texts['app']} p95", texts["errors"]):
        table.add_column(name, justify="right")
    for row in _own_routes(health)[:ROWS_MAX]:
        failed = errors.get(row["endpoint"], 0)
        table.add_row(
            _shown(_named(row["endpoint"], texts)),
            str(row["count"]),
            *(_ms(row[name]) for name in ("p50_ms", "p95_ms", "p99_ms")),
            _ms(row["app"]["p95_ms"]),
            f"[red]{failed}[/]" if failed else "0",
        )
    return table


def _own_routes(health: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [row for row in health["api_response_times"] if not row["endpoint"].startswith(CARD_PREFIX)]


def _more(count: int, texts: Mapping[str, str]) -> Iterable[RenderableType]:
    if count > ROWS_MAX:
        yield Text(f"  {texts['more'].format(count=count - ROWS_MAX)}\n", style="dim")


def _cards(rows: list[dict[str, Any]], texts: Mapping[str, str]) -> Table:
    table = _table(texts["card"], texts["cards"])
    table.add_column(texts["views"], justify="right")
    for row in rows[:ROWS_MAX]:
        table.add_row(_shown(row["name"]), str(row["views"]))
    return table


def _bars(counts: list[int]) -> Text:
    highest = max(counts) or 1
    return Text("00 " + "".join(_BARS[-(-count * 8 // highest)] for count in counts) + " 23")


def _shown(text: str) -> str:
    """Keep a stranger's text from being markup of rich's, or an order to the terminal, which rich lets through."""
    return escape(printable(text))


def _named(route: str, texts: Mapping[str, str]) -> str:
    return texts["other"] if route == OTHER else route


def _time(text: str, zone: ZoneInfo) -> str:
    return f"{datetime.fromisoformat(text).astimezone(zone):%Y-%m-%d %H:%M}"


def _ms(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.0f} ms" if value >= 10 else f"{value:.1f} ms"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}%"
