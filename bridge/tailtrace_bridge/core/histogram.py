"""Durations in buckets of constant relative width: a percentile from a few hundred counters, never more than 2% off.

Bucket b holds durations d with γ^(b-1) < d ≤ γ^b microseconds, γ = (1+α)/(1−α), α = 0.02; a bucket is answered by the
value that is at most α away from all it holds. The idea is DDSketch's (https://www.vldb.org/pvldb/vol12/p2195-masson.pdf).
Histograms of the same buckets add up, so that hours make days.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

RELATIVE_ERROR = 0.02
_GAMMA = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
_PER_LOG = 1 / math.log(_GAMMA)


def bucket_of(duration_us: int) -> int:
    """Return the bucket of a duration; 0 µs and 1 µs share bucket 0."""
    return math.ceil(math.log(duration_us) * _PER_LOG) if duration_us > 1 else 0


def value_of(bucket: int) -> float:
    """Return the duration, in µs, that stands for a bucket."""
    return 2 * _GAMMA**bucket / (_GAMMA + 1)


def percentiles(counts: Mapping[int, int], ranks: Sequence[float]) -> list[float] | None:
    """Return the durations (µs) at `ranks` (0–1, ascending; nearest rank), or None where nothing was counted."""
    total = sum(counts.values())
    if not total:
        return None
    answers: list[float] = []
    seen = 0
    buckets: Iterable[int] = iter(sorted(counts))
    bucket = 0
    for rank in ranks:
        needed = max(1, math.ceil(rank * total))
        while seen < needed:
            bucket = next(buckets)  # type: ignore[call-overload]
            seen += counts[bucket]
        answers.append(value_of(bucket))
    return answers
