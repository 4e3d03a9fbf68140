"""What broke, in groups: what makes two failures one, how a group comes, goes and comes back, and versions."""

import stat
import time

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tailtrace_bridge.alerts.broken import new_or_back
from tailtrace_bridge.core.errors import StoreError
from tailtrace_bridge.core.records import Access, Failure, Identity, Marker, Row, Traffic, WholeSpan
from tailtrace_bridge.store.person import Person
from tailtrace_bridge.store.scope import Scope
from tailtrace_bridge.store.sqlite import failures as tables
from tailtrace_bridge.store.sqlite.store import SqliteStore
from tailtrace_bridge.store.values import BACK_US, HOUR_US, Window
from tailtrace_bridge.traces import keeper as keeper_module
from tailtrace_bridge.traces import runs as runs_module
from tailtrace_bridge.traces.choice import TraceChoice, Wanted
from tailtrace_bridge.traces.groups import Failed, Grouping
from tailtrace_bridge.traces.groups import failed as failed_of
from tailtrace_bridge.traces.keeper import TraceKeeper
from tailtrace_bridge.traces.pack import SpanEvent, TraceSpan
from tailtrace_bridge.traces.runs import GAP_US, Runs
from tailtrace_bridge.traces.versions import FORGET_S, Versions
from tailtrace_bridge.traces.waiting import Waiting

S = 1_000_000
T0 = 1_759_924_800 * S
TRACE = "ab" * 16
ALL = Scope.everybody()
WEEK = Window(T0 - HOUR_US, T0 + BACK_US)
ANA = Identity("100.64.0.7", "user", "ana@example.com", "ana-laptop", "n1", "", "localapi", "u1")
BEN = Identity("100.64.0.8", "user", "ben@example.com", "ben-phone", "n2", "", "localapi", "u2")
LIBRARY = '  File "/srv/venv/lib/python3.12/site-packages/starlette/routing.py", line {line}, in app\n    await f()\n'


def stack(line=40, file="/srv/shop/orders.py", function="total", error="KeyError", library_line=76, times=1):
    own = f'  File "{file}", line {line}, in {function}\n    return prices[name]\n' * times
    return f"Traceback (most recent call last):\n{LIBRARY.format(line=library_line)}{own}{error}"


def spans(text, type_="KeyError", *, kind="server", version="1.2", at_us=T0):
    event = SpanEvent(at_us, "exception", {"exception.type": type_, "exception.stacktrace": text})
    return [TraceSpan("1", "", "GET", kind, "shop", version, False, T0, 1, "error", "", {}, [event], [])]


def failed(key=1, route="/orders/{id}", status=500, error="KeyError"):
    return Failed(T0, key, "shop", route, status, error)


def group(one, found=()):
    return Grouping().failure(one, found)


def test_a_group_is_a_class_and_the_apps_own_functions():
    assert group(failed(), spans(stack())) == Failure(
        T0, 1, group(failed(), spans(stack())).fingerprint, "KeyError", "shop/orders.py total (/orders/{id})",
        "shop/orders.py total", "1.2",
    )  # fmt: skip


SAME = [
    stack(line=55),
    stack(library_line=99),
    stack(file="/srv/releases/2026-11-28/shop/orders.py"),
    stack(file="C:\\app\\shop\\orders.py"),
    stack(times=30),
    # The same code by Python 3.11, where a comprehension has a frame; and within a group of exceptions.
    stack().replace(
        "KeyError", '  File "/srv/shop/orders.py", line 40, in <listcomp>\n    return prices[name]\nKeyError'
    ),
    '  + Exception Group Traceback (most recent call last):\n  |   File "/srv/shop/main.py", line 9, in both\n  | '
    "ExceptionGroup: two (1 sub-exception)\n  +-+---------------- 1 ----------------\n"
    + "".join(f"    | {line}\n" for line in stack().splitlines())
    + "    +------------------------------------\n",
]
OTHER = [stack(function="discount"), stack(file="/srv/shop/prices.py")]


@pytest.mark.parametrize("text", SAME)
def test_line_numbers_libraries_folders_and_recursion_are_folded(text):
    assert group(failed(), spans(text)).fingerprint == group(failed(), spans(stack())).fingerprint


@pytest.mark.parametrize("text", OTHER)
def test_another_function_is_another_group(text):
    assert group(failed(), spans(text)).fingerprint != group(failed(), spans(stack())).fingerprint


def test_the_same_code_behind_two_endpoints_is_one_group_and_another_class_is_another():
    here, there = group(failed(), spans(stack())), group(failed(route="/b"), spans(stack()))
    assert here.fingerprint == there.fingerprint
    assert group(failed(), spans(stack(), "ValueError")).fingerprint != here.fingerprint


@pytest.mark.parametrize(
    ("one", "type_", "title"),
    [
        (failed(status=502, error=""), "", "502 /orders/{id}"),
        (failed(error="500"), "", "500 /orders/{id}"),
        (failed(error="_OTHER"), "", "500 /orders/{id}"),
        (failed(), "KeyError", "/orders/{id}"),
    ],
)
def test_without_a_stack_it_is_the_class_or_the_status_of_an_endpoint(one, type_, title):
    found = group(one, spans("Traceback (most recent call last):\n" + LIBRARY.format(line=1) + "KeyError"))
    assert (found.type, found.title, found.frames) == (type_, title, "")
    assert group(one._replace(route="/b")).fingerprint != found.fingerprint


def test_one_without_spans_is_as_the_last_like_it():
    grouping = Grouping()
    first = grouping.failure(failed(), spans(stack()))
    assert grouping.failure(failed(2), ()).fingerprint == first.fingerprint
    assert grouping.failure(failed(3, route="/b"), ()).fingerprint != first.fingerprint
    assert grouping.failure(failed(4, error="ValueError"), ()).fingerprint != first.fingerprint


def test_the_exception_that_ended_the_request_counts():
    handled = spans(stack(function="tried"), kind="internal", at_us=T0 + 5)
    assert group(failed(), [*handled, *spans(stack())]).frames == "shop/orders.py total"


# The store.


@pytest.fixture
def store(tmp_path):
    made = SqliteStore(tmp_path / "t.db")
    yield made
    made.close()


def row(key, who=ANA, at_us=T0, status=500, trace=""):
    access = Access(at_us, key, who.address, "GET", "/a", status, 5_000, None, True, 10, "shop", trace, "", "curl", "")
    return Row(access, who, f"/{who.device}", Traffic.APP, None, "")


def fail(store, key, at_us, fingerprint="f" * 16, who=ANA, version="", trace=""):
    store.write([row(key, who, at_us, trace=trace)])
    return store.add_failures([Failure(at_us, key, fingerprint, "KeyError", "total", "orders.py total", version)])


def test_whom_a_group_hits_when_and_in_which_version(store):
    for key, who, at_us in ((1, ANA, T0), (2, ANA, T0 + S), (3, BEN, T0 + HOUR_US)):
        assert fail(store, key, at_us, who=who, version=f"1.{key % 2}", trace=f"{key:032x}") == 1
    assert fail(store, 3, T0 + HOUR_US) == 0, "it is in its group already"
    assert store.add_failures([Failure(T0, 99, "f" * 16, "", "", "", "")]) == 0, "there is no such request"
    (one,) = store.error_groups(ALL, WEEK)
    assert (one.type, one.title, one.requests, one.people_count, one.devices_count) == ("KeyError", "total", 3, 2, 2)
    assert (one.first_us, one.last_us) == (T0, T0 + HOUR_US)
    assert one.hours == {T0: 2, T0 + HOUR_US: 1}
    assert one.people == {ANA.user: 2, BEN.user: 1}
    assert one.versions == {"1.1": 2, "1.0": 1}
    assert one.traces == [(T0 + HOUR_US, f"{3:032x}", False), (T0 + S, f"{2:032x}", False), (T0, f"{1:032x}", False)]
    (of_ben,) = store.error_groups(Scope.member(BEN.user), WEEK)
    assert (of_ben.requests, of_ben.people, of_ben.endpoints) == (3, {BEN.user: 1}, {"/ben-phone": 1})
    assert [trace for _, trace, _ in of_ben.traces] == [f"{3:032x}"]


def test_it_goes_with_its_people_and_rows_and_is_stable_over_a_restart(store, tmp_path):
    fail(store, 1, T0)
    fail(store, 2, T0 + S, who=BEN)
    store.erase(Person(user=BEN.user), is_dry=False)
    assert [one.people for one in store.error_groups(ALL, WEEK)] == [{ANA.user: 1}]
    again = SqliteStore(tmp_path / "t.db")
    assert again.error_groups(ALL, WEEK) == store.error_groups(ALL, WEEK)
    again.close()
    store.prune(T0 + 10 * S)
    assert store.error_groups(ALL, WEEK) == []
    fail(store, 3, T0 + 20 * S)
    assert store.error_groups(ALL, WEEK)[0].first_us == T0, "what was known of the group stays"


def test_mended_and_back(store):
    fail(store, 1, T0)
    assert store.resolve_error("f" * 16, T0 + S)
    assert not store.resolve_error("no such", T0)
    (one,) = store.error_groups(ALL, WEEK)
    assert (one.resolved_us, one.back_us) == (T0 + S, 0)
    fail(store, 2, T0 + 2 * S)
    (one,) = store.error_groups(ALL, WEEK)
    assert one.back_us == T0 + 2 * S
    fail(store, 3, T0 + 3 * S)
    assert store.error_groups(ALL, WEEK)[0].back_us == T0 + 2 * S, "it came back once"
    later = T0 + 4 * S + BACK_US
    fail(store, 4, later)
    (one,) = store.error_groups(ALL, Window(later - S, later + S))
    assert one.back_us == later, "after a week of silence"


def test_groups_are_bounded(store, monkeypatch):
    monkeypatch.setattr(tables, "GROUPS_MAX", 3)
    for key in range(6):
        fail(store, key, T0 + key * S, f"{key:016x}")
    assert [one.fingerprint for one in store.error_groups(ALL, WEEK)] == [f"{key:016x}" for key in (5, 4, 3)]


def test_markers(store, monkeypatch):
    found = [Marker(T0 + n, "note", "", f"m{n}") for n in range(4)]
    store.add_markers(found)
    store.add_markers(found)
    assert store.markers(ALL, Window(T0 + 1, T0 + 3)) == found[1:3]
    monkeypatch.setattr(tables, "MARKERS_MAX", 2)
    store.add_markers([Marker(T0 + 9, "version", "shop", "1.3")])
    assert len(store.markers(ALL, WEEK)) == 2


# All of it.


def version_of(*versions, service="shop"):
    return [WholeSpan(b"", b"", service, version) for version in versions]


def test_a_deployment_is_a_version_that_was_not_there():
    versions = Versions([Marker(T0, "version", "shop", "1.2"), Marker(T0, "note", "", "x")], 0.0)
    assert versions.changes(version_of("1.2", "1.2", ""), 1.0, T0) == []
    assert versions.changes(version_of("1.3"), 2.0, T0 + 2) == [Marker(T0 + 2, "version", "shop", "1.3")]
    assert versions.changes(version_of("1.2", "1.3"), 3.0, T0 + 3) == [], "one takes the other's place"
    assert versions.changes(version_of("1.3"), 4.0 + FORGET_S, T0) == [], "it was a quiet night"
    rolled_back = versions.changes(version_of("1.2"), 9.0 + FORGET_S, T0 + 9)
    assert rolled_back == [Marker(T0 + 9, "version", "shop", "1.2")]
    assert versions.changes(version_of("1", service="other"), 5.0, T0)


def keeper_of(store, now, choice=None, **more):
    return TraceKeeper(
        store, choice or TraceChoice(Wanted(per_minute=1, one_in=0)), bytes_max=1 << 20, service="nginx",
        has_messages=False, clock=lambda: T0 + 60 * S, monotonic_s=lambda: now[0], **more,
    )  # fmt: skip


def test_each_failure_joins_its_group_though_its_trace_is_not_kept(store):
    now = [0.0]
    keeper = keeper_of(store, now)
    rows = [row(key, at_us=T0 + key, trace=f"{key:032x}") for key in range(1, 5)]
    store.write(rows)
    keeper.offer(rows)
    keeper.keep_due(9.0)
    assert store.error_groups(ALL, WEEK) == []
    keeper.keep_due(10.0)
    (one,) = store.error_groups(ALL, WEEK)
    assert (one.requests, one.title, keeper.counters.failures, keeper.counters.kept) == (4, "500 /ana-laptop", 4, 1)
    assert one.traces[0][2], "the one that is kept comes first"


@pytest.mark.parametrize(
    ("app", "versions"),
    [
        ("1;t=5123;r=/orders/{id};e=KeyError;s=shop;v=1.4.0", {"1.4.0": 2}),
        ("1;e=KeyError;s=shop", {"0.9": 1}),
        ("of nobody's form", {"0.9": 1}),
        (None, {"0.9": 1}),
    ],
)
def test_the_version_is_what_the_app_said_with_its_answer_whether_or_not_spans_are_kept(store, app, versions):
    rows = [row(key, at_us=T0 + key, trace=f"{key:032x}") for key in (1, 2)]
    rows = [one._replace(access=one.access._replace(app=app)) for one in rows]
    store.write(rows)
    keeper = keeper_of(store, [0.0])
    keeper.offer(rows)
    keeper.hold([WholeSpan(bytes.fromhex(f"{1:032x}"), Span(span_id=b"a" * 8).SerializeToString(), "stock", "0.9")])
    keeper.keep_due(10.0)
    (one,) = store.error_groups(ALL, WEEK)
    assert (one.requests, one.versions) == (2, versions)


def rows_of(*statuses, route="/slow", step_us=S, key=1):
    made = [row(key + n, at_us=T0 + (key + n) * step_us, status=status) for n, status in enumerate(statuses)]
    return [one._replace(route=route) for one in made]


@pytest.mark.parametrize(
    ("rows", "keys"),
    [
        (rows_of(499, 499, 499, 499), []),
        (rows_of(499, 499, 499, 499, 499), [1, 2, 3, 4, 5]),
        (rows_of(*[499] * 12), list(range(1, 13))),
        (rows_of(499, 499, 499, 499, 200, 499, 499, 499, 499), []),
        (rows_of(*[499] * 5, 200, *[499] * 5), [1, 2, 3, 4, 5, 7, 8, 9, 10, 11]),
        (rows_of(*[499] * 5, step_us=GAP_US), [1, 2, 3, 4, 5]),
        (rows_of(*[499] * 9, step_us=GAP_US + 1), []),
        # Elsewhere things go well, and that ends no run.
        ([one for n in range(1, 6) for one in (*rows_of(499, key=n), *rows_of(200, route="/b", key=n + 10))], [1, 2, 3, 4, 5]),
        ([one for n in range(1, 6) for one in (*rows_of(499, key=n), *rows_of(499, route=f"/{n}", key=n + 10))], [1, 2, 3, 4, 5]),
    ],
)  # fmt: skip
def test_clients_that_leave_in_a_row_are_a_failure_and_one_that_changes_their_mind_is_not(rows, keys):
    runs = Runs()
    assert [one.key for each in rows for one in runs.failures(failed_of(each))] == keys


def test_of_too_many_endpoints_the_run_that_stopped_first_is_forgotten(monkeypatch):
    monkeypatch.setattr(runs_module, "ENDPOINTS_MAX", 2)
    runs = Runs()
    for route in ("/a", "/b", "/c"):
        for each in rows_of(499, 499, 499, 499, route=route):
            assert runs.failures(failed_of(each)) == []
    assert [len(runs.failures(failed_of(rows_of(499, key=5, route=route)[0]))) for route in ("/b", "/c", "/a")] == [
        5,
        5,
        0,
    ]


def test_a_run_of_499_joins_the_group_of_its_endpoint_with_the_people_it_hit(store):
    keeper = keeper_of(store, [0.0])
    rows = [row(key, BEN if key % 2 else ANA, T0 + key, 499)._replace(route="/slow") for key in range(1, 8)]
    store.write(rows)
    keeper.offer(rows)
    keeper.keep_due(10.0)
    (one,) = store.error_groups(ALL, WEEK)
    assert (one.title, one.statuses, one.people_count) == ("499 /slow", {499: 7}, 2)
    assert [kind for kind, _ in new_or_back([one], {})] == ["new_error"], "a hanging app is worth an alert"


def test_a_run_whose_last_request_failed_in_the_app_too_is_whole(store):
    keeper = keeper_of(store, [0.0])
    rows = [row(key, at_us=T0 + key, status=499)._replace(route="/slow") for key in range(1, 6)]
    rows[-1] = rows[-1]._replace(error_type="CancelledError")
    store.write(rows)
    keeper.offer(rows)
    keeper.keep_due(10.0)
    assert sorted((one.title, one.requests) for one in store.error_groups(ALL, WEEK)) == [
        ("/slow", 1),
        ("499 /slow", 4),
    ]


def test_a_store_that_is_away_at_the_start_is_asked_again(store, monkeypatch):
    now, asked = [0.0], []

    def markers(scope, window):
        asked.append(now[0])
        if len(asked) == 1:
            raise StoreError("away")
        return []

    monkeypatch.setattr(keeper_module, "INTERVAL_S", 0.01)
    monkeypatch.setattr(store, "markers", markers)
    keeper = keeper_of(store, now)
    keeper.start()
    try:
        for now_s, times in ((0.0, 1), (1.0, 2), (99.0, 2)):
            now[0] = now_s
            deadline = time.monotonic() + 5
            while len(asked) < times and time.monotonic() < deadline:
                time.sleep(0.01)
            time.sleep(0.05)
            assert len(asked) == times
    finally:
        keeper.stop()
    keeper.hold(version_of("1.2"))
    keeper.keep_due(100.0)
    monkeypatch.undo()
    assert [one.text for one in store.markers(ALL, WEEK)] == ["1.2"]


def test_a_refused_request_joins_by_field_and_reason_and_keeps_no_trace(store):
    now = [0.0]
    keeper = keeper_of(store, now)
    refused = [
        row(key, at_us=T0 + key, status=422, trace=f"{key:032x}")._replace(error_type="invalid body.price: missing")
        for key in (1, 2)
    ]
    store.write(refused)
    keeper.offer(refused)
    keeper.keep_due(10.0)
    (one,) = store.error_groups(ALL, WEEK)
    assert (one.type, one.title, one.requests) == ("invalid body.price: missing", "/ana-laptop", 2)
    assert keeper.counters.kept == 0
    assert new_or_back([one], {}) == [], "what a client sends wakes nobody"


def test_after_a_restart_one_without_spans_is_still_as_the_last_like_it(store):
    """An app that is sampled down sends no spans of most failures."""
    rows = [row(key, at_us=T0 + key * S) for key in (1, 2, 3)]
    store.write(rows)
    first = Grouping().failure(Failed(T0 + S, 1, "shop", rows[0].route, 500, ""), spans(stack()))
    store.add_failures([first._replace(fingerprint="a" * 16)])
    keeper = keeper_of(store, [0.0])
    keeper.begin()
    keeper.offer(rows[1:])
    keeper.keep_due(10.0)
    (one,) = store.error_groups(ALL, WEEK)
    assert (one.fingerprint, one.requests, one.frames) == ("a" * 16, 3, "shop/orders.py total")


def test_what_a_crash_left_joins_at_the_next_start_and_versions_are_remembered(store):
    store.write([row(1), row(2, status=200)])
    keeper = keeper_of(store, [0.0])
    keeper.begin()
    assert [one.requests for one in store.error_groups(ALL, WEEK)] == [1]
    keeper.hold(version_of("1.2"))
    keeper.keep_due(1.0)
    again = keeper_of(store, [0.0])
    again.begin()
    again.hold(version_of("1.2"))
    again.keep_due(1.0)
    assert [one.text for one in store.markers(ALL, WEEK)] == ["1.2"]


def test_traces_that_waited_at_a_kill_are_counted_at_the_next_start(store, tmp_path, caplog):
    """Of whatever reason: failures, and the sample of each endpoint."""
    made = {1: (500, "/a"), 2: (200, "/a"), 3: (500, "/a"), 4: (200, "/b"), 5: (200, "/b"), 6: (200, "/b")}
    rows = [
        row(key, at_us=T0 + key * S, status=status, trace=f"{key:032x}")._replace(route=route)
        for key, (status, route) in made.items()
    ]

    def start():
        choice = TraceChoice(Wanted(one_in=1_000))
        return keeper_of(store, [0.0], choice=choice, waiting=Waiting(tmp_path / "c.json.traces"))

    killed = start()
    store.write(rows)
    killed.offer(rows[:2])
    killed.keep_due(10.0)
    killed.offer(rows[2:])
    again = start()
    again.begin()
    assert (killed.choice.counters.wanted, killed.counters.kept, killed.counters.cut_off) == (4, 2, 0)
    assert again.counters.cut_off == 2, "the failure, and the first of /b"
    assert "2 waited for their spans" in caplog.text
    again.offer(rows[:1])
    again.keep_due(10.0)
    assert start().counters.cut_off == 0
    assert stat.S_IMODE((tmp_path / "c.json.traces").stat().st_mode) == 0o600


def test_a_run_of_499_that_a_crash_left_joins_at_the_next_start(store):
    """In the order of the log: a slow answer parts those that began after it and ended before it."""
    alone = rows_of(499, 499, 499, 499, 200, 499, 499, 499, 499, route="/parted")
    store.write([*rows_of(*[499] * 6, key=20), *alone, *rows_of(499, 499, route="/few", key=40)])
    slow = rows_of(*[499] * 5, route="/late", key=50)
    answer = row(49, at_us=T0 + 49 * S, status=200)._replace(route="/late")
    store.write([*slow, answer._replace(access=answer.access._replace(request_time_us=2 * S + 1))])
    keeper = keeper_of(store, [0.0])
    keeper.begin()
    (one,) = store.error_groups(ALL, WEEK)
    assert (one.title, one.requests, one.first_us) == ("499 /slow", 6, T0 + 20 * S)
    keeper.begin()
    assert keeper.counters.failures == 6, "each once"


def test_an_error_that_the_app_told_with_less_than_500_joins_at_the_next_start_too(store):
    told = {422: "invalid body.price: missing", 499: "CancelledError", 404: ""}
    store.write(
        [row(n, at_us=T0 + n, status=status)._replace(error_type=said) for n, (status, said) in enumerate(told.items())]
    )
    keeper_of(store, [0.0]).begin()
    assert sorted(one.type for one in store.error_groups(ALL, WEEK)) == [
        "CancelledError",
        "invalid body.price: missing",
    ]
