"""How long a line takes: ours against one bare regex, the least that any parser in Python can do.

python bench/parse.py [LOG…]      (plain or .gz; without one, made-up combined lines)
"""

import gzip
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tailtrace_bridge.core.records import Access
from tailtrace_bridge.logs.parser import make_parser

ROUNDS = 5
BARE = re.compile(r'([^ ]+) - [^"]*\[([^\]]+)\] "([^"]*)" ([0-9]+) ([^ ]+) "([^"]*)" "([^"]*)"')


def made_up(count: int) -> list[bytes]:
    """Lines as varied as a month of a small service: some 7,000 addresses, 1,400 requests, 2,000 agents."""
    return [
        f"100.64.{i * 3 % 29}.{i * 7 % 241} - - [08/Oct/2025:{i // 3600 % 24:02}:{i // 60 % 60:02}:{i % 60:02} +0000] "
        f'"GET /metrics/sticker/{i * 31 % 700}?page={i % 2} HTTP/1.1" {200 if i % 50 else 502} {i * 13 % 90_000} "-" '
        f'"Mozilla/5.0 (Linux; Android 14; Phone-{i * 17 % 2003}) AppleWebKit/537.36 Chrome/120.0"'.encode()
        for i in range(count)
    ]


def read(path: Path) -> list[bytes]:
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return data.split(b"\n")[:-1]


def best_us(lines: list[bytes], make: Callable[[], Callable[[bytes], object]]) -> float:
    best = float("inf")
    for _ in range(ROUNDS):
        run = make()
        start = time.process_time()
        for line in lines:
            run(line)
        best = min(best, time.process_time() - start)
    return best / len(lines) * 1e6


def bare_regex() -> Callable[[bytes], object]:
    return lambda line: BARE.match(line.decode("utf-8", "surrogateescape"))


def ours(log_format: str) -> Callable[[], Callable[[bytes], object]]:
    def make() -> Callable[[bytes], object]:
        parse = make_parser(log_format).parse
        return lambda line: parse(line, "", 0)

    return make


def main() -> None:
    lines = [line for name in sys.argv[1:] for line in read(Path(name))] or made_up(100_000)
    parser = make_parser()
    records = sum(isinstance(parser.parse(line, "", 0), Access) for line in lines)
    bare_us = best_us(lines, bare_regex)
    print(f"{len(lines)} lines, {records} records")
    print(f"bare regex  {bare_us:6.2f} us/line")
    for log_format in ("auto", "combined"):
        ours_us = best_us(lines, ours(log_format))
        print(f"{log_format:10}  {ours_us:6.2f} us/line  {ours_us / bare_us:.1f} x bare regex")


if __name__ == "__main__":
    main()
