"""Sends last month's report on the first: a job of the alerts' thread, made in a process of its own.

| then | what is sent |
|---|---|
| the machine can make a PDF | the PDF |
| it lacks the library or the fonts' | the page as HTML, and why, in the log |
| the store fails, or the child does | nothing: the job is tried again in an hour |

The child is there because the layout takes as much memory as all else together, and gives it back only by ending.
"""

import logging
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from multiprocessing import get_context
from pathlib import Path

from tailtrace_api.monthly.month import Month, month_of
from tailtrace_api.monthly.pdf import PdfError
from tailtrace_api.monthly.report import make
from tailtrace_bridge.alerts.jobs import Job, JobMessage, first_of_month
from tailtrace_bridge.settings.table import Settings
from tailtrace_bridge.wiring.parts import clock_us, make_routes, open_store

CHILD_S_MAX = 300.0
_LOGGER = logging.getLogger(__name__)


def monthly_job(settings: Settings) -> Job:
    """Make the job: at eight on the first of each month, in the settings' time zone."""
    return Job("monthly-report", first_of_month(settings.zone), lambda due_us: _message(settings, due_us))


def _message(settings: Settings, due_us: int) -> JobMessage:
    pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
    try:
        return pool.submit(write_report, settings, month_of(due_us, settings.zone).before).result(CHILD_S_MAX)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def write_report(settings: Settings, month: Month) -> JobMessage:
    """Write the month's report into the folder of reports, and return the message it goes with."""
    with closing(open_store(settings)) as store:
        routes = make_routes(settings)
        try:
            report = make(settings, store, routes, month=month, now_us=clock_us())
        except PdfError as error:
            _LOGGER.warning("the report of %s is sent as HTML: %s", month, error)
            report = make(settings, store, routes, month=month, now_us=clock_us(), pdf=False)
    folder = settings.checkpoint.with_name("tailtrace-reports")
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / f"tailtrace-{month}.{'html' if report.pdf is None else 'pdf'}"
    path.write_bytes(report.html.encode() if report.pdf is None else report.pdf)
    _forget_others(folder, path)
    return JobMessage(report.title, report.summary, (path,))


def _forget_others(folder: Path, kept: Path) -> None:
    """Remove the reports of months before: they name people, and whoever was to have them has them."""
    for path in folder.glob("tailtrace-*.*"):
        if path.stem != kept.stem:
            path.unlink(missing_ok=True)
