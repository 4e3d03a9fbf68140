"""A batch comes out of the pipe as it went in."""

import marshal

import pytest

from tailtrace_bridge.core.columns import Columns, RequestShape
from tailtrace_bridge.core.records import Identity
from tailtrace_bridge.transfer.flat import flattened, restored

ID = bytes(range(16))
ROWS = Columns(
    [Identity("100.64.0.7", user="ana@example.com"), Identity("é")],
    [("shop", "/a"), ("", "/b/{id}")],
    [RequestShape(0, "GET", "/a", 200, 0), RequestShape(1, "POST", "/b/😀", 500, 3)],
    ["curl", ""], [1, 0], [5, 1_700_000_000_000_000], [0, (1 << 63) - 1], [0, 1], [1, 0], [1, 1],
    [None, 7], [0, 0], [None, None], [9, 10**14], [ID, ID[::-1]], [None, b"tailtrac"], [None, "KeyError"],
)  # fmt: skip
EMPTY = Columns([], [], [], [], [], [], [], [], [], [], [], [], [], [], [], [], [])


def as_lists(columns):
    return [list(column) for column in columns]


@pytest.mark.parametrize(
    "columns",
    [
        ROWS,
        EMPTY,
        ROWS._replace(trace_id=[None, ID]),
        ROWS._replace(trace_id=[ID + ID[:4], ID[4:]]),
        ROWS._replace(trace_id=(None, None), span_id=(None, None), error_type=(None, None)),
        ROWS._replace(bytes_sent=[1 << 70, 0]),
        ROWS._replace(request_time_us=[None, 1 << 70]),
    ],
)
def test_a_batch_is_restored_as_it_was(columns):
    found = restored(marshal.loads(marshal.dumps(flattened(columns))))
    assert as_lists(found) == as_lists(columns)
    assert all(isinstance(one, RequestShape) for one in found.requests)
    assert all(isinstance(one, Identity) for one in found.identities)
