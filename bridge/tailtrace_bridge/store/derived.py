"""What the small verbs of a store ask for, made of the large ones, for a store that keeps no sums for them. Pure."""

from collections.abc import Iterable

from tailtrace_bridge.records import Identity, Traffic
from tailtrace_bridge.store.packed import join_runs
from tailtrace_bridge.store.protocol import DAY_US, QUARTER_US, Activity, Quarter, Run, Uptime, Usage, Visits
from tailtrace_bridge.store.sums import USAGE_TRAFFIC


def visits_of(usages: Iterable[Usage]) -> list[Visits]:
    """Give the usage by identity, endpoint and traffic."""
    totals: dict[tuple[Identity, str, Traffic], int] = {}
    for one in usages:
        if one.traffic in USAGE_TRAFFIC:
            key = (one.identity, one.endpoint, one.traffic)
            totals[key] = totals.get(key, 0) + one.requests
    return [Visits(identity, endpoint, traffic, n) for (identity, endpoint, traffic), n in totals.items()]


def activity_of(pieces: Iterable[tuple[Identity, Run]]) -> list[Activity]:
    """Join pieces of usage, that come in any order, into the runs of each identity."""
    runs: dict[Identity, list[Run]] = {}
    for identity, piece in pieces:
        runs.setdefault(identity, []).append(piece)
    return [Activity(identity, join_runs(theirs)) for identity, theirs in runs.items()]


def quarters_of(pieces: Iterable[tuple[Identity, Run]]) -> list[Quarter]:
    """Give the usage of quarters of an hour, from pieces none of which reaches from one into the next."""
    totals: dict[int, int] = {}
    for _, (first_us, _, requests) in pieces:
        start_us = first_us // QUARTER_US * QUARTER_US
        totals[start_us] = totals.get(start_us, 0) + requests
    return [Quarter(start_us, totals[start_us]) for start_us in sorted(totals)]


def uptime_of(minutes: Iterable[tuple[int, bool]]) -> list[Uptime]:
    """Count, by UTC day, minutes with traffic: each as its start (µs), and whether it had an answer."""
    totals: dict[int, list[int]] = {}
    for minute_us, is_answered in minutes:
        total = totals.setdefault(minute_us // DAY_US * DAY_US, [0, 0])
        total[0] += 1
        total[1] += is_answered
    return [Uptime(day_us, *totals[day_us]) for day_us in sorted(totals)]
