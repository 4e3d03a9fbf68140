"""The shape of the code: which room imports which, that no cycle exists, and which modules stay pure."""

import ast
import runpy
import subprocess
import sys
from collections.abc import Iterable, Mapping
from graphlib import CycleError
from importlib.util import find_spec
from pathlib import Path

import pytest

GENERATE = runpy.run_path(str(Path(__file__).parents[1] / "docs" / "generate.py"))
IMPORTS: dict[str, set[str]] = GENERATE["imports"]()

BRIDGE_ROOMS = {
    "core": "",
    "logs": "core",
    "spans": "core",
    "settings": "core",
    "identity": "core",
    "rows": "core identity logs",
    "store": "core",
    "texts": "core",
    "alerts": "core settings store texts",
    "transfer": "core logs identity rows store",
    "export": "core identity logs spans",
    "traces": "core logs rows spans store export",
    "wiring": "core logs spans settings identity rows store alerts export traces",
    "testing": "identity",
}
API_ROOMS = {
    "answers": "",
    "access": "",
    "nginx": "",
    "queries": "access answers",
    "monthly": "answers queries",
    "terminal": "answers monthly",
    "demo": "nginx",
    "doctor": "access nginx",
    "http": "access answers queries",
    "mcp_server": "access answers queries http",
    "server": "access queries monthly http mcp_server",
    "commands": "answers access nginx queries monthly terminal demo doctor mcp_server server",
    "main": "commands",
}
API_BRIDGE = {
    "answers": "core settings store texts traces",
    "access": "core identity settings store wiring",
    "nginx": "core logs",
    "queries": "core identity rows settings store traces wiring",
    "monthly": "alerts core rows settings store texts wiring",
    "terminal": "core texts",
    "demo": "core logs store traces",
    "doctor": "alerts core identity logs settings spans store wiring",
    "http": "alerts core export settings spans store texts wiring",
    "mcp_server": "core settings wiring texts",
    "server": "core rows settings spans store wiring",
    "commands": "alerts core export identity logs rows settings store traces transfer wiring texts",
    "main": "core",
}
ARROWS = (
    ("tailtrace_bridge", "tailtrace_bridge", BRIDGE_ROOMS),
    ("tailtrace_api", "tailtrace_api", API_ROOMS),
    ("tailtrace_api", "tailtrace_bridge", API_BRIDGE),
)
"""Which room may import which: a room stands below those that may import it, so the first two tables are ladders.

An arrow that is missing here is a question first: does the name stand in the right room? If it does, add the arrow.
"""

PURE = (
    "tailtrace_bridge.alerts.judge",
    "tailtrace_bridge.settings.alert_rules",
    "tailtrace_bridge.alerts.words",
    "tailtrace_bridge.core.records",
    "tailtrace_bridge.core.errors",
    "tailtrace_bridge.core.text",
    "tailtrace_bridge.store.values",
    "tailtrace_bridge.transfer.format",
    "tailtrace_bridge.logs.block_format",
    "tailtrace_bridge.logs.format",
    "tailtrace_bridge.logs.addresses",
    "tailtrace_bridge.logs.extractor",
    "tailtrace_bridge.logs.numbers",
    "tailtrace_bridge.logs.parser",
    "tailtrace_bridge.logs.rejected",
    "tailtrace_bridge.logs.request_line",
    "tailtrace_bridge.logs.texts",
    "tailtrace_bridge.logs.times",
    "tailtrace_bridge.spans.otlp",
    "tailtrace_bridge.export.choice",
    "tailtrace_bridge.export.nginx_span",
    "tailtrace_bridge.export.request_durations",
    "tailtrace_bridge.export.wire",
    "tailtrace_bridge.traces.choice",
    "tailtrace_bridge.traces.groups",
    "tailtrace_bridge.traces.runs",
    "tailtrace_bridge.traces.versions",
    "tailtrace_bridge.traces.pack",
    "tailtrace_bridge.traces.scrubbed",
    "tailtrace_bridge.traces.stack",
    "tailtrace_bridge.rows.join",
    "tailtrace_bridge.identity.pseudonyms",
    "tailtrace_bridge.rows.routes",
    "tailtrace_bridge.logs.scrub",
    "tailtrace_bridge.rows.traffic",
    "tailtrace_api.answers.requests",
    "tailtrace_api.answers.panels",
    "tailtrace_api.answers.traces",
    "tailtrace_api.doctor.checks",
    "tailtrace_api.doctor.nginx",
    "tailtrace_api.doctor.patch",
    "tailtrace_api.monthly.month",
    "tailtrace_api.monthly.numbers",
    "tailtrace_api.monthly.charts",
    "tailtrace_api.monthly.words",
)
OUTSIDE_WORLD = frozenset(
    {
        "asyncio",
        "concurrent",
        "glob",
        "httpx",
        "io",
        "multiprocessing",
        "os",
        "pathlib",
        "random",
        "secrets",
        "selectors",
        "shutil",
        "signal",
        "socket",
        "sqlite3",
        "ssl",
        "subprocess",
        "tempfile",
        "threading",
        "time",
        "urllib.request",
        "uuid",
    }
)
OUTSIDE_CALLS = frozenset({"open", "input", "print", "now", "utcnow", "today"})


def outside(source: str) -> list[str]:
    """What a module's text takes from the outside world: modules imported, and calls of clock, file and terminal."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Call):
            called = getattr(node.func, "id", getattr(node.func, "attr", ""))
            found += [f"{called}()"] if called in OUTSIDE_CALLS else []
            continue
        else:
            continue
        found += [name for name in names if name in OUTSIDE_WORLD or name.partition(".")[0] in OUTSIDE_WORLD]
    return found


@pytest.mark.parametrize(
    ("package", "never"),
    [("tailtrace", ("tailtrace_bridge", "tailtrace_api")), ("tailtrace_bridge", ("tailtrace_api",))],
)
def test_arrows_point_one_way(package: str, never: tuple[str, ...]) -> None:
    wrong = [
        f"{module} imports {imported}"
        for module, imports in IMPORTS.items()
        for imported in imports
        if module.split(".")[0] == package and imported.split(".")[0] in never
    ]
    assert wrong == []


def arrows(imported: Mapping[str, Iterable[str]], source: str, target: str) -> dict[tuple[str, str], str]:
    """Find which room of `source` imports which room of `target`, each with an import that shows it."""
    found = {}
    for module, modules in sorted(imported.items()):
        for other in sorted(modules):
            (package, _, rest), (other_package, _, other_rest) = module.partition("."), other.partition(".")
            room, other_room = rest.partition(".")[0], other_rest.partition(".")[0]
            if (package, other_package) == (source, target) and (package, room) != (other_package, other_room):
                found[room, other_room] = f"{module} imports {other}"
    return found


@pytest.mark.parametrize(("source", "target", "allowed"), ARROWS)
def test_a_room_imports_only_what_its_line_of_the_table_names(
    source: str, target: str, allowed: Mapping[str, str]
) -> None:
    wrong = [
        example
        for (room, other), example in arrows(IMPORTS, source, target).items()
        if other not in allowed.get(room, "").split()
    ]
    assert wrong == [], "an arrow between rooms that the table above does not have"


@pytest.mark.parametrize("table", [BRIDGE_ROOMS, API_ROOMS])
def test_the_table_of_rooms_is_a_ladder(table: Mapping[str, str]) -> None:
    order = list(table)
    upward = [
        f"{room} -> {other}"
        for room, others in table.items()
        for other in others.split()
        if order.index(other) >= order.index(room)
    ]
    assert upward == []


def test_the_arrows_of_a_known_graph() -> None:
    graph = {"a.store.sql": {"a.rows.join", "a.store.base", "b.core"}, "a.rows.join": set(), "a.main": {"a.rows.join"}}
    assert arrows(graph, "a", "a") == {
        ("store", "rows"): "a.store.sql imports a.rows.join",
        ("main", "rows"): "a.main imports a.rows.join",
    }
    assert arrows(graph, "a", "b") == {("store", "core"): "a.store.sql imports b.core"}


def test_no_import_cycle() -> None:
    try:
        GENERATE["levels"](IMPORTS)
    except CycleError as error:
        pytest.fail(f"an import cycle: {' -> '.join(error.args[1])}", pytrace=False)


def test_a_bridge_on_influxdb_loads_nothing_that_it_does_not_use() -> None:
    code = """
import sys, tailtrace_api.commands.cli, tailtrace_api.server.serve, tailtrace_bridge.store.influx.store
print(sorted({"fastapi", "influxdb_client", "mcp", "rich.console", "sqlite3"} & set(sys.modules)))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"


def test_the_levels_of_a_known_graph() -> None:
    assert GENERATE["levels"]({"cli": {"store", "tail"}, "store": {"records"}, "tail": set(), "records": set()}) == {
        "records": 0,
        "tail": 0,
        "store": 1,
        "cli": 2,
    }
    with pytest.raises(CycleError):
        GENERATE["levels"]({"a": {"b"}, "b": {"a"}})


@pytest.mark.parametrize("module", PURE)
def test_pure_modules_touch_nothing_outside(module: str) -> None:
    spec = find_spec(module)
    assert spec is not None, f"{module} is gone: take it off the list of pure modules"
    assert spec.origin is not None
    assert outside(Path(spec.origin).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import time", ["time"]),
        ("def f():\n    import os.path", ["os.path"]),
        ("from pathlib import Path", ["pathlib", "pathlib.Path"]),
        ("from urllib import request", ["urllib.request"]),
        ("from datetime import datetime\nx = datetime.now()", ["now()"]),
        ("open('x')", ["open()"]),
        ("import re, gzip\nfrom urllib.parse import quote\nfrom datetime import UTC", []),
    ],
)
def test_what_counts_as_outside(source: str, found: list[str]) -> None:
    assert outside(source) == found


def test_design_shows_the_ladder_of_now() -> None:
    text = (Path(__file__).parents[1] / "docs" / "design.md").read_text(encoding="utf-8")
    begin, end = GENERATE["LADDER_BEGIN"], GENERATE["LADDER_END"]
    assert text.count(begin) == text.count(end) == 1
    drawn = text.partition(begin)[2].partition(end)[0]
    now = GENERATE["ladder"](GENERATE["levels"](IMPORTS))
    assert drawn == f"\n```text\n{now}\n```\n", "the imports changed: run `make docs` and look at what it drew"
