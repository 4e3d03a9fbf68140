"""What SQL asks of Python: how packed cells are made and merged. Each connection to a store knows it."""

import sqlite3

from tailtrace_bridge.store.packed import Durations, Numbers, Times, merged_counts, merged_runs


def add_functions(connection: sqlite3.Connection) -> None:
    """Let a connection's SQL call `merged_counts`, `merged_runs`, `packed_numbers`, `…_durations` and `…_times`."""
    for merge in (merged_counts, merged_runs):
        connection.create_function(merge.__name__, 2, merge, deterministic=True)
    for name, aggregate in (("numbers", Numbers), ("durations", Durations), ("times", Times)):
        # typeshed believes that all aggregates give integers
        connection.create_aggregate(f"packed_{name}", 1, aggregate)  # type: ignore[arg-type]
