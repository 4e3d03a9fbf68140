"""Whose rows: no verb of a store that reads can be called without it, and a member's gives nobody else's row."""

import inspect
from pathlib import Path

import pytest

import tailtrace_api
from tailtrace_bridge.core.errors import StoreError
from tailtrace_bridge.core.records import Access, Failure, Identity, KeptTrace, Marker, RejectedLine, Row, Traffic
from tailtrace_bridge.store.anonymous import Order
from tailtrace_bridge.store.influx.store import InfluxStore
from tailtrace_bridge.store.protocol import Store
from tailtrace_bridge.store.scope import Scope, ScopeError
from tailtrace_bridge.store.sqlite.store import SqliteStore
from tailtrace_bridge.store.values import HOUR_US, AlertEvent, By, Filters, Window

S = 1_000_000
T0 = 1_759_924_800 * S
WINDOW = Window(T0 - HOUR_US, T0 + HOUR_US)
ANA = Identity("100.64.0.7", "user", "ana@example.com", "ana-laptop", "n1", "", "localapi", "u1")
BEN = Identity("100.64.0.8", "user", "ben@example.com", "ben-phone", "n2", "", "localapi", "u2")
KIOSK = Identity("100.64.0.9", "tagged", "", "kiosk", "n3", "tag:kiosk", "localapi")
TRACE = "ab" * 16
MINE = Scope.member(ANA.user)
WRITES = {"store_id", "settle_rejected", "write", "write_columns", "prune", "begin_erase", "unfinished_erase", "erase"}
WRITES |= {
    "add_alert_events",
    "close",
    "add_failures",
    "add_markers",
    "keep_features",
    "keep_traces",
    "drop_traces",
    "drop_markers",
    "resolve_error",
    "remember",
    "remembered",
}
"""What reads nobody's rows, or (to erase) is told whose."""
VERBS = {name: verb for name, verb in vars(Store).items() if inspect.isfunction(verb) and not name.startswith("_")}
READS = VERBS.keys() - WRITES


def row(key, who, traffic=Traffic.APP):
    access = Access(
        T0 + key * S, key, who.address, "GET", f"/{who.device}", 200, 5_000, None, True, 10, "", TRACE, "", "curl", ""
    )
    return Row(access, who, f"/{who.device}", traffic, None, "")


@pytest.fixture
def store(tmp_path):
    made = SqliteStore(tmp_path / "t.db")
    made.write([row(n, (ANA, BEN, KIOSK)[n % 3]) for n in range(9)], [RejectedLine("empty", "x.log", 1, "?")])
    made.add_alert_events([
        AlertEvent(T0, "new_user", "new_user", "seen", BEN.user, None, "ben is new"),
        AlertEvent(T0 + 1, "no_data", "no_data", "started", "", None, "nothing came"),
    ])  # fmt: skip
    made.keep_traces([KeptTrace(T0 + n * S, n, bytes.fromhex(TRACE), "error", 0, b"x") for n in range(9)], 1000)
    made.add_failures([Failure(T0 + n * S, n, "f" * 16, "KeyError", "total", "", "") for n in range(9)])
    made.keep_features({"/a": "Prices"})
    made.add_markers([Marker(T0, "note", "", "deployed"), Marker(T0 + 1, "version", "shop", "1.2")])
    yield made
    made.close()


@pytest.mark.parametrize("kind", [Store, SqliteStore, InfluxStore])
@pytest.mark.parametrize("verb", sorted(READS))
def test_no_verb_reads_without_a_scope(kind, verb):
    parameter = list(inspect.signature(getattr(kind, verb)).parameters.values())[1]
    assert (parameter.name, parameter.default, parameter.annotation) == ("scope", inspect.Parameter.empty, Scope)


def people(identities):
    return {one.user or one.device for one in identities}


OWN = {
    "log": lambda store, scope: people(one.identity for one in store.log(scope, WINDOW, Filters(), 100, None)),
    "usage": lambda store, scope: people(
        one.identity for by in (By.ALL, By.IDENTITY) for one in store.usage(scope, WINDOW, Filters(), by)
    ),
    "endpoint_buckets": lambda store, scope: {
        one.endpoint.removeprefix("/") for one in store.endpoint_buckets(scope, WINDOW, HOUR_US, Filters())
    },
    "visits": lambda store, scope: people(one.identity for one in store.visits(scope, WINDOW)),
    "activity": lambda store, scope: people(one.identity for one in store.activity(scope, WINDOW)),
    "alert_events": lambda store, scope: {one.subject for one in store.alert_events(scope, 10)},
    "error_groups": lambda store, scope: {name for one in store.error_groups(scope, WINDOW) for name in one.people},
    "traces": lambda store, scope: people(entry.identity for entry, _ in store.traces(scope, TRACE)),
}
OF_NOBODY = {
    "markers": lambda store, scope: store.markers(scope, WINDOW),
    "features": lambda store, scope: list(store.features(scope)),
}
OF_ALL = {
    "rows": lambda store, scope: store.rows(scope, WINDOW, None, 10),
    "named": lambda store, scope: store.named(scope),
    "endpoints": lambda store, scope: store.endpoints(scope),
    "rejected_lines": lambda store, scope: store.rejected_lines(scope, None, 10),
    "bucket_usage": lambda store, scope: store.bucket_usage(scope, WINDOW, HOUR_US),
    "has_any": lambda store, scope: store.has_any(scope, WINDOW),
    "latency": lambda store, scope: store.latency(scope, WINDOW),
    "bucket_latency": lambda store, scope: store.bucket_latency(scope, WINDOW, HOUR_US),
    "quarters": lambda store, scope: store.quarters(scope, WINDOW),
    "uptime": lambda store, scope: store.uptime(scope, WINDOW),
    "newest_us": lambda store, scope: store.newest_us(scope),
    "failures_of": lambda store, scope: store.failures_of(scope, [(T0, 0)]),
    "recent": lambda store, scope: store.recent(scope, WINDOW),
}


def test_each_verb_is_tried_below():
    assert OWN.keys() | OF_ALL.keys() | OF_NOBODY.keys() | {"anonymous_usage", "callers"} == READS


@pytest.mark.parametrize("verb", OF_NOBODY)
def test_what_is_about_nobody_is_for_everybody(store, verb):
    assert OF_NOBODY[verb](store, MINE) == OF_NOBODY[verb](store, Scope.everybody()) != []


def test_a_member_has_no_strangers(store):
    store.write([row(100 + n, Identity(f"203.0.113.{n}", "external")) for n in range(2)])
    for scope, anonymous, addresses in ((Scope.everybody(), 2, 5), (MINE, 0, 1)):
        assert store.anonymous_usage(scope, WINDOW, Order.SESSIONS, 9).visitors == anonymous
        found = store.callers(scope, WINDOW, Filters(), 9, usage_only=True)
        assert (found.addresses, found.anonymous, len(found.first)) == (addresses, anonymous, anonymous)


@pytest.mark.parametrize("verb", OWN)
def test_a_member_is_given_nobody_elses(store, verb):
    seen = OWN[verb](store, Scope.everybody())
    assert len(seen) > 1
    mine = {"endpoint_buckets": {ANA.device}, "alert_events": {""}}.get(verb, {ANA.user})
    assert OWN[verb](store, MINE) == mine


@pytest.mark.parametrize("verb", OF_ALL)
def test_what_cannot_be_restricted_is_refused_to_a_member(store, verb):
    OF_ALL[verb](store, Scope.everybody())
    with pytest.raises(ScopeError, match=f"{verb} cannot be restricted to one person"):
        OF_ALL[verb](store, MINE)


@pytest.mark.parametrize("verb", ["log", "usage", "endpoint_buckets"])
def test_a_member_cannot_filter_by_another(store, verb):
    more = {"log": (100, None), "usage": (), "endpoint_buckets": ()}[verb]
    step = (HOUR_US,) if verb == "endpoint_buckets" else ()
    with pytest.raises(StoreError, match="filtered by another login"):
        getattr(store, verb)(MINE, WINDOW, *step, Filters(user=BEN.user), *more)
    assert getattr(store, verb)(MINE, WINDOW, *step, Filters(device=BEN.device), *more) == []
    assert getattr(store, verb)(MINE, WINDOW, *step, Filters(address=BEN.address), *more) == []


def test_only_access_makes_a_members_scope():
    packages = [Path(tailtrace_api.__path__[0]), Path(inspect.getfile(Store)).parents[1]]
    makers = [
        path.name
        for package in packages
        for path in package.rglob("*.py")
        if "Scope.member(" in path.read_text(encoding="utf-8")
    ]
    assert makers == ["roles.py"]
