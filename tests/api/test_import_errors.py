"""`tailtrace import`: what failed in an old log joins the groups of errors, however often it is imported."""

import json

import pytest
from typer.testing import CliRunner

from tailtrace_api.commands.cli import app
from tailtrace_bridge.logs.format import TAILTRACE_FIELDS, TAILTRACE_MARK
from tailtrace_bridge.store.scope import Scope
from tailtrace_bridge.store.sqlite.store import SqliteStore
from tailtrace_bridge.store.values import BACK_US, Window
from tailtrace_bridge.traces import joined

pytestmark = pytest.mark.usefixtures("own_folder")
ALL, EVER = Scope.everybody(), Window(0, 1 << 60)
OCTOBER_5 = 20_366
"""Days since the epoch."""


def line(day, path, status, address="100.64.0.7"):
    return f'{address} - - [{day:02}/Oct/2025:12:00:00 +0000] "GET {path} HTTP/1.1" {status} 10 "-" "curl/8"\n'


def run(*words):
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def groups(path):
    store = SqliteStore(path)
    try:
        return {one.title: one for one in store.error_groups(ALL, EVER)}
    finally:
        store.close()


def test_an_old_log_joins_by_status_and_endpoint_and_again_changes_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(joined, "PAGE_MAX", 3)
    log, store = tmp_path / "old.log", tmp_path / "t.db"
    log.write_text(
        "".join(
            [
                *(line(day, "/orders", 502, f"100.64.0.{day}") for day in range(1, 8)),
                line(2, "/orders", 200),
                line(2, "/orders", 404),
                line(3, "/orders", 504),
                line(20, "/orders", 502),
            ]
        )
    )
    assert run("import", log, "--store", f"sqlite:{store}", "--json")["stored"] == 11
    found = groups(store)
    assert {title: (one.requests, one.people_count) for title, one in found.items()} == {
        "502 /orders": (8, 7),
        "504 /orders": (1, 1),
    }
    one = found["502 /orders"]
    assert one.back_us == one.last_us > one.first_us + BACK_US, "it was silent for a week"
    assert run("import", log, "--store", f"sqlite:{store}", "--json")["duplicate"] == 11
    assert groups(store) == found


def test_clients_that_left_in_a_row_join_as_one_and_what_the_app_refused_by_its_field(tmp_path):
    log, store = tmp_path / "old.log", tmp_path / "t.db"
    said = {
        "msec": "1759752000.000", "request_id": "ab" * 16, "remote_addr": "100.64.0.7", "request_method": "POST",
        "request_uri": "/items", "status": "422", "bytes_sent": "10", "request_time": "0.001", "server_name": "shop",
        "upstream_http_x_tailtrace": "1;t=900;r=/items;i=body.price:missing", "upstream_addr": "127.0.0.1:8000",
    }  # fmt: skip
    told = "\t".join((TAILTRACE_MARK, *(said.get(name, "") for name in TAILTRACE_FIELDS))) + "\n"
    log.write_text("".join([*(line(day, "/slow", 499) for day in [2] * 5 + [3] * 4), told]))
    assert run("import", log, "--store", f"sqlite:{store}", "--json")["stored"] == 10
    found = groups(store)
    assert {title: one.requests for title, one in found.items()} == {"499 /slow": 5, "/items": 1}
    assert found["/items"].type == "invalid body.price: missing"
    assert run("import", log, "--store", f"sqlite:{store}", "--json")["duplicate"] == 10
    assert groups(store) == found


def test_runs_are_looked_for_where_clients_left_within_the_shortest_time(tmp_path, monkeypatch):
    """One that leaves now and then is no sign of a hang, and to be sure of it all answers would have to be read."""
    monkeypatch.setattr(joined, "READ_MAX", 5)
    log, store = tmp_path / "old.log", tmp_path / "t.db"
    slowly = [line(2, "/often", 499).replace("12:00:00", f"12:0{minute}:00") for minute in range(6)]
    log.write_text("".join([*slowly, *(line(2, "/hangs", 499) for _ in range(5))]))
    assert run("import", log, "--store", f"sqlite:{store}", "--json")["stored"] == 11
    assert {title: one.requests for title, one in groups(store).items()} == {"499 /hangs": 5}


def test_the_newest_of_very_many_join(tmp_path, monkeypatch):
    monkeypatch.setattr(joined, "PAGE_MAX", 2)
    monkeypatch.setattr(joined, "JOINED_MAX", 3)
    log, store = tmp_path / "old.log", tmp_path / "t.db"
    log.write_text("".join(line(day, "/orders", 502) for day in range(1, 8)))
    run("import", log, "--store", f"sqlite:{store}", "--json")
    (one,) = groups(store).values()
    assert (one.requests, min(one.hours) // 86_400_000_000) == (3, OCTOBER_5)
