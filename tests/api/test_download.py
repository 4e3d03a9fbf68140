"""A file of the requests that the page shows: all of them in each format, a member's own, and what a store cannot do."""

import csv
import io
import json

import pytest

from tailtrace_api.answers.requests import log_line
from tailtrace_api.http.download import COLUMNS, download
from tailtrace_bridge.core.errors import StoreError
from tailtrace_bridge.core.records import Identity, Traffic
from tailtrace_bridge.store.values import LogEntry

ANA = Identity("100.64.0.7", "tagged", "", "ci", "n1", "tag:a,tag:b", "static")


def line(key, path="/a", status=200):
    return log_line(LogEntry(
        1_759_924_800_000_000 + key, key, ANA, "shop", path, "GET", path, status, Traffic.APP, 30_000, 10_000, 5,
        "ab" * 16, "",
    ))  # fmt: skip


PAGES = [[line(3, "=1+1"), line(2, '/ñ,"\r\n')], [line(1, status=500)], []]


async def body_of(response):
    return b"".join([chunk if isinstance(chunk, bytes) else chunk.encode() async for chunk in response.body_iterator])


@pytest.fixture
def file_of():
    import asyncio

    return lambda pages, form: asyncio.run(body_of(download(iter(pages), form)))


def test_json_is_what_the_list_has(file_of):
    found = json.loads(file_of(PAGES, "json"))
    assert [(one["path"], one["status"], one["tags"]) for one in found] == [
        ("=1+1", 200, ["tag:a", "tag:b"]), ('/ñ,"\r\n', 200, ["tag:a", "tag:b"]), ("/a", 500, ["tag:a", "tag:b"]),
    ]  # fmt: skip
    assert tuple(found[0]) == COLUMNS
    assert json.loads(file_of([[]], "json")) == []
    assert json.loads(file_of([], "json")) == []


def test_csv_holds_no_formula(file_of):
    rows = list(csv.DictReader(io.StringIO(file_of(PAGES, "csv").decode(), newline="")))
    assert [(row["path"], row["status"], row["tags"], row["key_expired"], row["outside_ms"]) for row in rows] == [
        ("'=1+1", "200", "tag:a,tag:b", "false", "20.0"), ('/ñ,"\r\n', "200", "tag:a,tag:b", "false", "20.0"),
        ("/a", "500", "tag:a,tag:b", "false", "20.0"),
    ]  # fmt: skip
    assert file_of([], "csv").decode() == ",".join(COLUMNS) + "\r\n"


def test_parquet_has_types(file_of):
    parquet, arrow = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("pyarrow")
    table = parquet.read_table(arrow.BufferReader(file_of(PAGES, "parquet")))
    assert table.column("path").to_pylist() == ["=1+1", '/ñ,"\r\n', "/a"]
    assert table.column("response_time_ms").to_pylist() == [30.0] * 3
    assert tuple(table.column_names) == COLUMNS
    assert parquet.read_table(arrow.BufferReader(file_of([], "parquet"))).num_rows == 0


def test_a_store_that_fails_is_told_before_the_file_begins():
    def pages():
        raise StoreError("no store")
        yield []

    with pytest.raises(StoreError):
        download(pages(), "csv")
