"""`tailtrace serve` with a store full of anonymous visitors: what each answer takes, and the peak of its memory.

    python bench/anonymous.py --addresses 300000

Each address has a user agent of its own, and asks for one to four things; half of them come over thirty days, half
within the last hours, as in an attack. Forty people work in between. The store folds none of them (`--distinct-max`
sets another limit than their number). Memory is the peak of the resident set while an answer is made (Linux's VmHWM,
reset before each), so it holds what the process needs anyway.
"""

import argparse
import ipaddress
import os
import random
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
from memory import serving
from store import DAY_US, ENDPOINTS, IDENTITIES, write

from tailtrace_bridge.core.records import Access, Identity, Row, Traffic
from tailtrace_bridge.store.sqlite.store import SqliteStore

DAYS = 30
ATTACK_US = 6 * 3_600_000_000
PEOPLE_SHARE = 0.1
ANSWER_S_MAX, PEAK_MIB_MAX, BYTES_MAX = 1.0, 128, 400
ASKED_TIMES = 3
MONTH = f"days={DAYS}"
ANSWERS = (
    f"/analytics/dashboard-usage?{MONTH}",
    "/analytics/access-logs?hours=168",
    f"/analytics/system-health-history?{MONTH}",
    "/analytics/active-users",
    f"/analytics/usage-stats?{MONTH}",
    "/analytics/system-performance",
    "/analytics/compare",
    f"/analytics/widget?{MONTH}",
    f"/analytics/unused-endpoints?{MONTH}",
    *(f"/analytics/panels/{name}?period=30d" for name in ("overview", "people", "endpoints", "health", "requests")),
    "/analytics/panels/people?period=30d&status=2xx",
    "/analytics/panels/overview?period=30d&user=person3@example.com",
    "/analytics/panels/people?period=30d&user=person3@example.com",
)


def make_rows(addresses: int, end_us: int, seed: int = 7) -> Iterator[Row]:
    """Make the rows of so many anonymous visitors, in order of time, and of some people between them."""
    dice = random.Random(seed)
    numbers = dice.sample(range(2**32), addresses)
    month_us = DAYS * DAY_US
    begins = [
        (end_us - int(dice.random() * (ATTACK_US if n % 2 else month_us)), number) for n, number in enumerate(numbers)
    ]
    visits = sorted(
        (time_us + int(dice.expovariate(1 / 600e6)) * (n > 0), number)
        for time_us, number in begins
        for n in range(min(4, 1 + int(dice.expovariate(1.5))))
    )
    for time_us, number in visits:
        if time_us >= end_us:
            continue
        if dice.random() < PEOPLE_SHARE:
            yield _row(dice, time_us - 1, dice.choice(IDENTITIES), "Mozilla/5.0 (X11; Linux x86_64) Firefox/130.0")
        address = str(ipaddress.IPv4Address(number))
        yield _row(dice, time_us, Identity(address, "external"), f"Mozilla/5.0 (anonymous {number:x})")


def _row(dice: random.Random, time_us: int, identity: Identity, agent: str) -> Row:
    path, route = dice.choice(ENDPOINTS)
    access = Access(
        time_us, dice.getrandbits(63), identity.address, "GET", path, dice.choice((200, 200, 200, 404, 502)),
        1900, 1500, True, 1234, "", f"{dice.getrandbits(128):032x}", f"{dice.getrandbits(64):016x}", agent, "",
    )  # fmt: skip
    return Row(access, identity, route, Traffic.APP, 1000, "")


def peak_mib(pid: int) -> float:
    """Return the peak of the process's resident set since it was reset."""
    match = re.search(r"^VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    if match is None:
        raise RuntimeError(f"/proc/{pid}/status names no VmHWM; this needs Linux")
    return int(match[1]) / 1024


def cpu_s(pid: int) -> float:
    """Return the seconds of CPU that a process has spent."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def ask(client: httpx.Client, pid: int, path: str) -> tuple[float, float, float]:
    """Return the median time of an answer and what it took of a CPU, in seconds, and the peak of memory, in MiB."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    took_s = []
    spent_s = cpu_s(pid)
    for _ in range(ASKED_TIMES):
        started_s = time.perf_counter()
        client.get(path).raise_for_status()
        took_s.append(time.perf_counter() - started_s)
    return sorted(took_s)[ASKED_TIMES // 2], (cpu_s(pid) - spent_s) / ASKED_TIMES, peak_mib(pid)


def main() -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--addresses", type=int, default=300_000)
    parser.add_argument(
        "--distinct-max", type=int, default=0, help="the store's limit; by default so many as there are"
    )
    parser.add_argument("--store", type=Path, help="a store to fill, or to ask if this bench filled it before")
    arguments = parser.parse_args()
    limit = arguments.distinct_max or arguments.addresses
    with tempfile.TemporaryDirectory(prefix="tailtrace-anonymous-") as name:
        path = arguments.store or Path(name, "bench.db")
        if not path.exists():
            store = SqliteStore(path, distinct_max=limit)
            count, spent_s = write(store, make_rows(arguments.addresses, time.time_ns() // 1000))
            store.close()
            size = path.stat().st_size
            print(f"{count} rows of {arguments.addresses} addresses, {count / spent_s:,.0f} rows/s", flush=True)
            print(f"{size / count:.0f} bytes a row, {size / arguments.addresses:.0f} an address")
        patient = httpx.HTTPTransport(retries=6)
        with (
            serving(Path(name), path) as (pid, url),
            httpx.Client(base_url=url, timeout=120, transport=patient) as client,
        ):
            client.get("/health").raise_for_status()
            print(f"idle {peak_mib(pid):.0f} MiB", flush=True)
            for answer in ANSWERS:
                took_s, spent_s, mib = ask(client, pid, answer)
                print(
                    f"{took_s:6.2f} s ({spent_s:.2f} s of CPU), {took_s / ANSWER_S_MAX:5.2f} x allowed {mib:5.0f} MiB,"
                    f" {mib / PEAK_MIB_MAX:4.2f} x allowed: {answer}",
                    flush=True,
                )
    return 0


if __name__ == "__main__":
    sys.exit(main())
