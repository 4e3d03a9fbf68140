"""A stranger's worst lines, 500 a second, and how soon an honest line behind them is in an answer.

    python bench/flood.py --rate 500 --seconds 20

Each flood is of one kind of line, each line another one. An honest line is written every half second, by an address of
its own, and the API is asked for that address until it has it: the poll's own 10 ms are part of the time.
"""

import argparse
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import httpx
from memory import serving
from worst_lines import evil

from tailtrace_api.demo.live_table import percentile

HONEST_EVERY_S = 0.5
POLL_S = 0.01
VISIBLE_S_MAX = 30.0
GOAL_S = 1.0
KINDS = (("x@a.bc/", 100), ("/eyJaaaaaa.aaaaaa", 400), ("\\xC3\\xA9", 8_000), ("\\xFF", 60_000))


def now_as_nginx(seconds: float) -> str:
    """Write a time as `$time_local`, of UTC."""
    return time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(seconds))


def flood(log: Path, lines: Sequence[bytes], rate: int, stop: threading.Event) -> None:
    """Append lines to a log, so many a second, in steps of a twentieth, until told to stop."""
    step = max(1, rate // 20)
    number, begun = 0, time.monotonic()
    with log.open("ab", buffering=0) as file:
        while not stop.is_set():
            some = [lines[(number + n) % len(lines)] for n in range(step)]
            stamp = now_as_nginx(time.time()).encode()
            file.write(
                b"".join(b"%b[%b]%b\n" % (one[: one.index(b"[")], stamp, one[one.index(b"]") + 1 :]) for one in some)
            )
            number += step
            stop.wait(max(0.0, begun + number / rate - time.monotonic()))


def visible_s(client: httpx.Client, log: Path, number: int) -> float:
    """Write an honest line; return how long it took to be in an answer."""
    address = f"198.51.{number // 250}.{number % 250}"
    with log.open("ab", buffering=0) as file:
        file.write(f'{address} - - [{now_as_nginx(time.time())}] "GET /honest HTTP/1.1" 200 9 "-" "curl"\n'.encode())
    begun = time.monotonic()
    while time.monotonic() - begun < VISIBLE_S_MAX:
        answer = client.get("/analytics/access-logs", params={"hours": 1, "limit": 1, "endpoint": "/honest"})
        if answer.raise_for_status().json()["summary"]["total_requests"] > number:
            return time.monotonic() - begun
        time.sleep(POLL_S)
    return VISIBLE_S_MAX


def measured(unit: str, length: int, rate: int, seconds: float) -> list[float]:
    """Run one flood; return what each honest line took."""
    lines, stop = evil(unit, length, in_path=True), threading.Event()
    with (
        tempfile.TemporaryDirectory(prefix="tailtrace-flood-") as name,
        serving(Path(name), Path(name, "t.db")) as (_, url),
    ):
        log = Path(name, "access.log")
        sender = threading.Thread(target=flood, args=(log, lines, rate, stop))
        sender.start()
        times_s: list[float] = []
        try:
            patient = httpx.HTTPTransport(retries=6)
            with httpx.Client(base_url=url, timeout=60, transport=patient) as client:
                begun = time.monotonic()
                while time.monotonic() - begun < seconds:
                    times_s.append(visible_s(client, log, len(times_s)))
                    time.sleep(HONEST_EVERY_S)
        finally:
            stop.set()
            sender.join()
    return times_s


def main() -> None:
    """Measure each kind, and print one line for it."""
    options = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    options.add_argument("--rate", type=int, default=500, help="lines a second")
    options.add_argument("--seconds", type=float, default=20.0)
    chosen = options.parse_args()
    for unit, length in KINDS:
        times_s = measured(unit, length, chosen.rate, chosen.seconds)
        worst = max(times_s)
        print(
            f"{length:6} bytes of {unit!r}: visible after {percentile(times_s, 50):.2f} s (median),"
            f" {worst:.2f} s at worst, {worst / GOAL_S:.2f} x allowed; {len(times_s)} lines",
            flush=True,
        )


if __name__ == "__main__":
    main()
