"""The live path under load: every line stored once, every span joined, and how soon a request is visible.

    python bench/live.py --rate 200 --seconds 60

A probe, a device of its own, sends a request each half second and asks the API for that device's count until the
request is in it: from the answer nginx gave to the answer that shows it. The poll's own 10 ms are part of the time.
"""

import argparse
import asyncio
import random
import sys
import tempfile
from pathlib import Path

import httpx

from tailtrace_api.demo.clients import Tally, drive
from tailtrace_api.demo.live_table import percentile
from tailtrace_api.demo.outcome import settle
from tailtrace_api.demo.people import PEOPLE, Person
from tailtrace_api.demo.stack import Stack, run_stack

PROBE = Person("probe@factory.example", "probe", "127.0.0.50", 0, ())
PROBE_EVERY_S = 0.5
POLL_S = 0.01
VISIBLE_S_MAX = 15.0


async def probe(stack: Stack, api: httpx.AsyncClient, stop: asyncio.Event) -> list[float]:
    """Return the seconds from answer to visible, one for each probe."""
    times_s: list[float] = []
    loop = asyncio.get_running_loop()
    transport = httpx.AsyncHTTPTransport(local_address=PROBE.address)
    query: dict[str, str | int] = {"hours": 1, "limit": 1, "user": PROBE.user}
    async with httpx.AsyncClient(transport=transport, base_url=stack.url) as client:
        while not stop.is_set():
            await client.get("/batches/1")
            answered_s = loop.time()
            async with asyncio.timeout(VISIBLE_S_MAX):
                while True:
                    body = (await api.get(f"{stack.api_url}/analytics/access-logs", params=query)).json()
                    if body["summary"]["total_requests"] > len(times_s):
                        break
                    await asyncio.sleep(POLL_S)
            times_s.append(loop.time() - answered_s)
            await asyncio.sleep(PROBE_EVERY_S)
    return times_s


async def run(rate: float, seconds: float, folder: Path) -> int:
    tally, stop = Tally(), asyncio.Event()
    people = (*PEOPLE, PROBE)
    async with (
        run_stack(folder, people=people, port=0, api_port=0, say=print) as stack,
        httpx.AsyncClient(timeout=VISIBLE_S_MAX) as api,
        asyncio.TaskGroup() as group,
    ):
        watch = group.create_task(stack.watch())
        probing = group.create_task(probe(stack, api, stop))
        asyncio.get_running_loop().call_later(seconds, stop.set)
        await drive(PEOPLE, stack.url, rate, random.Random(7), tally, stop)
        times_ms = [1000 * time_s for time_s in await probing]
        sent = tally.sent + len(times_ms)
        outcome = await settle(stack, api, sent=sent, failed=tally.failed)
        watch.cancel()
    print(f"rate            {tally.sent / seconds:.1f} requests/s for {seconds:g} s (asked for {rate:g})")
    print(f"clients         {outcome.sent} sent, {outcome.failed} failed, {tally.held_back} held back")
    print(f"nginx lines     {outcome.log.lines}")
    print(f"stored          {outcome.stored}")
    print(f"the app's part  {outcome.told} of {outcome.log.proxied} proxied lines")
    p95, worst = percentile(times_ms, 95), max(times_ms)
    print(f"visible after   median {percentile(times_ms, 50):.0f} ms, p95 {p95:.0f} ms, worst {worst:.0f} ms")
    return 0 if outcome.complete else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rate", type=float, default=200.0, help="requests a second")
    parser.add_argument("--seconds", type=float, default=60.0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tailtrace-live-") as folder:
        return asyncio.run(run(arguments.rate, arguments.seconds, Path(folder)))


if __name__ == "__main__":
    sys.exit(main())
