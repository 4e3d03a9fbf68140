# ruff: noqa: INP001, S603 - a script, which runs programs of its own
"""Flip each condition of the pure modules and see whether the module's own tests notice: `make mutants`.

A flip that no test sees is a survivor: a gap in the tests, or one that changes nothing. `scripts/mutants.toml` names
the modules, and each survivor that may stay with its reason; another one fails the run.

Works in a copy of the checkout. Minutes: a second or two for each flip.
"""

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

ROOT = Path(__file__).parents[1]
COSMIC_RAY = ROOT / ".venv" / "mutants" / "bin"
SOURCES = ("bridge", "api", "instrumentation")
FLIPS = (
    "AddNot|ReplaceAndWithOr|ReplaceOrWithAnd|ReplaceTrueWithFalse|ReplaceFalseWithTrue|ReplaceUnaryOperator_Delete_Not"
    "|ReplaceBreakWithContinue|ReplaceContinueWithBreak"
    "|ReplaceComparisonOperator_(Eq_NotEq|NotEq_Eq|Lt_LtE|LtE_Lt|Gt_GtE|GtE_Gt|Is_IsNot|IsNot_Is)"
)
"""cosmic-ray's names of the operators that flip a condition."""
TIMEOUT_S = 120


class Flip(NamedTuple):
    """One that was tried. `line` is the source's, stripped; `outcome` is cosmic-ray's word."""

    module: str
    operator: str
    line: str
    number: int
    outcome: str


def main() -> int:
    """Return 1 where a flip survives without a reason."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", help="only modules whose path contains one of these words")
    chosen: Sequence[str] = parser.parse_args().modules
    config = tomllib.loads((ROOT / "scripts" / "mutants.toml").read_text(encoding="utf-8"))
    modules = [each for each in config["module"] if not chosen or any(word in each["path"] for word in chosen)]
    accepted = {
        (each["path"], known["operator"], known["line"]): known["reason"]
        for each in modules
        for known in each.get("survivor", [])
    }
    with tempfile.TemporaryDirectory(prefix="tailtrace-mutants-") as folder:
        copy = Path(folder) / "copy"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".git", ".venv*", "node_modules", "*cache*"))
        flips = [flip for each in modules for flip in _tried(copy, each["path"], each["tests"])]
    return _report(flips, accepted)


def _tried(copy: Path, module: str, tests: str) -> Iterator[Flip]:
    """Flip each condition of a module in the copy, one after another."""
    session, config = copy / "session.sqlite", copy / "cosmic-ray.toml"
    session.unlink(missing_ok=True)
    test = f"{sys.executable} -m pytest -x -q -p no:cacheprovider {tests}"
    config.write_text(
        f"[cosmic-ray]\nmodule-path = {json.dumps(module)}\ntimeout = {TIMEOUT_S}.0\nexcluded-modules = []\n"
        f"test-command = {json.dumps(test)}\n[cosmic-ray.distributor]\nname = 'local'\n"
        f"[cosmic-ray.filters.operators-filter]\nexclude-operators = ['core/(?!(?:{FLIPS})$)']\n",
        encoding="utf-8",
    )
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(str(copy / source) for source in SOURCES),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # their imports take longer than the tests of a module
    }

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        program, *arguments = command
        return subprocess.run(
            [COSMIC_RAY / program, *arguments], cwd=copy, env=env, check=True, capture_output=True, text=True
        )

    if subprocess.run(shlex.split(test), cwd=copy, env=env, check=False, capture_output=True).returncode:
        raise SystemExit(f"{tests} fail before anything is flipped: mend them first")
    run("cosmic-ray", "init", config.name, session.name)
    run("cr-filter-operators", session.name, config.name)
    lines = (copy / module).read_text(encoding="utf-8").splitlines()
    waiting = sum(result is None for _, result in _dump(run("cosmic-ray", "dump", session.name).stdout))
    with Progress(transient=True) as progress:
        progress.add_task(f"{Path(module).stem}: {waiting} flips", total=None)
        run("cosmic-ray", "exec", config.name, session.name)
    for item, result in _dump(run("cosmic-ray", "dump", session.name).stdout):
        if result is None or result["worker_outcome"] == "skipped":
            continue
        (mutation,) = item["mutations"]
        number = mutation["start_pos"][0]
        if lines[number - 1].startswith("@"):  # slots, frozen: for memory and for mypy
            continue
        operator = mutation["operator_name"].removeprefix("core/")
        yield Flip(module, operator, lines[number - 1].strip(), number, result["test_outcome"])


def _dump(text: str) -> Iterator[tuple[dict[str, Any], dict[str, Any] | None]]:
    for line in text.splitlines():
        item, result = json.loads(line)
        yield item, result


def _report(flips: Sequence[Flip], accepted: dict[tuple[str, str, str], str]) -> int:
    survivors = [flip for flip in flips if flip.outcome == "survived"]
    new = [flip for flip in survivors if (flip.module, flip.operator, flip.line) not in accepted]
    table = Table("module", "line", "flip", "source", "reason")
    for flip in survivors:
        reason = accepted.get((flip.module, flip.operator, flip.line), "[bold red]no test sees it")
        table.add_row(Path(flip.module).stem, str(flip.number), flip.operator, flip.line, reason)
    console = Console(width=None if sys.stdout.isatty() else 160)
    if survivors:
        console.print(table)
    console.print(f"{len(flips) - len(survivors)} of {len(flips)} flips were seen; {len(new)} survive without a reason")
    return 1 if new else 0


if __name__ == "__main__":
    sys.exit(main())
