"""The report that goes out on the first, made in a process of its own."""

import random
import runpy
from datetime import datetime
from pathlib import Path

import pytest
from pydantic import SecretStr

from tailtrace_api.monthly.job import monthly_job
from tailtrace_api.server.serve import _add_report
from tailtrace_bridge.core.errors import SettingsError, StoreError
from tailtrace_bridge.settings.table import Settings
from tailtrace_bridge.store.sqlite.store import SqliteStore
from tailtrace_bridge.wiring.bridge import make_bridge

EXAMPLE = runpy.run_path(str(Path(__file__).parents[3] / "docs" / "report_example.py"))


@pytest.fixture
def settings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = SqliteStore(tmp_path / "t.db")
    store.write(list(EXAMPLE["rows"](random.Random(2025)))[:5000])
    store.close()
    (tmp_path / "access.log").touch()
    return Settings(
        store=f"sqlite:{tmp_path / 't.db'}",
        checkpoint=tmp_path / "checkpoint.json",
        log=str(tmp_path / "access.log"),
        timezone="Europe/Madrid",
        monthly_report=True,
    )


def us(text, zone):
    return int(datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()) * 1_000_000


@pytest.mark.pdf
def test_the_letter_of_the_first(settings, tmp_path):
    job = monthly_job(settings)
    due_us = job.next_us(us("2025-10-14T10:00", settings.zone))
    assert due_us == us("2025-11-01T08:00", settings.zone)
    (tmp_path / "tailtrace-reports").mkdir()
    (tmp_path / "tailtrace-reports" / "tailtrace-2025-09.pdf").write_bytes(b"of the month before")
    letter = job.run(due_us)
    assert letter.title == "Usage report, October 2025"
    assert "people used the service" in letter.body
    assert [path.name for path in letter.attachments] == ["tailtrace-2025-10.pdf"]
    assert letter.attachments[0].read_bytes().startswith(b"%PDF-")
    assert [path.name for path in (tmp_path / "tailtrace-reports").iterdir()] == ["tailtrace-2025-10.pdf"]
    assert job.run(due_us) == letter, "twice is as once"


def test_a_store_that_fails_is_an_error_for_the_job(settings):
    Path(settings.store.partition(":")[2]).write_bytes(b"no database, and longer than a header of one would be" * 9)
    with pytest.raises(StoreError):
        monthly_job(settings).run(us("2025-11-01T08:00", settings.zone))


def test_it_needs_somebody_to_send_it_to(settings):
    bridge = make_bridge(settings)
    with pytest.raises(SettingsError, match="nobody to send it to: TAILTRACE_ALERT_URLS"):
        _add_report(bridge, settings)
    bridge.stop()
    sent = settings.model_copy(update={"alert_urls": SecretStr("json://127.0.0.1:9/")})
    bridge = make_bridge(sent)
    _add_report(bridge, sent)
    assert [job.name for job in bridge.alerts.watch.jobs] == ["monthly-report"]
    bridge.stop()
