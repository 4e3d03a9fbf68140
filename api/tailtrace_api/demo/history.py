"""What the factory's people did in the weeks before, made up: for the demo, pages and pictures that need a past.

Each walks the sessions of `clients.walk`, most in working hours of working days, the kiosk and the runner around the
clock. Times and failures are drawn near those of the demo's app. The same seed and end give the same rows.
"""

import random
from collections.abc import Iterator, Sequence
from itertools import islice

from tailtrace_api.demo.clients import MISTYPED, Step, walk
from tailtrace_api.demo.people import BATCH, CLIMATE, DASHBOARD, FORECAST, OPTIMIZE, WINDOWS, Person
from tailtrace_bridge.core.records import OTHER, Access, Identity, Row, Traffic
from tailtrace_bridge.store.values import DAY_US, HOUR_US

SERVICE = "factory.example"
S_US = 1_000_000
_HOURS = (7, 8, 8, 9, 9, 9, 10, 10, 11, 11, 12, 13, 14, 14, 15, 15, 16, 16, 17, 20)
"""When sessions begin on a working day, UTC."""
_TYPICAL_MS = {DASHBOARD: 24, WINDOWS: 70, CLIMATE: 35, BATCH: 12, OPTIMIZE: 170, FORECAST: 650}
_FAILS = {OPTIMIZE: (0.05, 500, "HTTPException"), FORECAST: (0.06, 500, "FloatingPointError")}
_UNREACHED = 0.002
_WEEKEND_SHARE = 0.15


def history(people: Sequence[Person], end_us: int, days: int, seed: int = 7) -> Iterator[Row]:
    """Return the rows of the `days` before `end_us`, by person."""
    rng = random.Random(seed)  # noqa: S311 - nothing secret
    for number, person in enumerate(people):
        identity = _identity(person, number)
        steps = walk(person, rng)
        for start_us in _sessions(person, end_us, days, rng):
            at_us = start_us
            for step in islice(steps, rng.randint(4, 16)):
                if at_us >= end_us:
                    break
                yield _row(step, identity, at_us, rng)
                at_us += round(rng.expovariate(1 / 70) * S_US)


def _identity(person: Person, number: int) -> Identity:
    kind = "user" if person.user else "tagged" if person.tags else "unknown"
    provider = "" if kind == "unknown" else "localapi"
    node = f"n{number}" if person.device else ""
    return Identity(f"100.64.0.{10 + number}", kind, person.user, person.device, node, ",".join(person.tags), provider)


def _sessions(person: Person, end_us: int, days: int, rng: random.Random) -> Iterator[int]:
    today_us = end_us // DAY_US * DAY_US
    for day in range(-days, 1):
        start_us = today_us + day * DAY_US
        is_weekend = (start_us // DAY_US + 3) % 7 >= 5  # the epoch was a Thursday
        growth = 1 + 0.4 * (day + days) / days
        sessions = round(person.weight * growth * rng.uniform(0.5, 1.5) * (_WEEKEND_SHARE if is_weekend else 1))
        for _ in range(sessions):
            hour = rng.choice(_HOURS) if person.user else rng.randrange(24)
            at_us = start_us + hour * HOUR_US + rng.randrange(HOUR_US)
            if at_us < end_us:
                yield at_us
    if person.user:
        yield end_us - rng.randrange(20, 120) * S_US  # somebody is there now


def _row(step: Step, identity: Identity, at_us: int, rng: random.Random) -> Row:
    key, trace = rng.getrandbits(62), f"{rng.getrandbits(128):032x}"
    status, error, app_us = 200, "", None
    route, traffic = _route(step), Traffic.CARD if step.card else Traffic.APP
    took_us = 200
    if step.card:
        status = 204
    elif step.path == MISTYPED:
        status, took_us = 404, rng.randrange(900, 3000)
        app_us = took_us // 2
    else:
        app_us = round(_TYPICAL_MS[route] * 1000 * rng.lognormvariate(0, 0.45))
        took_us = app_us + round(rng.lognormvariate(7.3, 0.6))
        share, failed, raised = _FAILS.get(route, (0.0, 200, ""))
        if rng.random() < share:
            status, error = failed, raised
        elif rng.random() < _UNREACHED:
            status, app_us, took_us = 502, None, rng.randrange(400, 2000)
    path = "/_tailtrace/view" if step.card else step.path
    access = Access(
        at_us, key, identity.address, step.method, path, status, took_us, app_us, not step.card,
        rng.randrange(300, 9000), SERVICE, trace, trace[:16], "Mozilla/5.0", step.card,
    )  # fmt: skip
    return Row(access, identity, route, traffic, app_us, error, at_us)


def _route(step: Step) -> str:
    if step.card:
        return step.path
    if step.path == MISTYPED:
        return OTHER
    return BATCH if step.path.startswith("/batches/") else step.path
