"""Requests as points of one series, and back."""

import random
import re

import pytest

from tailtrace_bridge.core.columns import columns_of
from tailtrace_bridge.core.records import Access, Identity, Row, Traffic
from tailtrace_bridge.store.influx.rollups import batches
from tailtrace_bridge.store.influx.rollups import encoding as chunks
from tailtrace_bridge.store.influx.rollups.encoding import Kind, Tables, decode, encode
from tailtrace_bridge.store.influx.wire import lines

ANA, BEN = Identity("100.64.0.7", "user", "ana"), Identity("100.64.0.8", "user", "ben")
T0 = 1_759_924_800_000_000  # a whole hour
BUCKET_US = batches.BUCKET_US


def row(at_us, key, who=ANA, app_us=None):
    access = Access(at_us, key, who.address, "GET", "/a?", 200, 5_001, None, True, 9, "shop", "", "", "", "")
    return Row(access, who, "/a", Traffic.CARD, app_us, "")


def points_of(rows, shift=0):
    columns, tables = columns_of(rows), Tables()
    slots = [lines.first_slot(one.access.time_us, one.access.key) + shift for one in rows]
    fresh = [(slot_ns, place) for place, slot_ns in enumerate(slots)]
    routes = [route for _, route in columns.endpoints]
    return batches.points(batches.requests_of(columns, columns.identities, routes, fresh, tables), tables, "web 1")


def texts_of(points):
    return [re.search(r'data="([^"]*)"', point.decode())[1] for point in points]


def test_a_request_and_what_is_kept_of_it():
    (point,) = points_of([row(T0 + 7, 1, app_us=4_000), row(T0 + 3, 2**63 - 1, BEN)], shift=2)
    said = re.fullmatch(r"batch,source=web\\ 1 rows=2i,newest_us=(\d+)i,data=\"[^\"]+\" (\d+)", point.decode())
    assert int(said[1]) == T0 + 7
    assert T0 * 1000 <= int(said[2]) < (T0 + BUCKET_US) * 1000
    tables = Tables()
    assert list(batches.read(texts_of([point]), tables)) == [
        (0, 0, T0 + 3, 2**63 - 1, 2, "GET", 200, 4, 5_001, None, 9),
        (1, 0, T0 + 7, 1, 2, "GET", 200, 4, 5_001, 4_000, 9),
    ]
    assert (list(tables.identities), list(tables.endpoints)) == ([BEN, ANA], [("shop", "/a")])


def test_a_step_has_points_of_its_own_and_the_same_requests_make_the_same_points():
    rows = [row(T0 + BUCKET_US - 1, 1), row(T0 + BUCKET_US, 2), row(T0, 3)]
    made = points_of(rows)
    assert [int(one.rsplit(b" ", 1)[1]) // (BUCKET_US * 1000) - T0 // BUCKET_US for one in made] == [0, 1]
    assert points_of(rows) == made


def test_what_was_written_twice_counts_once():
    texts = texts_of(points_of([row(T0, 1), row(T0, 2)]) + points_of([row(T0, 2), row(T0 + 1, 2)]))
    assert [one[2:4] for one in batches.read(texts, Tables())] == [(T0, 1), (T0, 2), (T0 + 1, 2)]


def test_a_busy_step_is_put_into_one_and_read_some_at_a_time(monkeypatch):
    monkeypatch.setattr(batches, "REQUESTS_AT_ONCE", 40)
    tables = Tables()
    texts = texts_of(points_of([row(T0 + key, key, (ANA, BEN)[key % 2]) for key in range(1, 101)]))
    pieces = list(batches.pieces(batches.read(texts, tables)))
    assert [len(piece) for piece in pieces] == [40, 40, 20]
    whole = chunks.cut([chunks.document(Kind.ROWS, piece, tables) for piece in pieces])
    assert [len(rows) for rows in chunks.decoded(Kind.ROWS, whole, Tables())] == [40, 40, 20]
    other = Tables()
    assert list(batches.read_whole(whole, other)) == [one for piece in pieces for one in piece]
    assert list(other.identities) == list(tables.identities)
    assert decode(Kind.ROWS, whole, tables) == [one for piece in pieces for one in piece]
    with pytest.raises(ValueError, match=r".+"):
        list(batches.read_whole([whole[0][:-9]], Tables()))


def test_more_than_a_field_holds_goes_to_several_points(monkeypatch):
    monkeypatch.setattr(chunks, "TEXT_LENGTH_MAX", 600)
    rows = [row(T0 + key, random.Random(key).getrandbits(63)) for key in range(100)]
    texts = texts_of(points_of(rows))
    assert len(texts) > 1
    assert max(map(len, texts)) <= 600
    assert [one.time_us for one in batches.read(texts, Tables())] == [T0 + key for key in range(100)]


@pytest.mark.parametrize(
    "column",
    [
        [0, 1, 255], [0, 256], [65_535, 65_536], [2**32, 0], [2**63 - 1, 0], [-(2**40), 2**40], [2**50, 2**50 + 1],
        [None, 0, 7], [None, None], [None, 2**50], [None, -3], ["a", "", "a"],
    ],
)  # fmt: skip
def test_a_column_comes_back(column):
    rows = [(one, 1) for one in column]
    assert decode(Kind.QUARTERS, encode(Kind.QUARTERS, rows, Tables()), Tables()) == rows


def test_a_column_takes_no_more_bytes_than_its_widest_cell_needs():
    columns = ([255, 0], [256, 0], [2**50, 2**50 + 255], [2**40, 0], [None, 0, 255])
    assert [chunks._pack(column)[0]["code"] for column in columns] == ["B", "H", "B", "Q", "H"]


@pytest.mark.parametrize("length", [1, 5, 7, 8, 9, 100])
def test_documents_come_back_one_by_one_however_the_texts_are_cut(monkeypatch, length):
    documents = ["abcdefg", "h", "", "ijklmnopqrstuvw", "xyz"]
    monkeypatch.setattr(chunks, "TEXT_LENGTH_MAX", length)
    texts = chunks.cut(iter(documents))
    assert {len(text) for text in texts[:-1]} <= {length}
    assert 0 < len(texts[-1]) <= length
    assert list(chunks.documents_of(iter(texts))) == documents
    assert chunks.cut([]) == []
