"""What is asked for is a value, never a part of the question. (InfluxDB's side is in `test_store_contract`.)"""

import pytest

from tailtrace_bridge.core.records import Access, Identity, Row, Traffic
from tailtrace_bridge.store.scope import Scope
from tailtrace_bridge.store.sqlite.store import SqliteStore
from tailtrace_bridge.store.values import Filters, Window

EVER = Window(0, 2**53)
ANA = Identity("100.64.0.7", "user", "ana@example.com", "ana-laptop", "nANA", "", "static")


@pytest.fixture
def store(tmp_path):
    store = SqliteStore(str(tmp_path / "t.db"))
    access = Access(1_760_000_000_000_000, 1, ANA.address, "GET", "/a", 200, 1, None, True, 1, "", "", "", "", "")
    store.write([Row(access, ANA, "/a", Traffic.APP, None, "")])
    yield store
    store.close()


@pytest.mark.parametrize("field", ["user", "device", "endpoint", "method"])
@pytest.mark.parametrize(
    "value",
    ["' OR '1'='1", '" OR ""="', "x'; DROP TABLE access; --", "%", "_", "*", "\0", "x' UNION SELECT * FROM access --"],
)
def test_a_filter_is_a_value(store, field, value):
    assert store.log(Scope.everybody(), EVER, Filters(**{field: value}), 10, None) == []
    assert store.usage(Scope.everybody(), EVER, Filters(**{field: value})) == []
    assert len(store.log(Scope.everybody(), EVER, Filters(), 10, None)) == 1


def test_a_filter_finds_what_it_names(store):
    """What the test above finds nowhere could be found."""
    assert (
        len(store.log(Scope.everybody(), EVER, Filters(user="ana@example.com", endpoint="/a", method="GET"), 10, None))
        == 1
    )
