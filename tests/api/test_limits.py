"""Limits of what is kept apart hold over restarts and imports."""

import pytest
from typer.testing import CliRunner

from tailtrace_api.commands.cli import app
from tailtrace_bridge.core.records import OTHER
from tailtrace_bridge.store.scope import Scope
from tailtrace_bridge.store.sqlite.store import SqliteStore

pytestmark = pytest.mark.usefixtures("own_folder")


def test_three_imports_know_no_more_paths_than_one(tmp_path):
    """2,001, 4,001, 6,001 … it was: each import began to count anew."""
    for part in range(3):
        lines = "".join(
            f'203.0.113.9 - - [10/Oct/2025:13:55:36 +0000] "GET /p{part}/{chr(97 + n // 26 // 26)}{chr(97 + n // 26 % 26)}'
            f'{chr(97 + n % 26)} HTTP/1.1" 200 12 "-" "curl"\n'
            for n in range(1200)
        )
        (tmp_path / f"{part}.log").write_text(lines)
        assert CliRunner().invoke(app, ["import", f"{part}.log"]).exit_code == 0
    store = SqliteStore(tmp_path / "tailtrace.db")
    endpoints = store.endpoints(Scope.everybody())
    store.close()
    assert len(endpoints) == 2001
    assert OTHER in endpoints
