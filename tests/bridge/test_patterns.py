"""Every pattern of the product costs time in proportion to the length of what it reads, whatever stands in it.

The patterns are found in the source, with the methods they are used by; so a new one is tried without being named here.
Each reads many repetitions of each short piece: those of `UNITS`, and what its own literals and classes suggest. Four
times the length may take about four times as long; a square would be sixteen.
"""

import ast
import importlib
import itertools
import re
import time
from functools import cache, partial
from pathlib import Path

import pytest
from hypothesis import given, settings, target
from hypothesis import strategies as st

ROOT = Path(__file__).parents[2]
SOURCES = {
    ".".join(path.relative_to(ROOT / folder).with_suffix("").parts).removesuffix(".__init__"): path
    for folder in ("instrumentation", "bridge", "api")
    for path in sorted((ROOT / folder).glob("tailtrace*/**/*.py"))
}
METHODS = {"search", "match", "fullmatch", "sub", "subn", "split", "findall", "finditer"}
UNITS = (
    "a", "A", "0", "aA0", " ", "\t", "\n", "/", "//", ".", ",", ":", ";", "-", "_", "=", "%", "%40", "@", "a@a.", '"', "'",
    "\\", '\\"', "\\\\", "[", "]", "{", "}", "<", "(", "=?", "=?a?q?x", "a.", "a-", "a/", "0.", "0,", "a=", '"a" ', "\x00", "é",
)  # fmt: skip
LENGTH = 1_500
TIMES = 4
RATIO_MAX = 9
"""Of the time for `TIMES` the length: 4 is a line, 16 a square."""
AGAIN_MAX = 3
FLOOR_S = 4e-4
"""What takes less is not measured: the clock and the rest of the machine would be."""
ELSEWHERE = {
    "tailtrace_bridge.logs.format": "compiled of the user's log_format; lines are tried in test_linear",
    "tailtrace_bridge.logs.block_format": "the same, for the lines of a block",
    "tailtrace_bridge.logs.grammar": "the same, for a second request in a line",
    "tailtrace_bridge.store.person": "escaped words, side by side: nothing in it repeats",
    "tailtrace_api.access.policy": "of our own routes: parts without a slash, and at most one that takes the rest",
    "tailtrace_api.nginx.conf_formats": "an access_log's path with variables, tried on the name of one file",
    "tailtrace_api.mcp_server.parameters": "forms of our own tools, after a limit on the length",
    "tailtrace.settings": "the pattern is the app's own setting, as OpenTelemetry has it",
}
"""Modules that also compile patterns in functions, of what they are given."""
BOUNDED: dict[str, str] = {}
"""Patterns that take more than a line, and why no long text of a stranger meets them. There are none."""
HELD = {"tailtrace_bridge.logs.recognise._KNOWN_WORD": ("fullmatch",)}
"""Methods of patterns that are used under another name."""


@cache
def trees():
    return {name: ast.parse(path.read_text()) for name, path in SOURCES.items()}


def is_re(node, names):
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "re"
        and node.func.attr in names
    )


@cache
def used_by():
    """Return the methods that are used of each name: of a private one in its own module, of others anywhere."""
    found = {}
    for module, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and node.attr in METHODS:
                name = getattr(node.value, "id", getattr(node.value, "attr", None))
                key = (module, name) if (name or "").startswith("_") else name
                found.setdefault(key, set()).add(node.attr)
    return found


def named(module):
    """Return the patterns that stand in a module or in a table of it, by name."""
    for name, value in vars(module).items():
        if isinstance(value, re.Pattern):
            yield name, value
        elif isinstance(value, dict | list | tuple | frozenset):
            items = [*value.values()] if isinstance(value, dict) else [*value]
            parts = [part for item in items for part in (item if isinstance(item, tuple) else (item,))]
            for number, part in enumerate(part for part in parts if isinstance(part, re.Pattern)):
                yield f"{name}[{number}]", part


def patterns():
    """Return name, pattern and methods of all."""
    for module_name, tree in trees().items():
        if ".static" in module_name or module_name.endswith("__main__"):
            continue
        module = importlib.import_module(module_name)
        for name, pattern in named(module):
            plain, whole = name.partition("[")[0], f"{module_name}.{name}"
            methods = used_by().get((module_name, plain) if plain.startswith("_") else plain, ())
            yield whole, pattern, HELD.get(whole, tuple(sorted(methods or {"search", "fullmatch"})))
        for node in ast.walk(tree):
            if is_re(node, METHODS) and isinstance(node.args[0], ast.Constant):
                yield f"{module_name}:{node.args[0].value}", re.compile(node.args[0].value), (node.func.attr,)


ALL = {name: (pattern, methods) for name, pattern, methods in patterns()}


def pieces(pattern):
    """Return short pieces that the pattern's own letters suggest."""
    letters = re.sub(r"\\[dDwWsSbBAZ]|\(\?[a-zA-Z:!=<>]+|[\[\](){}?*+|^$\\]", " ", pattern.pattern)
    words = {word for word in letters.split() if len(word) <= 12}
    return sorted(words)[:24]


def text_of(unit, length):
    return (unit * (length // len(unit) + 1))[:length]


def cost_s(pattern, method, text, runs):
    function = partial(getattr(pattern, method), *(("",) if method in {"sub", "subn"} else ()))
    best = float("inf")
    for _ in range(runs):
        start = time.process_time()
        found = function(text)
        if method == "finditer":
            for _match in found:
                pass
        best = min(best, time.process_time() - start)
    return best


def slow(pattern, method, unit, end=""):
    """Return how many times longer `TIMES` the length takes; 0 where it is too quick to be measured."""
    long = text_of(unit, TIMES * LENGTH) + end
    if cost_s(pattern, method, long, 1) < FLOOR_S or (long_s := cost_s(pattern, method, long, 3)) < FLOOR_S:
        return 0
    return long_s / max(cost_s(pattern, method, text_of(unit, LENGTH) + end, 3), 1e-6)


def least_slow(pattern, method, unit, end):
    """Return `slow`, measured again where it is too much: a neighbour of the moment is gone then, a slow pattern is not."""
    ratio = slow(pattern, method, unit, end)
    for _ in range(AGAIN_MAX):
        if ratio <= RATIO_MAX:
            break
        ratio = min(ratio, slow(pattern, method, unit, end))
    return ratio


@pytest.mark.parametrize("name", sorted(ALL))
def test_time_goes_by_length(name):
    pattern, methods = ALL[name]
    if isinstance(pattern.pattern, bytes):
        pattern = re.compile(pattern.pattern.decode("latin-1"), pattern.flags | re.ASCII)
    own = pieces(pattern)
    units = [*UNITS, *own, *(one + other for one, other in itertools.product(own[:4], ("a", "0", " ")))]
    found = {
        (method, unit, end): ratio
        for method in methods
        for unit in units
        for end in ("", "\x00")
        if (ratio := least_slow(pattern, method, unit, end)) > RATIO_MAX
    }
    if name in BOUNDED:
        assert found, f"{name} is a line now: take it out of BOUNDED"
    else:
        assert not found


def test_a_square_is_found():
    assert any(slow(re.compile("a+b"), "search", "a") > RATIO_MAX for _ in range(AGAIN_MAX))
    assert least_slow(re.compile("a++b"), "match", "a", "") <= RATIO_MAX


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(ALL))
@settings(max_examples=60, deadline=None, database=None)
@given(unit=st.text(min_size=1, max_size=12), end=st.text(max_size=2))
def test_no_piece_is_found_that_takes_a_square(name, unit, end):
    """Looks for slow texts: towards what takes longer than its length."""
    pattern, methods = ALL[name]
    if isinstance(pattern.pattern, bytes):
        pattern = re.compile(pattern.pattern.decode("latin-1"), pattern.flags | re.ASCII)
    worst = max(slow(pattern, method, unit, end) for method in methods)
    target(worst)
    assert worst <= RATIO_MAX


def test_who_compiles_patterns_while_it_runs_says_why():
    found = set()
    for name, tree in trees().items():
        for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)):
            found |= {name for node in ast.walk(function) if is_re(node, {"compile"})}
            found |= {
                name
                for node in ast.walk(function)
                if is_re(node, METHODS) and not isinstance(node.args[0], ast.Constant | ast.Name)
            }
    assert found == set(ELSEWHERE)
