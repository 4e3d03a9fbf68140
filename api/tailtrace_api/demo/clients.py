"""What the factory's people do all day, at a set rate, counted as they see it.

A device's requests are an endless walk of sessions:

| step of a session | request |
|---|---|
| opens the dashboard | GET /dashboard/complete |
| looks at cards | GET /_tailtrace/view?card=NAME, one to all of the person's cards (a service has none) |
| works | one to five of the person's features, the favourite most often |
| now and then | a mistyped address, or a batch that does not exist: 404 |
| after a session, mostly | a page of a neighbour, an app behind the same nginx |
| now and then, on a slow page | gives up after `PATIENCE_S`: nginx notes 499 |

The walk is pure: a `random.Random` in, steps out. The driver sends each step at its time, whether or not those before
it were answered, as people do not wait for each other; beyond `IN_FLIGHT_MAX` a step is left out and counted.

As a program they go on until SIGTERM or SIGINT, and print the numbers of their tally as a line of JSON.
"""

import argparse
import asyncio
import json
import random
import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import httpx

from tailtrace_api.demo.app import BATCHES
from tailtrace_api.demo.neighbours import NEIGHBOURS, PAGES
from tailtrace_api.demo.people import BATCH, DASHBOARD, FORECAST, OPTIMIZE, PEOPLE, Person

IN_FLIGHT_MAX = 200
"""Each takes a connection to nginx and one from nginx to the app: together they stay below its 512."""
KEPT_ALIVE_MAX = 8
"""Idle connections that a device keeps."""
ANSWER_S_MAX = 10.0
"""No page takes that long: beyond it, something is broken."""
PATIENCE_S = 0.25
"""Less than the forecast ever takes."""
MISTYPED_SHARE = 0.02
NO_BATCH_SHARE = 0.1
IMPATIENT_SHARE = 0.1
NEIGHBOUR_SHARE = 0.7
FEATURES_MAX = 5
MISTYPED = "/dashbord"
SEED = 7
NUMBERS = ("sent", "held_back", "given_up", "failed")
"""Of a tally, which the program prints."""


@dataclass(frozen=True, slots=True)
class Step:
    """One request that a person makes."""

    method: str
    path: str
    card: str = ""
    gives_up: bool = False
    host: str = ""
    """Of a neighbour; empty: the factory's."""


@dataclass(slots=True)
class Tally:
    """What the clients sent and what came back."""

    sent: int = 0
    held_back: int = 0
    """Steps left out because `IN_FLIGHT_MAX` were unanswered."""
    given_up: int = 0
    """The client went away first, on purpose: a 499 each, or a line of another status if the answer won the race."""
    failed: int = 0
    """No answer, and not on purpose."""
    statuses: Counter[int] = field(default_factory=Counter)
    cards: Counter[str] = field(default_factory=Counter)
    addresses: Counter[str] = field(default_factory=Counter)
    """Requests by the address they came from."""


def walk(person: Person, rng: random.Random) -> Iterator[Step]:
    """Return the person's steps, without end."""
    favour = range(len(person.features), 0, -1)
    while True:
        yield Step("GET", DASHBOARD)
        for card in person.cards[: rng.randint(1, max(1, len(person.cards)))]:
            yield Step("GET", f"/_tailtrace/view?card={card}", card=card)
        for feature in rng.choices(person.features, weights=list(favour), k=rng.randint(1, FEATURES_MAX)):
            yield _visit(feature, rng)
        if rng.random() < MISTYPED_SHARE * FEATURES_MAX:
            yield Step("GET", MISTYPED)


def walk_about(person: Person, rng: random.Random) -> Iterator[Step]:
    """Return the same with a neighbour's page at times, before the next dashboard."""
    for step in walk(person, rng):
        if step.path == DASHBOARD and rng.random() < NEIGHBOUR_SHARE:
            yield Step("GET", rng.choice(PAGES), host=rng.choice(NEIGHBOURS))
        yield step


def _visit(feature: str, rng: random.Random) -> Step:
    if feature == OPTIMIZE:
        return Step("POST", feature)
    if feature == BATCH:
        batch_id = BATCHES.stop if rng.random() < NO_BATCH_SHARE else rng.choice(BATCHES)
        return Step("GET", BATCH.format(batch_id=batch_id))
    return Step("GET", feature, gives_up=feature == FORECAST and rng.random() < IMPATIENT_SHARE)


async def drive(
    people: Sequence[Person], url: str, rate: float, rng: random.Random, tally: Tally, stop: asyncio.Event
) -> None:
    """Send `rate` requests a second to `url` until `stop`, then wait for the last answers. Counts into `tally`."""
    walks = [walk_about(person, rng) for person in people]
    weights = [person.weight for person in people]
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(_client(person, url)) for person in people]
        group = await stack.enter_async_context(asyncio.TaskGroup())
        due_s, in_flight = loop.time(), 0

        async def send(index: int, step: Step) -> None:
            nonlocal in_flight
            in_flight += 1
            try:
                await _send(clients[index], step, tally)
            finally:
                in_flight -= 1

        while not stop.is_set():
            (index,) = rng.choices(range(len(people)), weights=weights)
            if in_flight < IN_FLIGHT_MAX:
                tally.addresses[people[index].address] += 1
                group.create_task(send(index, next(walks[index])))
            else:
                tally.held_back += 1
            due_s += 1 / rate
            await _sleep_until(due_s, stop)


async def _sleep_until(due_s: float, stop: asyncio.Event) -> None:
    """Wait for the loop's clock to reach `due_s`, or for `stop`."""
    try:
        async with asyncio.timeout_at(due_s):
            await stop.wait()
    except TimeoutError:
        return


def _client(person: Person, url: str) -> httpx.AsyncClient:
    agent = f"factory-client/1.0 ({person.device or 'visitor'})"
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=KEPT_ALIVE_MAX)
    transport = httpx.AsyncHTTPTransport(local_address=person.address, limits=limits)
    return httpx.AsyncClient(transport=transport, base_url=url, headers={"user-agent": agent}, timeout=ANSWER_S_MAX)


async def _send(client: httpx.AsyncClient, step: Step, tally: Tally) -> None:
    timeout = httpx.Timeout(ANSWER_S_MAX, read=PATIENCE_S) if step.gives_up else httpx.USE_CLIENT_DEFAULT
    headers = {"host": step.host} if step.host else None
    tally.sent += 1
    if step.card:
        tally.cards[step.card] += 1
    try:
        response = await client.request(step.method, step.path, timeout=timeout, headers=headers)
    except httpx.ReadTimeout:
        tally.given_up += step.gives_up
        tally.failed += not step.gives_up
    except httpx.HTTPError:
        tally.failed += 1
    else:
        tally.statuses[response.status_code] += 1


async def _drive_until_signal(url: str, rate: float) -> Tally:
    tally, stop = Tally(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await drive(PEOPLE, url, rate, random.Random(SEED), tally, stop)  # noqa: S311 - nothing secret
    return tally


def main(argv: Sequence[str] | None = None) -> None:
    """Be all of the people."""
    parser = argparse.ArgumentParser(description="The demo's people")
    parser.add_argument("--url", required=True, help="where nginx is")
    parser.add_argument("--rate", type=float, required=True, help="requests a second")
    arguments = parser.parse_args(argv)
    tally = asyncio.run(_drive_until_signal(arguments.url, arguments.rate))
    print(json.dumps({name: getattr(tally, name) for name in NUMBERS}), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
