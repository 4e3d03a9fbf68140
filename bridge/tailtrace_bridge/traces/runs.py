"""Runs of 499: client after client left an endpoint before it answered, which is what a hanging app looks like. Pure.

| a request of an endpoint | becomes |
|---|---|
| 499, the first `RUN_MIN` - 1 in a row | nothing yet: one person changes their mind |
| 499, the `RUN_MIN`th in a row | a failure, and those before it with it |
| 499 after these | a failure |
| any other answer, or 499 more than `GAP_US` after the last | the run is over |
"""

from collections import OrderedDict

from tailtrace_bridge.store.values import CLIENT_CLOSED
from tailtrace_bridge.traces.groups import Failed

RUN_MIN = 5
GAP_US = 600_000_000
ENDPOINTS_MAX = 1_000
"""With a run; the run that went on the longest time ago is forgotten first."""


class Runs:
    """Takes the requests in the order of the log."""

    def __init__(self) -> None:
        self._runs: OrderedDict[tuple[str, str], list[Failed]] = OrderedDict()
        """The requests of each run, cut once they are failures: the last one says when it went on."""

    def failures(self, one: Failed) -> list[Failed]:
        """Return what a request makes failures: itself, and at a run's `RUN_MIN`th those before it."""
        endpoint = one.service, one.route
        if one.status != CLIENT_CLOSED:
            self._runs.pop(endpoint, None)
            return []
        run = self._runs.pop(endpoint, [])
        if run and one.time_us - run[-1].time_us > GAP_US:
            run = []
        run.append(one)
        self._runs[endpoint] = run[-RUN_MIN:]
        if len(self._runs) > ENDPOINTS_MAX:
            self._runs.popitem(last=False)
        if len(run) < RUN_MIN:
            return []
        return run if len(run) == RUN_MIN else run[-1:]
