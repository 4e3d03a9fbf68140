"""Real servers on loopback and real SQLite files, and what the doctor says of them."""

import shutil
import sqlite3
import threading
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest

from tailtrace_api.doctor.run import _store
from tailtrace_api.doctor.servers import check_api, check_clock, check_receiver, check_store
from tailtrace_bridge.settings import table as settings
from tailtrace_bridge.store.sqlite.store import SqliteStore


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append((self.command, self.path, self.headers.get("content-type")))
        status, body = self.server.answer
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815 - the name that http.server looks for

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as httpd:
        httpd.asked, httpd.listen = [], f"127.0.0.1:{httpd.server_address[1]}"
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield httpd
        httpd.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("answer", "status", "words"),
    [
        ((200, b'{"status":"ready","problems":[]}'), "ok", "ready"),
        ((503, b'{"status":"not ready","problems":["x.log: gone"]}'), "failure", "x.log: gone"),
        ((200, b"<html>"), "failure", "not as tailtrace does"),
        ((404, b""), "failure", "answers 404"),
    ],
)
def test_api(server, answer, status, words):
    server.answer = answer
    check = check_api(server.listen)
    assert (check.status, words in check.message) == (status, True), check


@pytest.mark.parametrize(("code", "status"), [(200, "ok"), (404, "failure"), (503, "failure")])
def test_receiver(server, code, status):
    server.answer = (code, b"")
    assert check_receiver(server.listen).status == status
    assert server.asked == [("POST", "/v1/traces", "application/x-protobuf")]


def test_nobody_listens(server):
    server.shutdown()
    server.server_close()
    assert [check(server.listen).status for check in (check_api, check_receiver)] == ["failure", "failure"]


def statuses(path):
    return {check.name: check.status for check in check_store(f"sqlite:{path}")}


def test_store(tmp_path):
    path = tmp_path / "t.db"
    assert statuses(path)["store"] == "warning"
    assert not path.exists()
    SqliteStore(path).close()
    assert statuses(path) == {"store": "warning", "store folder": "ok", "disk": "ok"}
    assert "no row yet" in check_store(f"sqlite:{path}")[0].message
    path.write_bytes(b"no database" * 100)
    assert statuses(path)["store"] == "failure"


def test_a_store_of_a_newer_version(tmp_path):
    SqliteStore(tmp_path / "t.db").close()
    with closing(sqlite3.connect(tmp_path / "t.db")) as db:
        db.execute("PRAGMA user_version = 999")
    assert "newer tailtrace (schema 999" in check_store(f"sqlite:{tmp_path}/t.db")[0].message


def test_other_stores_and_folders(tmp_path):
    assert statuses(tmp_path / "none" / "t.db") == {"store": "failure"}


@pytest.mark.influxdb
def test_a_server_is_told_with_what_it_can(influxdb, own_folder, monkeypatch):
    for name in ("url", "org", "token", "bucket"):
        monkeypatch.setenv(f"INFLUXDB_V2_{name.upper()}", getattr(influxdb, name))
    told = _store(settings.load(store="influxdb"))
    assert [(check.status, check.message[:8]) for check in told] == [("ok", "InfluxDB")]
    assert told[0].message.endswith(": makes buckets and mappings, writes by /api/v2/write, erases by /api/v2/delete")


def test_a_server_that_does_not_answer_is_a_failure(own_folder, monkeypatch):
    monkeypatch.setenv("INFLUXDB_V2_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("INFLUXDB_V2_TOKEN", "x")
    (told,) = _store(settings.load(store="influxdb"))
    assert (told.status, "does not answer" in told.message) == ("failure", True)


@pytest.mark.parametrize(("free", "status"), [(2**31, "ok"), (2**29, "warning"), (2**20, "failure")])
def test_disk(tmp_path, monkeypatch, free, status):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    assert statuses(tmp_path / "t.db")["disk"] == status


@pytest.mark.parametrize(
    ("newest_s", "changed_s", "now_s", "status"),
    [
        (100, 100, 100, "ok"),
        (100, 100, 9000, "ok"),
        (110, 110, 100, "warning"),
        (3700, 100, 100, "failure"),
        (3700, 100, 4000, "failure"),
        (None, None, 100, "skipped"),
    ],
)
def test_clock(newest_s, changed_s, now_s, status):
    us = [None if seconds is None else seconds * 1_000_000 for seconds in (newest_s, changed_s, now_s)]
    assert check_clock(*us).status == status


@pytest.mark.parametrize(("mode", "status"), [(0o600, None), (0o660, None), (0o604, "warning"), (0o666, "warning")])
def test_a_store_that_anyone_may_read(tmp_path, mode, status):
    SqliteStore(tmp_path / "t.db").close()
    (tmp_path / "t.db").chmod(mode)
    assert statuses(tmp_path / "t.db").get("store mode") == status
