"""Makes the report of a month: reads the rollups from the store, gives them to the pure functions.

The command line calls this, and whoever sends it: `make` gives the page, the PDF, and the words of a message.
"""

import dataclasses
from collections.abc import Sequence
from datetime import date, datetime, tzinfo
from typing import Any, NamedTuple

from tailtrace_api.answers.deployments import Deployment
from tailtrace_api.monthly.month import Month, Span, span
from tailtrace_api.monthly.numbers import Course, Numbers, Routes, WindowRollups, numbers
from tailtrace_api.monthly.page import hints, lead, render, title
from tailtrace_api.monthly.pdf import Pdf, make_pdf
from tailtrace_api.monthly.words import Words
from tailtrace_api.queries.errors import Errors
from tailtrace_api.queries.make import make_features
from tailtrace_bridge.rows import routes as routing
from tailtrace_bridge.settings.table import Settings
from tailtrace_bridge.store.anonymous import Order
from tailtrace_bridge.store.protocol import Store
from tailtrace_bridge.store.scope import Scope
from tailtrace_bridge.store.values import DAY_US, HOUR_US, By, Filters, Window

EARLIER_US = 90 * DAY_US
"""How far before the month a route counts as once used."""
DEPLOYMENTS_MAX = 3
"""The newest: more would take a fourth page."""
FILL_MIN = 1 / 3
"""A last page with less on it is nearly empty."""


class Report(NamedTuple):
    """A month, ready to be kept or sent."""

    title: str
    summary: str
    """A few sentences of plain text: the message that the PDF goes with."""
    html: str
    pdf: bytes | None
    missing: str
    """Characters in the PDF that no font of this machine has."""


def read_numbers(settings: Settings, store: Store, routes: routing.Routes, month: Month, now_us: int) -> Numbers:
    """Read a month from the store, rollups only. Raises `MonthError` for one that has not begun, and `StoreError`."""
    zone = settings.zone
    times = span(month, zone, now_us)
    window = times.window
    return numbers(
        month,
        zone,
        times,
        _rollups(store, window),
        _rollups(store, times.before),
        Course(
            store.quarters(Scope.everybody(), window),
            store.bucket_usage(Scope.everybody(), window, HOUR_US),
            store.bucket_latency(Scope.everybody(), window, HOUR_US),
        ),
        Routes(
            routes.learned(),
            store.usage(
                Scope.everybody(),
                Window(window.start_us - EARLIER_US, window.start_us),
                Filters(),
                By.ENDPOINT,
            ),
            make_features(settings, store, routes),
        ),
        _began(store, times, zone),
    )


def make(
    settings: Settings,
    store: Store,
    routes: routing.Routes,
    *,
    month: Month,
    now_us: int,
    lang: str | None = None,
    pdf: bool = True,
) -> Report:
    """Make the report, in the settings' language unless told otherwise. Raises as `read_numbers`, and `PdfError`."""
    found = read_numbers(settings, store, routes, month, now_us)
    return make_of(found, lang or settings.lang, read_deployments(settings, store, month, now_us), pdf=pdf)


def read_deployments(settings: Settings, store: Store, month: Month, now_us: int) -> tuple[Deployment, ...]:
    """Read the newest deployments and notes of a month, with what was before and after each."""
    return Errors(store).what_broke(span(month, settings.zone, now_us).window).deployments[-DEPLOYMENTS_MAX:]


def make_of(found: Numbers, lang: str, deployments: Sequence[Deployment] = (), *, pdf: bool) -> Report:
    """Make the report of what is read already."""
    words = Words(lang)
    html = render(found, lang, deployments)
    made = _laid_out(found, lang, deployments, html) if pdf else None
    return Report(
        title(found, words),
        " ".join([*lead(found, words), *hints(found, words)]),
        html,
        made.content if made else None,
        made.missing if made else "",
    )


def _laid_out(found: Numbers, lang: str, deployments: Sequence[Deployment], html: str) -> Pdf:
    """Make the PDF; where little is left for the last page, the pages before it give it some."""
    made = make_pdf(html)
    if made.last_fill >= FILL_MIN or made.pages == 1:
        return made
    spread = make_pdf(render(found, lang, deployments, is_spread=True))
    return spread if spread.pages <= made.pages and spread.last_fill > made.last_fill else made


def as_json(found: Numbers) -> dict[str, Any]:
    """Return the numbers as JSON knows them."""
    return {**dataclasses.asdict(found), "month": str(found.month)}


def _rollups(store: Store, window: Window) -> WindowRollups:
    everybody = Scope.everybody()
    return WindowRollups(
        store.usage(everybody, window, Filters(), By.ENDPOINT),
        store.latency(everybody, window),
        store.visits(everybody, window, listed=()),
        store.activity(everybody, window, listed=()),
        store.uptime(everybody, window),
        store.anonymous_usage(everybody, window, Order.SESSIONS, 0),
    )


def _began(store: Store, times: Span, zone: tzinfo) -> date | None:
    """Return the first day with anything, where that is in one of the two months: a month looked at is short then."""
    start_us = times.before.start_us
    if store.has_any(Scope.everybody(), Window(start_us - EARLIER_US, start_us)):
        return None
    for window in (times.before, times.window):
        if steps := store.bucket_usage(Scope.everybody(), window, HOUR_US):
            return datetime.fromtimestamp(steps[0].time_us / 1e6, zone).date()
    return None
