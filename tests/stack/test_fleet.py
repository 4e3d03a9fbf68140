"""A fleet: three nginx, a bridge beside each, one InfluxDB, one API. A bridge and InfluxDB die under traffic, both come back.

who ─► nginx a, b, c ─► app          killed, at once: bridge b and InfluxDB; back: the bridge first, without its store
          │ log          │ spans     then:            each line once, under its own source
          └─► bridge a, b, c ─► InfluxDB ◄─ api       the answers are what nginx's three logs add up to
"""

from collections import Counter
from contextlib import ExitStack
from typing import Any

import pytest

from tailtrace_api.demo.people import PEOPLE

pytestmark = [pytest.mark.nginx, pytest.mark.collector, pytest.mark.influxdb]

RATE = 12.0
FAULT_LINES = 40
"""So many requests more at each nginx, while both are dead."""
WITHIN_S = 60.0
NAMES = {person.address: person.user or person.device or person.address for person in PEOPLE}


def stored(chain: Any) -> Counter[str]:
    return Counter(point["source"] for point in chain.points())


def wait_lines(chain: Any, more: int) -> None:
    """Wait until each nginx has written so many lines more."""
    wanted = [len(front.lines()) + more for front in chain.fronts]
    chain.wait_for(
        f"{more} lines more of each nginx",
        lambda: all(len(front.lines()) >= count for front, count in zip(chain.fronts, wanted, strict=True)),
        WITHIN_S,
    )


def test_a_bridge_and_influxdb_die_and_come_back(make_influxdb: Any, make_chain: Any) -> None:
    chain = make_chain(make_influxdb(), fronts=3, has_api=True, span_wait_ms=1500)
    a, b, c = chain.fronts
    with ExitStack() as stack:
        people = [stack.enter_context(chain.traffic(RATE, front)) for front in chain.fronts]
        chain.wait_for("rows of all three", lambda: len(stored(chain)) == 3, WITHIN_S)

        b.bridge.kill()
        chain.influxdb.kill()
        for front in (a, c):
            chain.wait_for(f"{front.source} says so", lambda front=front: front.ready()[0] == 503, WITHIN_S)
        wait_lines(chain, FAULT_LINES)
        b.bridge.start()
        chain.wait_for("b says so", lambda: b.ready()[0] == 503, WITHIN_S)
        chain.influxdb.start()
        for front in chain.fronts:
            front.wait_ready(WITHIN_S)
        wait_lines(chain, int(RATE))

    tallies = [one.tally for one in people]
    assert sum(tally.failed for tally in tallies) == 0, "the app's users notice nothing"
    sent = sum(tally.sent for tally in tallies)
    lines, _ = chain.settled(sent)
    assert stored(chain) == {front.source: tally.sent for front, tally in zip(chain.fronts, tallies, strict=True)}
    chain.say(f"fleet: {sent} requests at three nginx, each once")
    assert_answers_are_a_recount(chain, lines, sum((tally.cards for tally in tallies), Counter()))


def assert_answers_are_a_recount(chain: Any, lines: list[Any], cards: Counter[str]) -> None:
    """Compare the three answers with what the logs add up to."""
    people = Counter(NAMES[line.address] for line in lines)
    statuses = Counter(line.status for line in lines)
    errors = sum(count for status, count in statuses.items() if status >= 500)

    summary = chain.answer("access-logs", hours=1)["summary"]
    assert (summary["total_requests"], summary["errors_5xx"]) == (len(lines), errors)
    for person in PEOPLE:
        if person.user:
            mine = sum(line.address == person.address for line in lines)
            asked = chain.answer("access-logs", hours=1, user=person.user, device=person.device, limit=1)
            assert asked["summary"]["total_requests"] == mine, person

    usage = chain.answer("dashboard-usage", days=1)
    assert {row["user"]: row["requests"] for row in usage["user_sessions"]} == dict(people)
    assert usage["summary"]["total_sessions"] == len(PEOPLE), "who comes through three nginx is one person"
    assert {row["card"]: row["views"] for row in usage["most_viewed_cards"]} == dict(cards)
    assert sum(row["requests"] for row in usage["peak_hours"]) == len(lines)

    health = chain.answer("system-health-history", days=1)
    overall = health["error_rate"]["overall"]
    assert (overall["requests"], overall["errors_5xx"], overall["client_closed_499"]) == (
        len(lines),
        errors,
        statuses[499],
    )
    assert sum(row["requests"] for row in health["over_time"]) == len(lines)
    assert sum(row["count"] for row in health["api_response_times"]) == len(lines)
