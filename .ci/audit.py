"""Ask pip-audit and npm whether what we build on has known vulnerabilities; `make audit` runs it.

| they say | this |
|---|---|
| a vulnerability | names it, exits with 1 |
| none | says of how many packages, exits with 0 |
| nothing, since their service is not reached, is slow, or does not know the packages | says so, exits with 3 |
| a part: one of the two, or not of all packages | says of which, exits with 3 |

What was not checked is not said to be good. A build must not fail because somebody else's server is away either, so
`.ci/run` goes on after a 3, and ends with a line that says NOT CHECKED.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
NOT_CHECKED = "NOT CHECKED"
UNCHECKED = 3
TIMEOUT_S = 25
"""Of each; `.ci/run` gives both together a minute."""


def run(words: list[str], folder: Path) -> dict[str, Any] | None:
    """Return what a command printed as JSON; None where it printed none in time."""
    try:
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)  # noqa: S603
        answer = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    return answer if isinstance(answer, dict) else None


def pip_says(answer: dict[str, Any] | None) -> tuple[str, list[str]]:
    """Return a sentence, and the vulnerabilities."""
    packages = (answer or {}).get("dependencies", [])
    checked = [package for package in packages if "vulns" in package]
    if not checked:
        return "NOT CHECKED: the service was not reached, or knows none of the packages", []
    found = [
        f"{package['name']} {package['version']}: {one['id']}, mended in {', '.join(one['fix_versions']) or 'none'}"
        for package in checked
        for one in package["vulns"]
    ]
    skipped = len(packages) - len(checked)
    rest = f", {skipped} NOT CHECKED" if skipped else ""
    return f"{len(found)} known vulnerabilities in {len(checked)} packages{rest}", found


def npm_says(answer: dict[str, Any] | None) -> tuple[str, list[str]]:
    """Return a sentence, and the vulnerabilities."""
    if answer is None or "metadata" not in answer:
        return "NOT CHECKED: there is no npm, or its service was not reached", []
    found = [f"{name}: {one['severity']}" for name, one in answer.get("vulnerabilities", {}).items()]
    return f"{len(found)} known vulnerabilities in {answer['metadata']['dependencies']['prod']} packages", found


def main(auditor: str, packages: str) -> int:
    """Print what both say; give 1 where a vulnerability is known, else 3 where something was not checked."""
    pip = [
        auditor,
        "-m",
        "pip_audit",
        "--path",
        packages,
        "--format",
        "json",
        "--progress-spinner",
        "off",
        "--timeout",
        "5",
    ]
    said = {
        "pip-audit": pip_says(run(pip, ROOT)),
        "npm audit": npm_says(run(["npm", "audit", "--omit=dev", "--json"], ROOT / "api" / "web")),
    }
    for name, (sentence, found) in said.items():
        print("\n  ".join([f"{name}: {sentence}", *found]))
    if any(found for _, found in said.values()):
        return 1
    unchecked = [name for name, (sentence, _) in said.items() if NOT_CHECKED in sentence]
    if unchecked:
        print(f"{NOT_CHECKED}: {' and '.join(unchecked)}. This is no clean bill: run `make audit` where they answer")
    return UNCHECKED if unchecked else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
