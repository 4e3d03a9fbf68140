"""What a feature is called: who asks may know it, else the store does."""

import pytest

from tailtrace_api.queries.make import READ_EVERY_US, Features, StoredNames
from tailtrace_bridge.core.errors import StoreError
from tailtrace_bridge.rows.routes import Routes
from tailtrace_bridge.store.sqlite.store import SqliteStore
from tailtrace_bridge.wiring.features import FeatureKeeper

OPENAPI = {"paths": {"/b": {"get": {"summary": "B of OpenAPI"}}}}


@pytest.fixture
def store(tmp_path):
    made = SqliteStore(tmp_path / "t.db")
    made.keep_features({"/a": "A of the store", "/b": "B of the store", "/c": "C of the store", "card=x": "X"})
    yield made
    made.close()


def test_settings_then_openapi_then_the_store_then_the_route(store):
    routes = Routes()
    routes.learn_openapi(OPENAPI)
    names = Features(routes, {"/a": "A of the settings"}, StoredNames(store, lambda: 0))
    assert [names[route] for route in ("/a", "/b", "/c", "/d", "card=x", "card=y")] == [
        "A of the settings", "B of OpenAPI", "C of the store", "/d", "X", "y",
    ]  # fmt: skip


def test_they_are_read_again_after_a_while(store):
    now = [READ_EVERY_US]
    names = StoredNames(store, lambda: now[0])
    assert names.get("/a") == "A of the store"
    store.keep_features({"/a": "another"})
    assert names.get("/a") == "A of the store"
    now[0] += READ_EVERY_US
    assert (names.get("/a"), names.get("/b")) == ("another", "")


def test_a_bridge_keeps_them_once_as_soon_as_the_store_takes_rows():
    class Away:
        def __init__(self):
            self.asked, self.names = 0, {}

        def keep_features(self, names):
            self.asked += 1
            if self.asked == 1:
                raise StoreError("away")
            self.names = names

    for names, asked in (({"/a": "A"}, 2), ({}, 0)):
        store = Away()
        keeper = FeatureKeeper(store, names)
        for _ in range(4):
            keeper.offer(())
        assert (store.asked, store.names) == (asked, names)
