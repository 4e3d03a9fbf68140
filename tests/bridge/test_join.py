"""What comes in and what leaves: the table above `join`, row by row, then any order of anything."""

from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailtrace_bridge.core.records import Access, AppSpan
from tailtrace_bridge.logs.scrub import scrub
from tailtrace_bridge.rows.join import SPANS_MAX, Join

S = 1_000_000
WAIT, ORPHAN, SILENCE = 10 * S, 30 * S, 60 * S


def line(name: int, status: int = 200, *, proxied: bool = True, trace: bool = True, span: bool = True) -> Access:
    trace_id, span_id = f"{name:032x}" if trace else "", f"{name:016x}" if span else ""
    return Access(name * S, name, "100.64.0.7", "GET", "/", status, 1, 1, proxied, 1, "", trace_id, span_id, "", "")


def span(name: int, error: str = "", duration_us: int = 7) -> AppSpan:
    return AppSpan(f"{name:032x}", f"{name:016x}", "/items/{id}", duration_us, error, "shop")


def new(**limits: int) -> Join[str]:
    return Join(**{"wait_us": WAIT, "orphan_us": ORPHAN, "span_silence_us": SILENCE, **limits})


def counts(join: Join[str]) -> dict[str, int]:
    return {name: count for name, count in asdict(join.counters).items() if count}


LINE, SPAN = line(1), span(1)
FAILED, OTHER = span(1, "ValueError"), span(1, duration_us=9)

# (seconds, what comes in, what leaves); a line's token is its place in the list. `None` is `expire`.
CASES = {
    "line, then span": ([(0, LINE, []), (1, SPAN, [SPAN])], {"matched": 1}),
    "span, then line": ([(0, SPAN, []), (1, LINE, [SPAN])], {"matched": 1}),
    "another trace": ([(0, LINE, []), (1, span(2), []), (10, None, [None])], {"unmatched": 1}),
    "not proxied": ([(0, line(1, proxied=False), [None]), (1, SPAN, [])], {"passed": 1}),
    "no trace id": ([(0, line(1, trace=False), [None])], {"passed": 1}),
    "no span id": ([(0, line(1, span=False), [None])], {"passed": 1}),
    "a line's time is up": ([(0, LINE, []), (9.999, None, []), (10, None, [None])], {"unmatched": 1}),
    "late": ([(0, LINE, []), (10, None, [None]), (11, SPAN, [])], {"unmatched": 1, "late": 1}),
    "orphan": ([(0, SPAN, []), (30, None, []), (31, LINE, []), (41, None, [None])], {"orphaned": 1, "unmatched": 1}),
    "orphan, just in time": ([(0, SPAN, []), (29.999, None, []), (30, LINE, [SPAN])], {"matched": 1}),
    "span without a parent": ([(0, AppSpan(LINE.trace_id, "", "/", 1, "", ""), [])], {"orphaned": 1}),
    "silence from the start": ([(0, LINE, []), (10, None, [None]), (60, line(2), [None])], {"unmatched": 2}),
    "silence, then a span": (
        [(0, LINE, []), (10, None, [None]), (60, line(2), [None]), (61, span(2), []), (62, line(3), []), (63, span(3), [span(3)])],
        {"unmatched": 2, "late": 1, "matched": 1},
    ),
    "in silence a span that waits still joins": (
        [(0, SPAN, []), (0, line(2), []), (10, None, [None]), (60, LINE, [SPAN])],
        {"unmatched": 1, "matched": 1},
    ),
    "span again while it waits": ([(0, SPAN, []), (1, SPAN, []), (2, LINE, [SPAN])], {"matched": 1, "duplicates": 1}),
    "span again when it has left": ([(0, SPAN, []), (1, LINE, [SPAN]), (2, SPAN, [])], {"matched": 1, "duplicates": 1}),
    "a line twice, then its span": ([(0, LINE, []), (1, LINE, []), (2, SPAN, [SPAN, SPAN])], {"matched": 2}),
    "a line, its span, the line": ([(0, LINE, []), (1, SPAN, [SPAN]), (2, LINE, [SPAN])], {"matched": 2}),
    "a span, then its line twice": ([(0, SPAN, []), (1, LINE, [SPAN]), (2, LINE, [SPAN])], {"matched": 2}),
    "a line replayed after it left alone": (
        [(0, LINE, []), (10, None, [None]), (11, LINE, []), (12, SPAN, [SPAN])],
        {"unmatched": 1, "matched": 1},
    ),
    "second upstream, the failed one first": (
        [(0, LINE, []), (1, FAILED, []), (2, SPAN, [SPAN])],
        {"matched": 1, "spare": 1},
    ),
    "second upstream, the failed one last": (
        [(0, LINE, []), (1, SPAN, [SPAN]), (2, FAILED, [])],
        {"matched": 1, "spare": 1},
    ),
    "second upstream, both before the line": (
        [(0, FAILED, []), (1, SPAN, []), (2, LINE, [SPAN])],
        {"matched": 1, "spare": 1},
    ),
    "second upstream, around the line": ([(0, FAILED, []), (1, LINE, []), (2, SPAN, [SPAN])], {"matched": 1, "spare": 1}),
    "second upstream, and the client's own fault": (
        [(0, line(1, 404), []), (1, FAILED, []), (2, SPAN, [SPAN])],
        {"matched": 1, "spare": 1},
    ),
    "both failed differently": (
        [(0, line(1, 500), []), (1, FAILED, [FAILED]), (2, span(1, "KeyError"), [])],
        {"matched": 1, "spare": 1},
    ),
    "nginx gave up, the app did not": ([(0, line(1, 504), []), (1, SPAN, []), (10, None, [SPAN])], {"matched": 1}),
    "failed after the answer": ([(0, FAILED, []), (1, LINE, []), (2, FAILED, []), (11, None, [FAILED])], {"matched": 1, "duplicates": 1}),
    "the client left, the app failed": ([(0, line(1, 499), []), (1, FAILED, [FAILED])], {"matched": 1}),
    "same outcome, first to come": ([(0, SPAN, []), (1, OTHER, []), (2, LINE, [SPAN])], {"matched": 1, "spare": 1}),
}  # fmt: skip


EXCHANGE = "\t127.0.0.1:8000\t0.004\t200\t0.000\t{header}\t{length}\t9\tHTTP/1.1\thttp\t80\t9\tshop"


def told(
    name: int, app: str = "1;t=900;r=/items/{id}", *, length: int = 9, sampled: bool = True, status: int = 200
) -> Access:
    """A line that says what the app did; with a body of another length than 9 its answer broke off."""
    exchange = EXCHANGE.format(header="0.003", length=length)
    return line(name, status)._replace(app=app, exchange=exchange, sampled=sampled, request_time_us=5000, path="/a/7")


def of(
    path: str, *, method: str = "GET", status: int = 200, start_us: int = 0, route: str = "/items/{id}", error: str = ""
) -> AppSpan:
    made = span(1, error)
    return AppSpan(
        made.trace_id, made.parent_span_id, route, 3000 + len(path), error, "shop", method, path, status, start_us
    )


def asked(path: str, *, method: str = "GET", status: int = 200, upstream_us: int = 4000) -> Access:
    """A request of 10 ms, the last `upstream_us` of them at the app."""
    return line(1, status)._replace(method=method, path=path, request_time_us=10_000, upstream_time_us=upstream_us)


TOLD, CUT = told(1), told(1, length=5)
AUTH, MAIN = of("/auth", start_us=S + 2000, route="/auth"), of("/items/7", start_us=S + 6000)
STRIPPED, REWRITTEN = of("/7", start_us=S + 6000), of("/new", start_us=S + 6000)

CASES |= {
    "told": ([(0, TOLD, [None]), (1, SPAN, [])], {"told": 1, "needless": 1}),
    "told, its span came before": ([(0, SPAN, []), (1, TOLD, [SPAN])], {"matched": 1}),
    "told, another's span came before": ([(0, AUTH, []), (1, TOLD, [None])], {"told": 1, "spare": 1}),
    "told twice": ([(0, TOLD, [None]), (1, TOLD, [None])], {"told": 2}),
    "told, but it broke off": ([(0, CUT, []), (1, SPAN, [SPAN])], {"matched": 1}),
    "told, but it broke off, and no span": ([(0, CUT, []), (10, None, [None])], {"unmatched": 1}),
    "told, broke off, not sampled": ([(0, told(1, length=5, sampled=False), [None])], {"told": 1}),
    "told nonsense": ([(0, told(1, "nonsense"), []), (1, SPAN, [SPAN])], {"matched": 1}),
    "told no time": ([(0, told(1, "1;r=/a"), []), (10, None, [None])], {"unmatched": 1}),
    "not sampled": ([(0, line(1)._replace(sampled=False), [None])], {"unsampled": 1}),
    "not sampled, yet a span is there": ([(0, SPAN, []), (1, line(1)._replace(sampled=False), [SPAN])], {"matched": 1}),
    "the header's route tells whose the span is": (
        [(0, CUT, []), (1, of("/a/7", route="/auth"), []), (2, of("/x", start_us=S + 1000), []), (10, None, [of("/x", start_us=S + 1000)])],
        {"matched": 1, "spare": 1},
    ),
    "permission first": ([(0, asked("/items/7"), []), (1, AUTH, []), (2, MAIN, [MAIN])], {"matched": 1, "spare": 1}),
    "permission last": ([(0, asked("/items/7"), []), (1, MAIN, [MAIN]), (2, AUTH, [])], {"matched": 1, "spare": 1}),
    "permission, both before the line": (
        [(0, AUTH, []), (1, MAIN, []), (2, asked("/items/7"), [MAIN])],
        {"matched": 1, "spare": 1},
    ),
    "permission alone: the app behind it is not traced": (
        [(0, asked("/items/7"), []), (1, AUTH, []), (10, None, [None])],
        {"unmatched": 1, "spare": 1},
    ),
    "permission by GET for a POST that is rewritten": (
        [(0, asked("/old", method="POST"), []), (1, of("/new", method="POST"), []), (2, AUTH, []), (10, None, [of("/new", method="POST")])],
        {"matched": 1, "spare": 1},
    ),
    "permission, and a rewrite": (
        [(0, asked("/old"), []), (1, AUTH, []), (2, REWRITTEN, []), (10, None, [REWRITTEN])],
        {"matched": 1, "spare": 1},
    ),
    "a rewrite, the copy last": (
        [(0, asked("/old"), []), (1, REWRITTEN, []), (2, of("/copy", start_us=S + 5500), []), (10, None, [REWRITTEN])],
        {"matched": 1, "spare": 1},
    ),
    "a prefix that is stripped": ([(0, asked("/api/7"), []), (1, STRIPPED, [STRIPPED])], {"matched": 1}),
    "a prefix that is added": ([(0, asked("/7"), []), (1, of("/api/7"), [of("/api/7")])], {"matched": 1}),
    "no prefix but a part of a word": ([(0, asked("/api/17"), []), (1, of("7", method="PUT"), []), (10, None, [None])], {"unmatched": 1, "spare": 1}),
    "escapes undone": ([(0, asked("/caf%C3%A9//x%20y"), []), (1, of("/café/x y"), [of("/café/x y")])], {"matched": 1}),
    "an address in the path": (
        [(0, asked("/users/{email}/x".replace("{email}", scrub("ana@example.com"))), []), (1, of("/users/ana@example.com/x"), [of("/users/ana@example.com/x")])],
        {"matched": 1},
    ),
    "a long path, cut": ([(0, asked("/" + "a" * 400), []), (1, of("/" + "a" * 255), [of("/" + "a" * 255)])], {"matched": 1}),
    "X-Accel-Redirect to another app": (
        [(0, asked("/items/7"), []), (1, of("/internal/7", start_us=S + 8000), []), (2, MAIN, [MAIN])],
        {"matched": 1, "spare": 1},
    ),
    "two servers: the status tells": (
        [(0, asked("/old", status=404), []), (1, of("/one", status=404), []), (2, of("/two", status=429), []), (10, None, [of("/one")])],
        {"matched": 1, "spare": 1},
    ),
    "five spans before the line": (
        [*((0, of(f"/auth{n}", start_us=n + 1), []) for n in range(4)), (1, MAIN, []), (2, asked("/items/7"), [MAIN])],
        {"matched": 1, "spare": 4},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("events", "counted"), CASES.values(), ids=CASES.keys())
def test_the_table(events, counted):
    join = new()
    for place, (seconds, event, spans) in enumerate(events):
        now_us = int(seconds * S)
        if event is None:
            left = join.expire(now_us)
        elif isinstance(event, Access):
            left = join.add_access(event, str(place), now_us)
        else:
            left = join.add_span(event, now_us)
        assert [joined.span for joined in left] == spans, (place, event)
        assert all(events[int(joined.token)][1] is joined.access for joined in left)
    assert counts(join) == counted


def test_a_line_too_many_evicts_the_oldest():
    join = new(held_max=2)
    assert join.add_access(line(1), "a", 0) == []
    assert join.add_access(line(2), "b", 0) == []
    assert join.add_access(line(3), "c", 0) == [(line(1), None, "a")]
    assert (len(join), counts(join)) == (2, {"unmatched": 1, "evicted": 1})
    assert join.add_span(span(1), 1) == []  # too late now
    assert join.add_span(span(2), 1) == [(line(2), span(2), "b")]
    assert counts(join) == {"unmatched": 1, "evicted": 1, "late": 1, "matched": 1}


def test_a_span_too_many_drops_the_oldest():
    join = new(orphans_max=2)
    for name in (1, 2, 3):
        join.add_span(span(name), 0)
    assert (join.waiting_spans, counts(join)) == (2, {"orphaned": 1})
    assert join.add_access(line(2), "b", 1) == [(line(2), span(2), "b")]
    assert join.add_access(line(1), "a", 1) == []


def test_what_left_is_remembered_within_a_bound():
    join = new(recent_max=1)
    for name in (1, 2):
        join.add_access(line(name), "", 0)
    join.expire(WAIT)
    join.add_span(span(2), WAIT)
    join.add_span(span(1), WAIT)  # forgotten: it waits for its line like any other
    assert (join.waiting_spans, counts(join)) == (1, {"unmatched": 2, "late": 1})


def test_a_line_that_leaves_again_is_remembered_anew():
    join = new(recent_max=2, span_silence_us=0)  # silent at once: lines do not wait
    for name in (1, 2, 1, 3):
        assert join.add_access(line(name), "", 0) == [(line(name), None, "")]
    join.add_span(span(1), 0)
    assert counts(join) == {"unmatched": 4, "late": 1}


def test_flush_gives_all_that_waits_oldest_first():
    join = new()
    join.add_access(line(1), "a", 0)
    join.add_span(span(1, "ValueError"), 0)
    join.add_access(line(2), "b", 1)
    join.add_span(span(3), 1)
    assert join.flush() == [(line(1), span(1, "ValueError"), "a"), (line(2), None, "b")]
    assert (len(join), join.waiting_spans) == (0, 0)
    assert counts(join) == {"matched": 1, "unmatched": 1, "orphaned": 1}
    assert join.flush() == []


def run(join: Join[str], events: list[Access | AppSpan], now_us: int = 0, bucket_us: int = 0) -> list[tuple]:
    left = []
    for place, event in enumerate(events):
        now_us += bucket_us
        if isinstance(event, Access):
            left += join.add_access(event, str(place), now_us)
        else:
            left += join.add_span(event, now_us)
    return left + join.flush()


@st.composite
def requests(draw) -> list[Access | AppSpan]:
    """Requests of all kinds: a line each (some read twice), with no span, one (some sent twice), or a failed and a good one."""
    events: list[Access | AppSpan] = []
    for name in range(1, draw(st.integers(1, 12)) + 1):
        status = draw(st.sampled_from([200, 404, 500, 504]))
        events += [line(name, status, proxied=draw(st.integers(0, 5)) > 0)] * draw(st.sampled_from([1, 1, 2]))
        spans = [span(name), span(name, "ValueError")]
        events += draw(st.sampled_from([[], spans[:1], spans[1:], spans, spans[:1] * 2]))
    return events


@given(requests().flatmap(lambda events: st.tuples(st.just(events), st.permutations(events))))
def test_any_order_within_the_wait_gives_the_same(both):
    events, shuffled = both
    first, second = new(), new()

    def outcome(left):
        return sorted((access.key, access.proxied, repr(joined_span)) for access, joined_span, _ in left)

    assert outcome(run(first, events)) == outcome(run(second, shuffled))


@given(
    events=requests().flatmap(st.permutations),
    limits=st.fixed_dictionaries({name: st.integers(1, 4) for name in ("held_max", "orphans_max", "recent_max")}),
    bucket_us=st.integers(0, 40 * S),
    expire_every=st.integers(1, 5),
)
def test_nothing_is_lost_or_doubled_whatever_the_limits_and_times(events, limits, bucket_us, expire_every):
    join = new(**limits)
    left, tokens, now_us = [], [], 0
    for place, event in enumerate(events):
        now_us += bucket_us
        if isinstance(event, Access):
            tokens.append(str(place))
            left += join.add_access(event, str(place), now_us)
        else:
            left += join.add_span(event, now_us)
        if place % expire_every == 0:
            left += join.expire(now_us)
        assert len(join) <= limits["held_max"]
        assert join.waiting_spans <= limits["orphans_max"]
    left += join.flush()
    assert sorted(joined.token for joined in left) == sorted(tokens)
    for access, joined_span, token in left:
        assert events[int(token)] is access
        assert joined_span is None or (joined_span.trace_id, joined_span.parent_span_id) == (
            access.trace_id,
            access.span_id,
        )
    c = join.counters
    assert c.passed + c.matched + c.unmatched == len(tokens)
    assert c.matched == sum(joined.span is not None for joined in left)
    dropped = c.orphaned + c.late + c.duplicates + c.spare
    used = {joined.span for joined in left if joined.span}  # by value: a span sent twice may be used, and used again
    assert len(used) + dropped <= len(events) - len(tokens) <= c.matched + dropped


def test_steady_traffic_through_full_tables():
    join = new(recent_max=5000)
    left = []
    for name in range(1, 20_001):
        left += join.add_access(line(name), "", 0)
        if name > 4000:
            left += join.add_span(span(name - 4000), 0)
    assert [joined.access.key for joined in left] == list(range(1, 16_001))
    assert counts(join) == {"matched": 16_000}


@pytest.mark.parametrize(
    ("age_us", "leaves_at_us", "lost"),
    [(0, WAIT, 0), (4 * S, 6 * S, 0), (9 * S, 1 * S, 0), (10 * S, 1 * S, 1), (3600 * S, 1 * S, 1), (-5 * S, WAIT, 0)],
)
def test_a_line_waits_from_the_end_of_its_request_on(age_us, leaves_at_us, lost):
    """A bridge that is killed every few seconds reads old lines each time: these must not wait anew."""
    join = new()
    assert join.add_access(LINE, "line", 0, age_us) == []
    assert join.expire(leaves_at_us - 1) == []
    assert [(one.span, one.token) for one in join.expire(leaves_at_us)] == [(None, "line")]
    assert (join.counters.unmatched, join.counters.span_lost) == (1, lost)


def test_an_old_line_still_takes_a_span_that_is_sent_again():
    join = new()
    assert join.add_access(LINE, "line", 0, 3600 * S) == []
    assert [one.span for one in join.add_span(SPAN, S // 2)] == [SPAN]
    assert join.counters.span_lost == 0


def test_a_full_memory_of_what_left_forgets_the_oldest():
    """Of three lines with room for two, the first is forgotten: its span is an orphan, that of the others is late."""
    join = new(recent_max=2)
    for name in (1, 2, 3):
        join.add_access(line(name), str(name), 0)
    assert [one.token for one in join.expire(WAIT)] == ["1", "2", "3"]
    for name in (2, 3):
        join.add_span(span(name), WAIT)
    assert (join.counters.late, join.waiting_spans) == (2, 0)
    join.add_span(span(1), WAIT)
    assert (join.counters.late, join.waiting_spans) == (2, 1)


def test_a_full_table_lets_the_oldest_line_go():
    join = new(held_max=2)
    join.add_access(line(1), "1", 0)
    join.add_access(line(2), "2", 1)
    assert [one.token for one in join.add_access(line(3), "3", 2)] == ["1"]
    assert [one.token for one in join.add_span(span(2), 3)] == ["2"]


def test_too_many_waiting_spans_drop_the_oldest():
    join = new(orphans_max=2)
    for name in (1, 2, 3):
        join.add_span(span(name), name)
    assert [one.span for one in join.add_access(line(2), "2", 4)] == [span(2)]
    assert [one.span for one in join.add_access(line(3), "3", 4)] == [span(3)]
    assert join.add_access(line(1), "1", 4) == []


def of(path: str, duration_us: int = 7, start_us: int = 0) -> AppSpan:
    return replace(span(1, duration_us=duration_us), path=path, method="GET", start_us=start_us)


def test_of_two_spans_that_fit_alike_the_first_stays():
    join = new()
    join.add_access(line(1), "1", 0)
    assert join.add_span(of("/one"), 1) == join.add_span(of("/two"), 2) == []
    assert [one.span.path for one in join.expire(WAIT)] == ["/one"]
    assert counts(join) == {"matched": 1, "spare": 1}


@pytest.mark.parametrize(("others", "stays"), [(SPANS_MAX - 1, True), (SPANS_MAX, False)])
def test_of_one_key_so_many_spans_wait_and_one_more_drops_the_oldest(others, stays):
    join = new()
    join.add_span(of("/", start_us=1), 0)
    for number in range(1, others + 1):
        join.add_span(of(f"/{number}", start_us=1 + number), number)
    left = join.add_access(line(1), "1", 9) or join.expire(9 + WAIT)
    assert (left[0].span.path == "/") == stays
