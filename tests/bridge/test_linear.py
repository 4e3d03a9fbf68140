"""What a stranger writes costs time in proportion to its length: four times as long, about four times as much."""

import time

import pytest

from tailtrace_api.mcp_server.fence import _TEMPLATE
from tailtrace_bridge.identity.serve_headers import decoded
from tailtrace_bridge.logs.block_format import block_format
from tailtrace_bridge.logs.format import COMBINED_FORMAT, compile_format, unescape_default, unescape_json
from tailtrace_bridge.logs.parser import make_parser
from tailtrace_bridge.logs.scrub import scrub

UNITS = [
    "a", "%40", "@", "a@a.", "@a.aa.", "x@a.bc/", "%40a.bc", "eyJ", "eyJ.", "/eyJaaaaaa.aaaaaa", "A1a", "AKIA", "sk-",
    "0123456789abcdef-", "[", "[a", "<", "< ", "\n", "=?", "=?a?q?x", '\\"', "\\\\", "\\u0001", "token ", "//", '" ',
    "1.000 ", "a,", "a, ", "a:b, ", "{", '{"a":', "a\\x22",
]  # fmt: skip
LENGTH = 6_000
RATIO_MAX = 8
"""A square would be sixteen."""


def parse(text):
    make_parser().parse(text.encode(), "a.log", 0)


def plain(text):
    parse(f'100.64.0.7 - - [10/Oct/2025:13:55:36 +0000] "GET /a HTTP/1.1" 200 12 "-" "{text}')


def json_text(text):
    parse('{"time_local":"10/Oct/2025:13:55:36 +0000","remote_addr":"100.64.0.7","uri":"' + text)


def json_value(text):
    parse('{"time_local":"10/Oct/2025:13:55:36 +0000","remote_addr":"100.64.0.7","status":' + text)


def block_user(text):
    block_format(compile_format(COMBINED_FORMAT)).pattern.findall(f"100.64.0.7 - {text}\n".encode())


def block_agent(text):
    line = f'100.64.0.7 - - [10/Oct/2025:13:55:36 +0000] "GET /a HTTP/1.1" 200 12 "-" "{text}\n'
    block_format(compile_format(COMBINED_FORMAT)).pattern.findall(line.encode())


def costs_s(*asked):
    """Return what each (function, text) costs at best, measured in turns: a machine that is slow for a while is so to all."""
    runs = [[] for _ in asked]
    for cut in range(7):  # another text each time: one that was seen comes from a cache
        for run, (function, text) in zip(runs, asked, strict=True):
            start = time.process_time()
            function(text[: len(text) - cut])
            run.append(time.process_time() - start)
    return map(min, runs)


@pytest.mark.parametrize(
    "function",
    [scrub, decoded, unescape_json, unescape_default, _TEMPLATE.search, parse, plain, json_text, json_value, block_user, block_agent],
)  # fmt: skip
@pytest.mark.parametrize("unit", UNITS)
def test_four_times_the_length_takes_about_four_times_the_time(function, unit):
    short, long = ((unit * length)[:length] for length in (LENGTH, 4 * LENGTH))
    floor_s = 2e-4  # below it, the clock and the rest of the machine are what is measured
    short_s, long_s = costs_s((function, short), (function, long))
    assert long_s <= RATIO_MAX * max(short_s, floor_s)


@pytest.mark.parametrize("unit", ["a", "a@a.", "token ", "a\\x22"])
def test_a_value_that_does_not_end_costs_no_more_than_one_that_does(unit):
    parser = make_parser("combined")
    text = (unit * 60_000)[:60_000]

    def ended(text):
        parser.fits(f'100.64.0.7 - - [10/Oct/2025:13:55:36 +0000] "GET /a HTTP/1.1" 200 12 "-" "{text}"'.encode())

    def open_ended(text):
        parser.fits(f'100.64.0.7 - - [10/Oct/2025:13:55:36 +0000] "GET /a HTTP/1.1" 200 12 "-" "{text}'.encode())

    ended_s, open_s = costs_s((ended, text), (open_ended, text))
    assert open_s <= 4 * max(ended_s, 2e-5)
