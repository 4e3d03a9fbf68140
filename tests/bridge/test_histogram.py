"""Percentiles: never more than 2% off, and honest about nothing."""

import pytest

from tailtrace_bridge.core.histogram import bucket_of, percentiles, value_of


@pytest.mark.parametrize(
    ("duration_us", "bucket"), [(0, 0), (1, 0), (2, 18), (1_000, 173), (60_000_000, 448), (10**16, 921)]
)
def test_bucket(duration_us, bucket):
    assert bucket_of(duration_us) == bucket


def test_a_bucket_never_falls_as_the_duration_grows():
    buckets = [bucket_of(duration_us) for duration_us in range(5_000)]
    assert buckets == sorted(buckets)


@pytest.mark.parametrize("duration_us", [2, 3, 7, 999, 1_000, 31_000, 59_999_999, 3_600_000_000])
def test_a_value_is_at_most_two_percent_off(duration_us):
    assert value_of(bucket_of(duration_us)) == pytest.approx(duration_us, rel=0.0200001)


def test_no_durations_have_no_percentiles():
    assert percentiles({}, (0.5, 0.99)) is None


def test_one_duration_is_every_percentile():
    assert percentiles({bucket_of(250_000): 1}, (0.0, 0.5, 0.99, 1.0)) == [value_of(bucket_of(250_000))] * 4


@pytest.mark.parametrize(
    ("rank", "duration_us"), [(0.5, 100), (0.51, 200_000), (0.99, 200_000), (0.991, 9_000_000), (1.0, 9_000_000)]
)
def test_nearest_rank(rank, duration_us):
    counts = {bucket_of(100): 50, bucket_of(200_000): 49, bucket_of(9_000_000): 1}
    assert percentiles(counts, (rank,)) == [value_of(bucket_of(duration_us))]


def test_percentiles_of_many_durations_are_near_the_true_ones():
    durations = [int(1_000 * 1.003**number) for number in range(2_000)]
    counts: dict[int, int] = {}
    for duration in durations:
        counts[bucket_of(duration)] = counts.get(bucket_of(duration), 0) + 1
    answers = percentiles(counts, (0.5, 0.95, 0.99))
    assert answers == [pytest.approx(durations[place], rel=0.0201) for place in (999, 1899, 1979)]
