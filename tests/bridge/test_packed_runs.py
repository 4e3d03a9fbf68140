"""Runs that were packed by bucket of time become one list: whatever the order of the buckets, the same as of all runs."""

from hypothesis import given
from hypothesis import strategies as st

from tailtrace_bridge.store.packed import join_runs, joined_runs, pack_runs

MINUTE_US = 60_000_000
times = st.lists(st.integers(0, 300).map(lambda minute: minute * MINUTE_US), min_size=1, max_size=20)


def test_a_pause_of_half_an_hour_joins_and_a_longer_one_does_not():
    night = pack_runs([(0, 5, 2)])
    assert joined_runs([1_800_000_006, night]) == [(0, 5, 2), (1_800_000_006, 1_800_000_006, 1)]
    assert joined_runs([1_800_000_005, night]) == [(0, 1_800_000_005, 3)]
    assert joined_runs([]) == []


@given(st.lists(times, max_size=6))
def test_parts_in_any_order_that_overlap_or_do_not(parts):
    runs = [join_runs((at_us, at_us, 1) for at_us in part) for part in parts]
    packed = [part[0] if len(part) == 1 else pack_runs(theirs) for part, theirs in zip(parts, runs, strict=True)]
    assert joined_runs(packed) == join_runs(run for theirs in runs for run in theirs)
