"""`scripts/validate_log_parser`, run as a user runs it: what it prints, and its exit status."""

import gzip
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tailtrace_api.commands.advice import ADVICE
from tailtrace_bridge.logs.rejected import LINE_LENGTH_MAX, REASONS

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "scripts" / "validate_log_parser"
SAMPLES = ROOT / "tests" / "samples"
GOOD = b'100.64.0.7 - - [08/Oct/2025:14:32:16 +0000] "GET /dashboard HTTP/1.1" 200 1234\n'


def run(*arguments: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, timeout=30, cwd=cwd, check=False)


def answer(*arguments: str | Path) -> tuple[int, dict[str, Any]]:
    done = run(*arguments, "--json")
    return done.returncode, json.loads(done.stdout)


@pytest.mark.parametrize(
    ("name", "status", "parsed", "refused_by_reason", "parsed_by_format"),
    [
        ("tailtrace.log", 0, 3, {}, {"tailtrace": 3}),
        ("short.log", 0, 3, {}, {"common": 3}),
        ("combined.log", 1, 10, {"bad-time": 1, "no-format": 1}, {"combined": 10}),
        (
            "mixed.log",
            1,
            10,
            {"no-format": 4, "empty": 1, "bad-address": 1, "bad-time": 1, "bad-number": 1},
            {
                "tailtrace": 1,
                "combined": 2,
                "common": 3,
                "common, and more": 1,
                "main": 1,
                "combined, and more": 1,
                "vhost": 1,
            },
        ),
    ],
)
def test_samples(
    name: str, status: int, parsed: int, refused_by_reason: dict[str, int], parsed_by_format: dict[str, int]
) -> None:
    code, found = answer(SAMPLES / name)
    assert code == status
    assert found["refused_by_reason"] == refused_by_reason
    assert found["parsed_by_format"] == parsed_by_format
    assert found["parsed"] == parsed
    assert (
        found["lines"]
        == parsed + found["refused"]
        == len(list(re.split(rb"\n|\0+", (SAMPLES / name).read_bytes()[:-1])))
    )


def test_a_refusal_says_why_where_and_what_to_do(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_bytes(GOOD + b"not a log line\n")
    done = run(log)
    assert done.returncode == 1
    said = done.stdout.decode()
    assert f"{log}: common, 1 of the first 2 lines" in said
    assert "2 lines: 1 parsed, 1 rejected" in said
    assert "--nginx-conf" in said
    assert f"{log}:2 (byte 79): not a log line" in said


HOSTILE = [
    (b"\x1b]0;owned\x07\x1b[2J", "no-format", "\\x1b]0;owned\\x07\\x1b[2J"),
    (b"\x16\x03\x01\xff\xfe\x00", "no-format", "\\x16\\x03\\x01\\xff\\xfe"),
    ("admin\u202egnp.exe".encode(), "no-format", "admin\\u202egnp.exe"),
    (b"[red]markup[/red] [link=http://x]", "no-format", "[red]markup[/red] [link=http://x]"),
    (b"[/]", "no-format", "[/]"),
    (b"a" * (LINE_LENGTH_MAX + 1), "too-long", "a" * 120),
]


@pytest.mark.parametrize(("line", "reason", "shown"), HOSTILE)
def test_hostile_bytes_are_shown_printable(tmp_path: Path, line: bytes, reason: str, shown: str) -> None:
    log = tmp_path / "access.log"
    log.write_bytes(line + b"\n")
    _, found = answer(log)
    assert found["shown"] == [{"reason": reason, "file": str(log)[:120], "line": 1, "offset": 0, "text": shown}]
    text = run(log).stdout.decode()
    assert shown in text
    assert all(char.isprintable() or char == "\n" for char in text)


def test_a_file_name_is_shown_printable(tmp_path: Path) -> None:
    log = Path(os.fsdecode(bytes(tmp_path) + b"/\xff\x1b.log"))
    log.write_bytes(b"nothing\n")
    text = run(log.name, cwd=tmp_path).stdout.decode()
    assert "\\udcff\\x1b.log:1 (byte 0): nothing" in text


def test_examples_are_bounded_for_each_reason_over_all_files(tmp_path: Path) -> None:
    for name in ("a.log", "b.log"):
        (tmp_path / name).write_bytes(b"one\n\ntwo\n")
    code, found = answer(tmp_path / "a.log", tmp_path / "b.log", "--show", "1")
    assert code == 1
    assert found["refused_by_reason"] == {"no-format": 4, "empty": 2}
    assert [(shown["reason"], shown["text"]) for shown in found["shown"]] == [("no-format", "one"), ("empty", "")]
    assert b"and 3 more; --show 4 shows all" in run(tmp_path / "a.log", tmp_path / "b.log", "--show", "1").stdout


def test_gzip_is_read_and_damage_is_told(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole.gz", tmp_path / "cut.gz"
    whole.write_bytes(gzip.compress(GOOD * 3))
    cut.write_bytes(gzip.compress(GOOD * 3)[:-8])
    assert run(whole).returncode == 0
    done = run(cut)
    assert done.returncode == 1
    assert b"3 lines: 3 parsed, 0 rejected" in done.stdout
    assert b"damaged gzip: it ends too early" in done.stderr


def test_a_format_of_ones_own(tmp_path: Path) -> None:
    log = tmp_path / "own.log"
    log.write_bytes(b"1759926736.500 100.64.0.7 200\n1759926737.500 100.64.0.7 OK\n")
    assert answer(log)[1]["refused_by_reason"] == {"no-format": 2}
    code, found = answer(log, "--log-format", "$msec $remote_addr $status")
    assert (code, found["parsed_by_format"], found["refused_by_reason"]) == (1, {"given": 1}, {"bad-number": 1})


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], b"FILE"),
        (["x.log", "--nonsense"], b"--nonsense"),
        (["x.log", "--log-format", "$status"], b"--log-format: log format: without $msec"),
        (["x.log", "--show", "-1"], b"--show"),
    ],
)
def test_wrong_use_is_2(arguments: list[str], said: bytes) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_file_that_is_not_there_is_1() -> None:
    done = run("no-such.log")
    assert done.returncode == 1
    assert b"no-such.log: no such file" in done.stderr


def test_it_starts_by_itself() -> None:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run([SCRIPT, "--help"], capture_output=True, timeout=30, env=environment, check=False)
    assert done.returncode == 0
    assert b"--log-format" in done.stdout


def test_without_the_package_it_says_what_to_do() -> None:
    # -I -S: no site-packages, so the imports fail as they do under a system's Python.
    done = subprocess.run([sys.executable, "-I", "-S", SCRIPT], capture_output=True, timeout=30, check=False)
    assert done.returncode == 1
    assert b"install 'tailtrace[server]'" in done.stderr
    assert b"Traceback" not in done.stderr


def test_there_is_advice_for_every_reason() -> None:
    assert set(ADVICE) == {*REASONS, "store"}
