"""The past that the demo begins with says the same everywhere: what failed stands in groups, too."""

import time
from contextlib import closing

from tailtrace_api.demo.run import write_past
from tailtrace_bridge.store.scope import Scope
from tailtrace_bridge.store.sqlite.store import SqliteStore
from tailtrace_bridge.store.values import DAY_US, By, Filters, Window


def test_what_failed_in_the_past_of_the_demo_is_grouped(tmp_path):
    end_us = time.time_ns() // 1000
    write_past(tmp_path / "t.db", end_us)
    window = Window(end_us - 20 * DAY_US, end_us)
    with closing(SqliteStore(tmp_path / "t.db")) as store:
        usages = store.usage(Scope.everybody(), window, Filters(status="5xx"), By.ENDPOINT)
        groups = store.error_groups(Scope.everybody(), window)
    assert sum(group.requests for group in groups) >= sum(usage.requests for usage in usages) > 0
