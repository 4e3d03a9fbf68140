"""`make audit` fails on what is known to be vulnerable, and says what it could not look at."""

import json
import runpy
import sys
from pathlib import Path

import pytest

AUDIT = runpy.run_path(str(Path(__file__).parents[1] / ".ci" / "audit.py"))
GOOD = {"name": "a", "version": "1.0", "vulns": []}
BAD = {"name": "b", "version": "2.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2.1", "3.0"]}]}
HOPELESS = {"name": "c", "version": "2.0", "vulns": [{"id": "PYSEC-2", "fix_versions": []}]}
SKIPPED = {"name": "d", "skip_reason": "Dependency not found"}
NPM = {"metadata": {"dependencies": {"prod": 2, "total": 90}}}


@pytest.mark.parametrize(
    ("answer", "sentence", "found"),
    [
        (None, "NOT CHECKED: the service was not reached, or knows none of the packages", []),
        ({"dependencies": [SKIPPED]}, "NOT CHECKED: the service was not reached, or knows none of the packages", []),
        ({"dependencies": [GOOD, SKIPPED]}, "0 known vulnerabilities in 1 packages, 1 NOT CHECKED", []),
        (
            {"dependencies": [GOOD, BAD, HOPELESS]},
            "2 known vulnerabilities in 3 packages",
            ["b 2.0: PYSEC-1, mended in 2.1, 3.0", "c 2.0: PYSEC-2, mended in none"],
        ),
    ],
)
def test_what_pip_audit_says(answer, sentence, found):
    assert AUDIT["pip_says"](answer) == (sentence, found)


@pytest.mark.parametrize(
    ("answer", "sentence", "found"),
    [
        (None, "NOT CHECKED: there is no npm, or its service was not reached", []),
        ({"message": "405 Method Not Allowed"}, "NOT CHECKED: there is no npm, or its service was not reached", []),
        ({**NPM, "vulnerabilities": {}}, "0 known vulnerabilities in 2 packages", []),
        (
            {**NPM, "vulnerabilities": {"x": {"severity": "high"}}},
            "1 known vulnerabilities in 2 packages",
            ["x: high"],
        ),
    ],
)
def test_what_npm_says(answer, sentence, found):
    assert AUDIT["npm_says"](answer) == (sentence, found)


CLEAN_NPM = {**NPM, "vulnerabilities": {}}


@pytest.mark.parametrize(
    ("package", "npm", "status", "last"),
    [
        (GOOD, CLEAN_NPM, 0, "npm audit: 0 known vulnerabilities in 2 packages"),
        (GOOD, None, 3, "NOT CHECKED: npm audit. "),
        (SKIPPED, CLEAN_NPM, 3, "NOT CHECKED: pip-audit. "),
        (SKIPPED, None, 3, "NOT CHECKED: pip-audit and npm audit. "),
        (BAD, None, 1, "npm audit: NOT CHECKED"),
    ],
)
def test_only_a_vulnerability_fails_and_nothing_checked_is_not_green(
    tmp_path, monkeypatch, capsys, package, npm, status, last
):
    """With programs of a test in place of both."""
    (tmp_path / "pip_audit.py").write_text(f"print({json.dumps({'dependencies': [package]})!r})")
    if npm is not None:
        (tmp_path / "npm").write_text(f"#!/bin/sh\necho '{json.dumps(npm)}'\n")
        (tmp_path / "npm").chmod(0o755)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert AUDIT["main"](sys.executable, "site-packages") == status
    said = capsys.readouterr().out
    assert said.splitlines()[-1].startswith(last)
    assert ("PYSEC-1" in said) == (status == 1)
