"""Logs for `import_goaccess.py`: four kinds, of any length, the same each time."""

import gzip
import os
import random
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import count, islice
from pathlib import Path

from tailtrace_bridge.logs.format import TAILTRACE_FIELDS, TAILTRACE_MARK

START = datetime(2026, 1, 1, tzinfo=UTC)
SECONDS_APART = 1.9
HOUR_LINES = 1900
"""As far apart as the lines of the real log: 46,000 on a day."""
_DATE = re.compile(rb"\[(\d\d/\w{3}/\d{4})")


def real_logs() -> list[Path]:
    """Return the real logs of this machine, oldest first, if there are any."""
    shared = os.environ.get("TAILTRACE_SHARED_DATA", str(Path(__file__).parents[2] / "shared" / "data"))
    return sorted(Path(shared, "nginx-access").glob("*.gz"), reverse=True)


def real() -> Iterator[bytes]:
    """Return the real log, over and over: each time it is some days later."""
    lines = [line for path in real_logs() for line in gzip.decompress(path.read_bytes()).splitlines(keepends=True)]
    dates = {found[1] for line in lines if (found := _DATE.search(line))}
    for turn in count():
        later = {
            date: (datetime.strptime(date.decode(), "%d/%b/%Y").replace(tzinfo=UTC) + timedelta(days=turn * len(dates)))
            .strftime("[%d/%b/%Y")
            .encode()
            for date in dates
        }
        for line in lines:
            yield _DATE.sub(lambda found, later=later: later[found[1]], line, count=1)  # type: ignore[misc]


def combined() -> Iterator[bytes]:
    """Return the real log, or one like it: of 2000 addresses twenty in an hour, 300 paths, 200 agents."""
    if real_logs():
        yield from real()
    dice = random.Random(7)
    for n in count():
        number = (n // HOUR_LINES * 7 + dice.randrange(20)) % 2000
        path = f"/area{dice.randrange(6)}/thing{dice.randrange(50)}"
        status = dice.choice((200, 200, 200, 304, 404, 500))
        agent = f"Mozilla/5.0 (X11; Linux x86_64) Chrome/{dice.randrange(200)}.0"
        yield _combined(n, f"100.64.{number // 250}.{number % 250}", f"GET {path} HTTP/1.1", status, dice, agent)


def ours() -> Iterator[bytes]:
    """Return what our include files have nginx write: twenty people in an hour, the app's header on nine in ten."""
    dice = random.Random(8)
    routes = [f"/area{area}/things" for area in range(6)]
    for n in count():
        took_ms = dice.randrange(1, 400)
        thing, route = dice.randrange(2000), dice.choice(routes)
        request_id = f"{dice.getrandbits(128):032x}"
        values = {
            "msec": f"{(START + timedelta(seconds=n * SECONDS_APART)).timestamp():.3f}", "request_id": request_id,
            "tailtrace_flags": "01", "remote_addr": f"100.64.0.{(n // HOUR_LINES * 7 + dice.randrange(20)) % 250}",
            "remote_port": str(dice.randrange(1024, 65536)), "request_method": "GET", "request_uri": f"{route}/{thing}",
            "status": dice.choice(("200", "200", "200", "304", "404", "500")), "bytes_sent": str(dice.randrange(9999)),
            "request_time": f"{took_ms / 1000:.3f}", "server_name": "factory",
            "http_user_agent": f"Mozilla/5.0 ({thing % 99})",
            "upstream_http_x_tailtrace": f"1;t={took_ms * 900};r={route}/{{id}}" if dice.random() < 0.9 else "",
            "upstream_addr": "127.0.0.1:8000", "upstream_response_time": f"{took_ms / 1000:.3f}",
            "upstream_status": "200",
            "server_protocol": "HTTP/1.1", "scheme": "http", "http_host": "factory",
        }  # fmt: skip
        yield ("\t".join((TAILTRACE_MARK, *(values.get(name, "") for name in TAILTRACE_FIELDS))) + "\n").encode()


def scanners() -> Iterator[bytes]:
    """Return scanners that try doors: most is not found, one in twenty is no request, and all addresses differ."""
    dice = random.Random(9)
    doors = [
        f"/{word}{end}"
        for word in ("wp-login", "admin", ".env", "cgi-bin/luci", "phpmyadmin")
        for end in ("", ".php", "/", "~")
    ]
    for n in count():
        odd = dice.random() < 0.05
        request = r"\x16\x03\x01\x00\xEE\x01" if odd else f"GET {dice.choice(doors)}?{dice.randrange(9999)} HTTP/1.1"
        address = ".".join(str(dice.randrange(1, 250)) for _ in range(4))
        status = 400 if odd else dice.choice((404, 404, 404, 403, 200))
        yield _combined(n, address, request, status, dice, f"Mozilla/5.0 zgrab/{dice.randrange(3000)}")


def paths() -> Iterator[bytes]:
    """Return a log each line of which has a path of its own."""
    dice = random.Random(10)
    for n in count():
        request = f"GET /shop/item-{n:x}/{dice.getrandbits(40):x} HTTP/1.1"
        yield _combined(n, f"100.64.0.{dice.randrange(250)}", request, 200, dice, "Mozilla/5.0")


def _combined(n: int, address: str, request: str, status: int, dice: random.Random, agent: str) -> bytes:
    when = (START + timedelta(seconds=int(n * SECONDS_APART))).strftime("%d/%b/%Y:%H:%M:%S +0000")
    return f'{address} - - [{when}] "{request}" {status} {dice.randrange(9999)} "-" "{agent}"\n'.encode()


_TAB = "\t".join(
    {
        "msec": "%x.%^", "remote_addr": "%h", "request_method": "%m", "request_uri": "%U", "status": "%s",
        "bytes_sent": "%b", "request_time": "%T", "server_name": "%v", "http_user_agent": "%u",
    }.get(name, "%^")
    for name in TAILTRACE_FIELDS[: TAILTRACE_FIELDS.index("http_user_agent") + 1]
)  # fmt: skip
KINDS: dict[str, tuple[Callable[[], Iterator[bytes]], list[str]]] = {
    "combined": (combined, ["--log-format=COMBINED"]),
    "ours": (ours, [f"--log-format={TAILTRACE_MARK}\t{_TAB}\t%^", "--datetime-format=%s"]),
    "scanners": (scanners, ["--log-format=COMBINED"]),
    "paths": (paths, ["--log-format=COMBINED"]),
}
"""Each with how GoAccess is told to read it."""


def write(kind: str, path: Path, lines: int) -> None:
    """Write a log of a kind."""
    with path.open("wb") as file:
        file.writelines(islice(KINDS[kind][0](), lines))
