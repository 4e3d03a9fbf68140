"""docs/security.md names tests that are there, one at least for each threat."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
THREATS = re.findall(r"^\| ([A-Z][0-9]+) \| ([^|]+) \|", PAGE.partition("## Proof")[0], re.MULTILINE)
PROOFS = dict(re.findall(r"^\| ([A-Z][0-9]+) \| (.+) \|$", PAGE.partition("## Proof")[2], re.MULTILINE))


@pytest.mark.parametrize(("file", "name"), sorted(set(TEST.findall(PAGE))))
def test_a_named_test_is_there(file, name):
    assert re.search(rf"^ *(async )?def {name}\(", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("number", [number for number, _ in THREATS], ids=[threat for _, threat in THREATS])
def test_each_threat_has_one(number):
    assert TEST.search(PROOFS[number])


def test_the_page_has_the_threats():
    assert len(THREATS) > 25
    assert [number for number, _ in THREATS] == list(PROOFS), "each number once, in one order"
    assert PAGE.count("`tests/") - PAGE.count("`tests/test_security_page.py` fails") == len(
        TEST.findall(PAGE)
    )  # none is written in another way


def test_bandit_s_rules_are_on():
    import tomllib

    lint = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["ruff"]["lint"]
    assert lint["select"] == ["ALL"]
    everywhere = {rule for rule in lint["ignore"] if re.fullmatch(r"S\d*", rule)}
    assert everywhere == {"S101", "S104"}
    assert {where for where, rules in lint["per-file-ignores"].items() if "S" in rules} == {"tests/**", "bench/**"}
