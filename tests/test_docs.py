"""The docs say what is so: commands, options, links, make targets, settings and addresses in them exist."""

import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
TO_COME = "Not there yet"
"""The heading of the part of a page that tells of what is still to come."""

# Read by the tests and by the finder of nginx, not by `settings`.
OTHER_VARIABLES = {
    "TAILTRACE_REQUIRE",
    "TAILTRACE_CHROMIUM",
    "TAILTRACE_NGINX",
    "TAILTRACE_OTELCOL",
    "TAILTRACE_INFLUXD",
    "TAILTRACE_INSPECTOR",
    "TAILTRACE_JAEGER",
    "TAILTRACE_RESPONSE_HEADER",  # of a traced app
    "TAILTRACE_SHARED_DATA",
    "TAILTRACE_UNSAMPLED_SLOW_MS",  # of a traced app
    "TAILTRACE_UNSAMPLED_SPANS",  # of a traced app
}

FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
CODE_SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^(#+) +(.+)$", re.MULTILINE)

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def text_of(page: Path) -> str:
    """A page without its part on what is to come."""
    text = page.read_text(encoding="utf-8")
    return re.sub(rf"^(#+) {TO_COME}\n.*?(?=^#|\Z)", "", text, flags=re.DOTALL | re.MULTILINE)


def shell_lines(text: str) -> list[str]:
    """What a reader would type: lines of `sh` blocks, and code spans."""
    blocks = [code for language, code in FENCE.findall(text) if language in {"sh", "bash"}]
    return [
        *(line for block in blocks for line in block.replace("\\\n", " ").splitlines()),
        *CODE_SPAN.findall(FENCE.sub("", text)),
    ]


def tailtrace_calls(text: str) -> list[list[str]]:
    """The words after `tailtrace` of each call of it, without comment, settings before it, or pipe behind it."""
    found = (re.match(r"(?:\w+=\S+ +|sudo +|\S*/)*tailtrace +([^|>&]+)", line) for line in shell_lines(text))
    return [shlex.split(call[1], comments=True) for call in found if call]


def make_targets(text: str) -> list[str]:
    found = (re.match(r"make +([a-z][a-z-]*)", line) for line in shell_lines(text))
    return [target[1] for target in found if target]


def script_calls(text: str) -> list[tuple[str, list[str]]]:
    """The script and the words after it of each call of one in `scripts/`."""
    found = (re.match(r"(?:\w+=\S+ +|sudo +|\S*python3? +)*(scripts/\w+)([^|>&]*)", line) for line in shell_lines(text))
    return [(call[1], shlex.split(call[2], comments=True)) for call in found if call]


def slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.fixture(scope="module")
def commands() -> dict[str, set[str]]:
    """Each command and its options; of a group, its commands' too, as `token create`."""
    import typer.main

    from tailtrace_api.commands.cli import app

    found: dict[str, set[str]] = {}

    def walk(group: Any, before: str) -> None:
        for name, command in group.commands.items():
            options = (param.opts + param.secondary_opts for param in command.params)
            found[before + name] = {"--help"}.union(*options)
            if hasattr(command, "commands"):
                walk(command, f"{before}{name} ")

    walk(typer.main.get_command(app), "")
    return found


@pages
def test_commands_and_options_exist(page: Path, commands: dict[str, set[str]]) -> None:
    wrong = []
    for words in tailtrace_calls(text_of(page)):
        name, *rest = words
        if name == "--help":
            continue
        options = {word.partition("=")[0] for word in rest if word.startswith("-")}
        if rest and f"{name} {rest[0]}" in commands:
            name = f"{name} {rest[0]}"
        if name not in commands:
            wrong.append(f"tailtrace {name}: no such command")
        elif unknown := options - commands[name]:
            wrong.append(f"tailtrace {name}: no option {', '.join(sorted(unknown))}")
    assert wrong == []


def test_readme_installs_by_the_lines_that_a_release_is_tried_with() -> None:
    """`.ci/check_wheel.sh` runs them, with the wheel for CLONE, in bare environments."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.partition("\n## Install\n")[2].partition("\n## ")[0]
    lines = [line.partition(" #")[0].strip() for line in section.splitlines() if line.startswith("pip install ")]
    assert sorted(lines) == ["pip install 'CLONE[server]'", "pip install CLONE"]


def test_readme_tells_of_every_command(commands: dict[str, set[str]]) -> None:
    told = {words[0] for words in tailtrace_calls(text_of(ROOT / "README.md"))}
    assert {name for name in commands if " " not in name} - told == set()


@pages
def test_make_targets_exist(page: Path) -> None:
    phony = re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert phony is not None
    assert set(make_targets(text_of(page))) - set(phony[1].split()) == set()


@pages
def test_scripts_and_their_options_exist(page: Path) -> None:
    wrong = []
    for script, words in script_calls(text_of(page)):
        if not os.access(ROOT / script, os.X_OK):
            wrong.append(f"{script}: no such program")
            continue
        told = subprocess.run([sys.executable, ROOT / script, "--help"], capture_output=True, text=True, check=True)
        options = {word.partition("=")[0] for word in words if word.startswith("-")}
        if unknown := options - set(re.findall(r"--[a-z-]+", told.stdout)):
            wrong.append(f"{script}: no option {', '.join(sorted(unknown))}")
    assert wrong == []


@pages
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for target in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (
            anchor and anchor not in {slug(title) for _, title in HEADING.findall(file.read_text(encoding="utf-8"))}
        ):
            broken.append(target)
    assert broken == []


@pages
def test_settings_exist(page: Path) -> None:
    from tailtrace_bridge.settings.table import Settings, environment_name

    known = {environment_name(name) for name in Settings.model_fields} | OTHER_VARIABLES
    told = set(re.findall(r"\b(?:TAILTRACE_|TAILSCALE_|TAILNET)[A-Z_]*\b(?!\.md)", text_of(page)))
    assert {name for name in told if not name.endswith("_")} - known == set()


def test_settings_page_is_of_now() -> None:
    from tailtrace_bridge.settings import table as settings

    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert page == settings.markdown(), "the settings changed: run `make docs`"


def test_export_page_has_the_fields_of_now() -> None:
    generate = runpy.run_path(str(ROOT / "docs" / "generate.py"))
    page = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
    assert page.count(generate["FIELDS_BEGIN"]) == page.count(generate["FIELDS_END"]) == 1
    assert page == generate["with_fields"](page), "the fields changed: run `make docs`"


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ("```sh\nTAILTRACE_LOG=a.log tailtrace serve  # comment\n```", [["serve"]]),
        ("```sh\nsudo .venv/bin/tailtrace nginx \\\n  --log x | cat\n```", [["nginx", "--log", "x"]]),
        ("run `tailtrace report --days 7`, or `tailtrace.toml`", [["report", "--days", "7"]]),
        ("```python\ntailtrace serve\n```", []),
        ("no code: tailtrace mcp", []),
    ],
)
def test_what_counts_as_a_call(text: str, calls: list[list[str]]) -> None:
    assert tailtrace_calls(text) == calls


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ("```sh\n.venv/bin/python scripts/check a.log --json | jq\n```", [("scripts/check", ["a.log", "--json"])]),
        ("run `scripts/check FILE`", [("scripts/check", ["FILE"])]),
        ("see scripts/check", []),
    ],
)
def test_what_counts_as_a_call_of_a_script(text: str, calls: list[tuple[str, list[str]]]) -> None:
    assert script_calls(text) == calls


def test_what_is_to_come_is_not_checked(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A\none\n## Not there yet\n`tailtrace mcp`\n## B\ntwo\n", encoding="utf-8")
    assert text_of(page) == "# A\none\n## B\ntwo\n"


def test_the_page_of_the_http_api_is_of_now() -> None:
    generate = runpy.run_path(str(ROOT / "docs" / "generate.py"))
    page = (ROOT / "docs" / "http-api.md").read_text(encoding="utf-8")
    assert page == generate["with_routes"](page, generate["openapi"]()), "the API changed: run `make docs`"


@pytest.mark.parametrize("forge", [".forgejo", ".github"])
def test_a_workflow_only_calls_make(forge: str) -> None:
    workflow = yaml.safe_load((ROOT / forge / "workflows" / "test-analytics.yml").read_text(encoding="utf-8"))
    steps = workflow["jobs"]["test"]["steps"]
    commands = [step["run"] for step in steps if "run" in step]
    assert [step for step in steps if not ({"run", "uses"} & step.keys())] == []
    phony = re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert phony is not None
    assert {tuple(command.split()[:1]) for command in commands} == {("make",)}
    assert {command.split()[1] for command in commands} <= set(phony[1].split())
    assert {"setup", "lint", "test", "wheel"} <= {command.split()[1] for command in commands}


@pytest.mark.parametrize(
    "page", [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md"], ids=lambda page: page.name
)
def test_each_table_renders_as_one(page):
    text = re.sub(r"(?ms)^```.*?^```", "", page.read_text(encoding="utf-8"))
    lines = [*text.splitlines(), ""]
    cells = [len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") else 0 for line in ["", *lines]]
    for number, (before, here) in enumerate(pairwise(cells), 1):
        if here and not before:
            assert re.fullmatch(r"[|:\- ]+", lines[number]), f"{page.name}: no rule below {lines[number - 1]}"
        assert not (here and before) or here == before, f"{page.name}: {lines[number - 1]}"


@pytest.mark.skipif(not shutil.which("nft"), reason="needs nft: apt install nftables")
def test_nft_takes_the_rules(tmp_path):
    rules = [code for page in PAGES for language, code in FENCE.findall(text_of(page)) if language == "nft"]
    assert rules
    for code in rules:
        (tmp_path / "rules").write_text(code)
        # Twice, as whoever changes it loads it again; in a network of its own, where anybody may.
        command = f"nft -f {tmp_path}/rules && nft -f {tmp_path}/rules && nft list ruleset"
        done = subprocess.run(["unshare", "-rn", "sh", "-c", command], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.count("jump limited") == 1
