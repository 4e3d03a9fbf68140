"""Rollups as texts and back, and spans put together."""

import pytest

from tailtrace_bridge.core.records import Identity
from tailtrace_bridge.store.influx.rollups import encoding as chunks
from tailtrace_bridge.store.influx.rollups.encoding import (
    Kind,
    Sought,
    Tables,
    chosen,
    decode,
    document,
    document_of,
    encode,
    merged,
    rows_of,
    shares,
    usage_columns,
)
from tailtrace_bridge.store.influx.rollups.spans import groups
from tailtrace_bridge.store.influx.rollups.whose import Called, Whose
from tailtrace_bridge.store.rollups import Rollups
from tailtrace_bridge.store.values import Window

ANA, BEN = Identity("100.64.0.7", "user", "ana"), Identity("100.64.0.8", "user", "ben", expired=True)


def test_a_step_is_complete_in_itself(monkeypatch):
    monkeypatch.setattr(chunks, "TEXT_LENGTH_MAX", 40)
    tables = Tables()
    rows = [
        (tables.identities[ANA], 0, "GET", 200, 0, 1, 1, 5, 0, 0, 9, 0, 0),
        (tables.identities[BEN], 0, "GET", 200, 0, 2, 0, 0, 0, 0, 1, 0, 0),
    ]
    assert tables.endpoints[("s", "/a")] == 0
    texts = encode(Kind.USAGE, rows[1:], tables)
    assert max(map(len, texts)) == 40
    other = Tables()
    assert decode(Kind.USAGE, texts, other) == [(0, 0, "GET", 200, 0, 2, 0, 0, 0, 0, 1, 0, 0)]
    assert (list(other.identities), list(other.endpoints)) == ([BEN], [("s", "/a")])
    with pytest.raises(ValueError, match=r".+"):
        decode(Kind.USAGE, texts[:-1], other)


def test_rows_of_others_are_left_out_as_they_are_read():
    tables = Tables()
    who = [tables.identities[one] for one in (ANA, BEN)]
    of_usage = [(one, tables.endpoints[("s", f"/{one}")], "GET", 200, 0, 1, 1, 5, 0, 0, 9, 0, 0) for one in who]
    of_runs = [(one, 540 + one, 550, 2) for one in who]
    ben = Called("user", "user_id", "ben", frozenset(), frozenset())
    nobody = ben._replace(value="nobody")
    for kind, rows in ((Kind.USAGE, of_usage), (Kind.RUNS, of_runs)):
        texts = encode(kind, rows, tables)
        for whose, wanted in (
            (Whose(None, (ben,), ()), rows[1:]), (Whose(BEN.address, (), ()), rows[1:]), (Whose(None, (), (nobody, ben)), rows[1:]),
            (Whose(ANA.address, (ben,), ()), []), (Whose(None, (nobody,), ()), []),
        ):  # fmt: skip
            assert decode(kind, texts, tables, whose.finder()) == wanted
            assert chosen(kind, rows, tables, Sought(whose, None, None, None, 0, 999)) == wanted
        other = Tables()
        decode(kind, texts, other, Whose(None, (ben,), ()).finder())
        assert list(other.identities) == [BEN], "nobody else is known to who reads"


@pytest.mark.parametrize(
    ("sums", "both"),
    [((2, 2, 90, 2, 70, 5), (2, 20)), ((2, 2, 90, 1, 70, 5), (0, 0)), ((2, 2, 90, 0, 0, 5), (0, 0))],
)
@pytest.mark.parametrize(("kind", "key"), [(Kind.USAGE_ENDPOINT, (0, 200, 0)), (Kind.USAGE, (0, 0, "GET", 200, 0))])
def test_sums_of_before_have_both_times_where_each_request_has(kind, key, sums, both):
    tables = Tables()
    assert (tables.identities[ANA], tables.endpoints[("s", "/a")]) == (0, 0)
    assert decode(kind, encode(kind, [(*key, *sums)], tables), tables) == [(*key, *sums, *both)]


@pytest.mark.parametrize("kind", list(Kind))
def test_no_rows(kind):
    assert decode(kind, encode(kind, [], Tables()), Tables()) == []


def test_the_usage_of_an_hour_is_written_from_its_columns_as_from_its_rows():
    tables, rollups = Tables(), Rollups()
    who, where = tables.identities[BEN], tables.endpoints[("s", "/a")]
    assert document_of(Kind.USAGE, usage_columns(rollups), tables) == document(Kind.USAGE, [], tables)
    rollups.add([(540, who, where, "GET", 200, 0, 9, 7, 1), (541, who, where, "PUT", 500, 0, None, None, 2)])
    text = document_of(Kind.USAGE, usage_columns(rollups), tables)
    assert text == document(Kind.USAGE, list(rows_of(Kind.USAGE, rollups, tables)), tables)
    assert decode(Kind.USAGE, [text], tables) == [
        (0, 0, "GET", 200, 0, 1, 1, 9, 1, 7, 1, 1, 2), (0, 0, "PUT", 500, 0, 1, 0, 0, 0, 0, 2, 0, 0),
    ]  # fmt: skip


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_each_identity_is_in_one_share(count):
    all_tables = Tables()
    people = [Identity(f"100.64.0.{n}", "user", f"person{n}") for n in range(5)]
    hours = []
    for some in (people[:4], people[::-1]):  # not each is in each, and none has the same place in both
        here = Tables()
        where = here.endpoints[("s", "/a")]
        rows = [(here.identities[one], where, 0, requests) for requests, one in enumerate(some, start=1)]
        hours.append(encode(Kind.VISITS, rows, here))
    found = [
        merged(Kind.VISITS, [decode(Kind.VISITS, texts, all_tables, find) for texts in hours]) for find in shares(count)
    ]
    of_all = [row for rows in found for row in rows]
    requests = {list(all_tables.identities)[who].user: n for who, _, _, n in of_all}
    assert requests == {"person0": 6, "person1": 6, "person2": 6, "person3": 6, "person4": 1}
    assert (len(found), len(of_all)) == (count, 5), "nobody is in two shares"


@pytest.mark.parametrize(
    ("kind", "one", "other", "together"),
    [
        (Kind.USAGE, [(0, 1, "GET", 200, 0, 1, 1, 5, 0, 0, 9, 0, 0)], [(0, 1, "GET", 200, 0, 2, 1, 6, 1, 3, 1, 1, -2)], [(0, 1, "GET", 200, 0, 3, 2, 11, 1, 3, 10, 1, -2)]),
        (Kind.USAGE_HOURS, [(1, 9, 200, 0, 2), (0, 8, 200, 0, 1)], [(1, 9, 200, 0, 3)], [(0, 8, 200, 0, 1), (1, 9, 200, 0, 5)]),
        (Kind.LATENCY, [(0, 1, 7, 2)], [(0, 1, 7, 3), (1, 1, 7, 1)], [(0, 1, 7, 5), (1, 1, 7, 1)]),
        (Kind.RUNS, [(9, 540, 550, 2)], [(8, 480, 480, 1), (9, 545, 560, 1)], [(9, 540, 560, 3), (8, 480, 480, 1)]),
        (Kind.QUARTERS, [(900, 2)], [(900, 1), (1800, 1)], [(900, 3), (1800, 1)]),
        (Kind.UPTIME, [(0, 9, 3, 1)], [(0, 9, 2, 0), (1, 9, 0, 5)], [(0, 9, 5, 1), (1, 9, 0, 5)]),
    ],
)  # fmt: skip
def test_rows_add_up(kind, one, other, together):
    assert merged(kind, [one, other]) == together


def test_spans_with_the_smallest_gaps_between_are_joined():
    spans = [Window(0, 1), Window(2, 3), Window(50, 51), Window(90, 91), Window(92, 93)]
    assert groups(spans, 3) == [Window(0, 3), Window(50, 51), Window(90, 93)]
    assert groups(spans, 5) == spans
    assert groups([], 3) == []
