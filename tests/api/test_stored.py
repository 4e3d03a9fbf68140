"""In which bucket the data of a store begins, where it begins in the window that is looked at."""

import pytest

from tailtrace_api.queries.requests import stored_us
from tailtrace_bridge.core.records import Access, Identity, Row, Traffic
from tailtrace_bridge.store.sqlite.store import SqliteStore
from tailtrace_bridge.store.values import DAY_US, HOUR_US, Window

BEGIN = 20_000 * DAY_US + 16 * HOUR_US
WINDOW = Window(BEGIN, BEGIN + 5 * DAY_US)
DAY = 20_000 * DAY_US


def row(at_us):
    access = Access(at_us, at_us, "100.64.0.7", "GET", "/a", 200, 9, None, True, 10, "", "", "", "curl", "")
    return Row(access, Identity("100.64.0.7", "user", "ana@example.com"), "/a", Traffic.APP, None, "", 0)


@pytest.mark.parametrize(
    ("times", "bucket_us", "begin_us"),
    [
        ([], DAY_US, None),
        ([BEGIN - 1, BEGIN + 1], DAY_US, None),
        ([BEGIN, BEGIN + DAY_US], DAY_US, DAY),
        ([DAY + DAY_US - 1], DAY_US, DAY),
        ([BEGIN + 3 * DAY_US], DAY_US, DAY + 3 * DAY_US),
        ([BEGIN + 2 * HOUR_US], HOUR_US, BEGIN + 2 * HOUR_US),
        ([WINDOW.end_us], DAY_US, None),
        ([BEGIN - 91 * DAY_US, BEGIN + DAY_US], DAY_US, DAY + DAY_US),
    ],
)
def test_where_the_data_begins(tmp_path, times, bucket_us, begin_us):
    store = SqliteStore(tmp_path / "t.db")
    store.write([row(at_us) for at_us in times])
    assert stored_us(store, WINDOW, bucket_us) == begin_us
    store.close()
