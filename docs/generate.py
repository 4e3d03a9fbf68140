# ruff: noqa: INP001 - a script, not a package
"""Write the parts of the docs that are made from the code: `make docs`. Tests compare each.

| file | part | made from |
|---|---|---|
| `docs/design.md` | the import ladder, between its two markers | the imports of the three packages |
| `docs/settings.md` | all | `tailtrace_bridge.settings` |
| `docs/export.md` | the table of fields, between its two markers | `tailtrace_bridge.export_format` |
"""

from collections.abc import Mapping
from graphlib import TopologicalSorter
from pathlib import Path

import grimp

DOCS = Path(__file__).resolve().parent
PACKAGES = ("tailtrace", "tailtrace_bridge", "tailtrace_api")
LADDER_BEGIN = "<!-- ladder: made by `make docs` -->"
LADDER_END = "<!-- end of the ladder -->"
FIELDS_BEGIN = "<!-- fields: made by `make docs` -->"
FIELDS_END = "<!-- end of the fields -->"


def imports() -> dict[str, set[str]]:
    """Find which modules of ours each module of ours imports, imports inside functions too."""
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    return {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}


def levels(imported: Mapping[str, set[str]]) -> dict[str, int]:
    """Find the rung of each module: 0 imports nothing of ours, any other stands one above the highest it imports.

    A cycle raises `graphlib.CycleError`, whose second argument names the modules on it.
    """
    rungs: dict[str, int] = {}
    for name in TopologicalSorter(imported).static_order():
        rungs[name] = 1 + max((rungs[below] for below in imported.get(name, ())), default=-1)
    return rungs


def ladder(rungs: Mapping[str, int]) -> str:
    """Draw the rungs, the highest first, a block for each package. Package files that import nothing are left out."""
    packages = {name.rpartition(".")[0] for name in rungs}
    lines: list[str] = []
    for top in reversed(PACKAGES):
        by_rung: dict[int, list[str]] = {}
        for name in sorted(rungs):
            if name.partition(".")[0] == top and not (name in packages and rungs[name] == 0):
                by_rung.setdefault(rungs[name], []).append(name.removeprefix(top).lstrip(".") or "__init__")
        lines += [top, *(f"  {rung:2}  {' · '.join(by_rung[rung])}" for rung in sorted(by_rung, reverse=True)), ""]
    return "\n".join(lines).rstrip()


def with_ladder(text: str) -> str:
    """Return the text of `docs/design.md` with the ladder of now between the markers."""
    before, _, rest = text.partition(LADDER_BEGIN)
    _, _, after = rest.partition(LADDER_END)
    return f"{before}{LADDER_BEGIN}\n```text\n{ladder(levels(imports()))}\n```\n{LADDER_END}{after}"


def with_fields(text: str) -> str:
    """Return the text of `docs/export.md` with the fields of now between the markers."""
    from tailtrace_bridge.export_format import FIELDS  # noqa: PLC0415 - as below

    before, _, rest = text.partition(FIELDS_BEGIN)
    _, _, after = rest.partition(FIELDS_END)
    words = {int: "integer", str: "text", bool: "boolean"}
    rows = "".join(f"| `{field.name}` | {words[field.kind]} | {field.meaning} |\n" for field in FIELDS)
    return f"{before}{FIELDS_BEGIN}\n| field | type | meaning |\n|---|---|---|\n{rows}{FIELDS_END}{after}"


def documents() -> dict[Path, str]:
    """Give each generated file and what it should say."""
    from tailtrace_bridge import settings  # noqa: PLC0415 - the ladder can be drawn while the settings do not import

    design, export = DOCS / "design.md", DOCS / "export.md"
    return {
        export: with_fields(export.read_text(encoding="utf-8")),
        design: with_ladder(design.read_text(encoding="utf-8")),
        DOCS / "settings.md": settings.markdown(),
    }


if __name__ == "__main__":
    for path, text in documents().items():
        path.write_text(text, encoding="utf-8")
