"""What a stranger's worst lines cost a byte, as a multiple of a usual line's: parsed, and their route found.

    python bench/worst_lines.py

Each line is another one, so no memory of what was read helps. Lines are of the text that each pattern would like least,
in the path or in the user agent, as nginx writes it. Usual lines are measured anew beside each: what else runs on the
machine slows both.
"""

import argparse
import time
from collections.abc import Callable, Sequence

from tailtrace_bridge.core.records import Access
from tailtrace_bridge.logs.parser import make_parser
from tailtrace_bridge.rows.routes import Routes

UNITS = (
    "a", "a=", "%3D", "%40", "a@a.", "x@a.bc/", "eyJ", "eyJ.", "/eyJaaaaaa.aaaaaa", "A1a", "AKIA", "sk-",
    "0123456789abcdef-", "/", "a/", "1/", "{a}/", "\\x22", "\\x01", "\\xC3\\xA9", "\\xFF", "a\\x22", "<", "{", "token ",
    "A1a../\\x7F", "deadbeef../\\x7F", "deadbeefx@a.bc../",
)  # fmt: skip
LENGTHS = (100, 400, 1_200, 8_000, 60_000)
BYTES = 200_000
ROUNDS = 7
SHOWN = 12
GOAL = 2.0


def line(number: int, path: str, agent: str) -> bytes:
    """Write one as nginx does."""
    time_local = f"08/Oct/2025:13:{number // 60 % 60:02}:{number % 60:02} +0000"
    return f'100.64.0.{number % 250} - - [{time_local}] "GET /{path} HTTP/1.1" 404 12 "-" "{agent}"'.encode()


def usual(count: int) -> list[bytes]:
    """Return lines of clients that are no strangers: each of another thing, too."""
    agent = "Mozilla/5.0 (X11; Linux x86_64; rv:131.0) Gecko/20100101 Firefox/131.0 {}"
    return [line(n, f"metrics/sticker/{n:x}/part{n * 7 % 1000}?page={n % 7}", agent.format(n)) for n in range(count)]


def evil(unit: str, length: int, *, in_path: bool) -> list[bytes]:
    """Return lines of a unit, each with a number of its own."""
    text = (unit * (length // len(unit) + 1))[: length // len(unit) * len(unit)]
    count = max(3, BYTES // (length + 90))
    return [line(n, f"{n:x}{text}" if in_path else "a", "curl" if in_path else f"{n:x}{text}") for n in range(count)]


def ns_a_byte(lines: Sequence[bytes]) -> float:
    """Return the CPU of parsing and of the route, for each byte."""
    parse, template = make_parser("combined").parse, Routes().template
    clear()
    start = time.process_time()
    for one in lines:
        access = parse(one, "a.log", 0)
        if isinstance(access, Access):
            template(access.method, access.path, "", access.status)
    return (time.process_time() - start) / sum(map(len, lines)) * 1e9


def compared(lines: Sequence[bytes], to: Sequence[bytes]) -> float:
    """Return what a byte costs, as a multiple of the others': the best of several rounds each."""
    rounds = [(ns_a_byte(lines), ns_a_byte(to)) for _ in range(ROUNDS)]
    return min(mine for mine, _ in rounds) / min(theirs for _, theirs in rounds)


def clear() -> None:
    """Forget what was read before, as of a line that nobody has seen."""
    for remembering in _remembering():
        remembering()


def _remembering() -> list[Callable[[], None]]:
    from tailtrace_bridge.logs import request_line, texts  # noqa: PLC0415 - private to this bench

    return [one.cache_clear for one in (request_line.request_of, request_line.target_of, texts.agent_of)]


def main() -> None:
    """Measure, and print the dearest."""
    argparse.ArgumentParser(description=str(__doc__).partition("\n")[0]).parse_args()
    usual_lines = usual(BYTES // 200)
    found = sorted(
        (
            (compared(evil(unit, length, in_path=in_path), usual_lines), unit, length, in_path)
            for unit in UNITS
            for length in LENGTHS
            for in_path in (True, False)
        ),
        reverse=True,
    )
    print(f"a usual line: {min(ns_a_byte(usual_lines) for _ in range(ROUNDS)):.0f} ns a byte")
    for ratio, unit, length, in_path in found[:SHOWN]:
        where = "path" if in_path else "agent"
        print(f"{ratio:5.2f} x: {length:6} bytes of {unit!r} in the {where}")
    print(f"worst {found[0][0] / GOAL:.2f} x the {GOAL:g} allowed")


if __name__ == "__main__":
    main()
