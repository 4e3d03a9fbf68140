"""`tailtrace report`: the three answers, or the report of a month, in the terminal."""

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tailtrace_api.commands.options import Json, OpenapiOption, StoreOption, time_us
from tailtrace_api.terminal.console import console
from tailtrace_bridge.texts.catalogue import Lang

STATUS = re.compile("[1-5]xx|[1-5][0-9]{2}")

if TYPE_CHECKING:
    from tailtrace_bridge.settings.table import Settings
    from tailtrace_bridge.store.values import Filters


def report(
    *,
    hours: Annotated[int | None, typer.Option(min=1, max=720, help="Window in hours.")] = None,
    days: Annotated[int | None, typer.Option(min=1, max=30, help="Window in days (default 7).")] = None,
    at: Annotated[str | None, typer.Option(help="End of the window, ISO 8601 (default: now).")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Log lines with --json.")] = 100,
    user: Annotated[str | None, typer.Option(help="Of this login or address alone.")] = None,
    endpoint: Annotated[str | None, typer.Option(help="Of this endpoint alone.")] = None,
    service: Annotated[str | None, typer.Option(help="Of this service alone.")] = None,
    status: Annotated[str | None, typer.Option(help="Of this status alone, such as 404 or 5xx.")] = None,
    sort: Annotated[
        Literal["requests", "errors", "time", "name"] | None, typer.Option(help="What the lists begin with.")
    ] = None,
    month: Annotated[str | None, typer.Option(help="Tell of this month instead, such as 2025-10.")] = None,
    pdf: Annotated[Path | None, typer.Option(help="With --month: write the report to read into this file.")] = None,
    html: Annotated[Path | None, typer.Option(help="With --month: the same as one HTML page.")] = None,
    lang: Annotated[Lang | None, typer.Option(help="en or es [TAILTRACE_LANG].")] = None,
    openapi: OpenapiOption = None,
    store: StoreOption = None,
    as_json: Json = False,
) -> None:
    """Print the three answers; with --month, the report of a month."""
    from tailtrace_api.answers.sorting import sorted_by
    from tailtrace_api.queries.errors import Errors
    from tailtrace_api.queries.make import make_queries
    from tailtrace_api.queries.requests import stored_days
    from tailtrace_api.terminal.report import print_report
    from tailtrace_bridge.settings import table as settings
    from tailtrace_bridge.store.scope import Scope
    from tailtrace_bridge.store.values import Filters, back
    from tailtrace_bridge.wiring import parts

    if hours is not None and days is not None:
        raise typer.BadParameter("give --hours or --days, not both")
    if month is None and (pdf or html):
        raise typer.BadParameter("--pdf and --html are of a month: add --month, such as --month 2025-10")
    if month is not None and any(one is not None for one in (hours, days, at, user, endpoint, service, status, sort)):
        raise typer.BadParameter("give --month, or --hours, --days, --at, filters and --sort, not both")
    filters = _filters(user, endpoint, service, status)
    chosen = settings.load(store=store, lang=lang, openapi=openapi)
    if month is not None:
        _report_month(chosen, month, pdf, html, as_json=as_json)
        return
    end_us, routes = _end_us(at), parts.make_routes(chosen)
    with parts.existing_store(chosen) as opened:
        queries = make_queries(chosen, opened, routes)
        length_h = hours or 24 * (days or 7)
        answer = queries.report(end_us, hours=length_h, limit=limit, filters=filters)
        answer = answer if sort is None else sorted_by(answer, sort)
        is_empty = not answer.system_health_history.error_rate.overall.requests
        stored = stored_days(opened, Scope.everybody(), parts.clock_us()) if is_empty else None
        compared = () if as_json else Errors(opened).what_broke(back(end_us, length_h)).deployments
    if as_json:
        typer.echo(json.dumps(asdict(answer), ensure_ascii=False))
    else:
        print_report(
            console(), answer, chosen.lang, compared, is_narrow=filters != Filters(service=service), stored=stored
        )


def _filters(user: str | None, endpoint: str | None, service: str | None, status: str | None) -> "Filters":
    from tailtrace_bridge.core.text import parse_address
    from tailtrace_bridge.store.values import Filters

    if status is not None and not STATUS.fullmatch(status):
        raise typer.BadParameter(f"--status {status!r}: give a code such as 404, or a class such as 5xx")
    address = None if user is None else parse_address(user)
    return Filters(
        None if address else user, None, endpoint, None, status,
        address=None if address is None else str(address), service=service,
    )  # fmt: skip


def _report_month(chosen: "Settings", month: str, pdf: Path | None, html: Path | None, *, as_json: bool) -> None:
    from tailtrace_api.commands.month import run_month
    from tailtrace_api.monthly.month import MonthError, parse_month, span
    from tailtrace_bridge.wiring import parts

    now_us = parts.clock_us()
    try:
        wanted = parse_month(month)
        span(wanted, chosen.zone, now_us)
    except MonthError as error:
        raise typer.BadParameter(f"--month: {error}") from None
    with parts.existing_store(chosen) as opened:
        run_month(chosen, opened, wanted, now_us, pdf=pdf, html=html, as_json=as_json)


def _end_us(at: str | None) -> int:
    from tailtrace_bridge.wiring.parts import clock_us

    return clock_us() if at is None else time_us("--at", at)
