"""Rollups of columns are those of the same rows one by one."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tailtrace_bridge.core.columns import Columns, RequestShape
from tailtrace_bridge.core.records import Identity
from tailtrace_bridge.store.rollups import Rollups
from tailtrace_bridge.store.tally import rolled_up, tally
from tailtrace_bridge.store.values import HOUR_US, MINUTE_US

T0 = 1_759_924_800_000_000
IDENTITY_IDS, ENDPOINT_IDS = [7, 8, 7], [5, 6, 5]
"""Two of a batch may be one in the store."""
ASKED = [
    RequestShape(0, "GET", "/a", 200, 0), RequestShape(0, "GET", "/b", 500, 0), RequestShape(1, "GET", "/a", 200, 4),
    RequestShape(1, "POST", "/a", 0, 1), RequestShape(0, "GET", "/c", 200, 0), RequestShape(2, "GET", "/d", 200, 0),
]  # fmt: skip
NUMBERS = st.one_of(st.none(), st.integers(0, 3_000_000))
ROWS = st.tuples(
    st.one_of(st.integers(0, 3 * HOUR_US), st.sampled_from((0, 1, MINUTE_US - 1, MINUTE_US, HOUR_US))),
    st.integers(0, len(IDENTITY_IDS) - 1), st.integers(0, len(ASKED) - 1), NUMBERS, NUMBERS, st.integers(0, 10**13),
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(ROWS, max_size=30), st.booleans(), st.booleans())
def test_columns_roll_up_as_their_rows_do(rows, in_order, timeless):
    rows = sorted(rows, key=lambda row: row[0]) if in_order else rows
    rows = [(*row[:3], None, None, row[5]) for row in rows] if timeless else rows
    by_row = Rollups()
    by_row.add(
        (
            T0 + at,
            IDENTITY_IDS[who],
            ENDPOINT_IDS[one.endpoint],
            one.method,
            one.status,
            one.traffic,
            took_us,
            app_us,
            sent,
        )
        for at, who, request, took_us, app_us, sent in rows
        for one in (ASKED[request],)
    )
    at, who, request, took_us, app_us, sent = [list(column) for column in zip(*rows, strict=True)] or [[]] * 6
    none = [None] * len(rows)
    columns = Columns(
        [Identity("1.2.3.4")] * 3, [("", "/")] * 3, ASKED, [""], [0] * 3, [T0 + one for one in at], list(range(len(rows))),
        who, request, [0] * len(rows), took_us, none, app_us, sent, none, none, none,
    )  # fmt: skip
    made = rolled_up(tally(columns), IDENTITY_IDS, ENDPOINT_IDS)
    assert made.usage == by_row.usage
    assert dict(made.latency) == dict(by_row.latency)
    assert made.activity == by_row.activity
    assert made.minutes == by_row.minutes
