# ruff: noqa: INP001 - a script, not a package
"""Write the parts of the docs that are made from the code: `make docs`. Tests compare each.

| file | part | made from |
|---|---|---|
| `docs/design.md` | the import ladder, between its two markers | the imports of the three packages |
| `docs/settings.md` | all | `tailtrace_bridge.settings.table` |
| `docs/http-api.md` | what is behind its marker: routes, parameters, fields | the API's own OpenAPI document |
| `docs/export.md` | the table of fields, between its two markers | `tailtrace_bridge.transfer.format` |
| `docs/mcp.md` | the clients' configurations, between its two markers | `tailtrace_api.mcp_server.client_config` |

The conversations in `docs/mcp.md` are made by `docs/conversations.py`, from a run of the demo.
"""

import json
import tempfile
from collections.abc import Iterator, Mapping
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import grimp

DOCS = Path(__file__).resolve().parent
PACKAGES = ("tailtrace", "tailtrace_bridge", "tailtrace_api")
LADDER_BEGIN = "<!-- ladder: made by `make docs` -->"
LADDER_END = "<!-- end of the ladder -->"
CONFIGURATIONS_BEGIN = "<!-- configurations: made by `make docs` -->"
CONFIGURATIONS_END = "<!-- end of the configurations -->"
FIELDS_BEGIN = "<!-- fields: made by `make docs` -->"
FIELDS_END = "<!-- end of the fields -->"
ROUTES_BEGIN = "<!-- routes: made by `make docs` -->"


def imports() -> dict[str, set[str]]:
    """Find which modules of ours each module of ours imports, imports inside functions too, and commands by name."""
    from tailtrace_api.commands import cli  # noqa: PLC0415 - as below

    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    for file in cli.COMMANDS.values():
        graph.add_import(importer=cli.__name__, imported=f"tailtrace_api.commands.{file}")
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
    from tailtrace_bridge.transfer.format import FIELDS  # noqa: PLC0415 - as below

    before, _, rest = text.partition(FIELDS_BEGIN)
    _, _, after = rest.partition(FIELDS_END)
    words = {int: "integer", str: "text", bool: "boolean"}
    rows = "".join(f"| `{field.name}` | {words[field.kind]} | {field.meaning} |\n" for field in FIELDS)
    return f"{before}{FIELDS_BEGIN}\n| field | type | meaning |\n|---|---|---|\n{rows}{FIELDS_END}{after}"


def openapi() -> dict[str, Any]:
    """Return the OpenAPI document of the API as `tailtrace api` serves it, on an empty store."""
    from tailtrace_api.server.serve import make_app  # noqa: PLC0415 - as below
    from tailtrace_bridge.rows.routes import Routes  # noqa: PLC0415
    from tailtrace_bridge.settings.table import Settings  # noqa: PLC0415
    from tailtrace_bridge.store.sqlite.store import SqliteStore  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder:
        store = SqliteStore(Path(folder, "empty.db"))
        try:
            document: dict[str, Any] = make_app(Settings(), store, Routes()).openapi()
        finally:
            store.close()
    return document


def with_routes(text: str, document: Mapping[str, Any]) -> str:
    """Return the text of `docs/http-api.md` with the routes of now behind the marker."""
    sections = [
        _route(f"{method.upper()} {path}", operation, document["components"]["schemas"])
        for path, operations in sorted(document["paths"].items())
        for method, operation in operations.items()
    ]
    return text.partition(ROUTES_BEGIN)[0] + ROUTES_BEGIN + "\n\n" + "\n".join(sections)


def _route(title: str, operation: Mapping[str, Any], schemas: Mapping[str, Any]) -> str:
    lines = [f"## {title}", "", operation.get("description", operation["summary"]), ""]
    if parameters := operation.get("parameters"):
        lines += ["| parameter | type | default | is |", "|---|---|---|---|"]
        lines += [
            f"| `{one['name']}` | {_type(one['schema'])} | {_default(one)} | {one.get('description', '')} |"
            for one in parameters
        ]
        lines.append("")
    answer = operation["responses"].get("200", {}).get("content", {}).get("application/json", {}).get("schema", {})
    for example in schemas.get(answer.get("$ref", "").rpartition("/")[2], {}).get("examples", ()):
        lines += ["```json", json.dumps(example, indent=2, ensure_ascii=False), "```", ""]
    if described := [f"| `{name}` | {text} |" for name, text in _described(answer, schemas)]:
        lines += ["| field | is |", "|---|---|", *described, ""]
    return "\n".join(lines)


def _described(schema: Mapping[str, Any], schemas: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    """Return the fields of an answer that say what they are, those of its parts too: `summary.errors_5xx`."""
    if "items" in schema:
        yield from _described(schema["items"], schemas, path)
    for name, field in schemas.get(schema.get("$ref", "").rpartition("/")[2], {}).get("properties", {}).items():
        place = f"{path}.{name}" if path else name
        if "description" in field:
            yield place, field["description"]
        yield from _described(field, schemas, place)


def _type(schema: Mapping[str, Any]) -> str:
    """Say a JSON schema in a word or two: `integer 1 to 30`, `list of AccessLog`."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(_type(one) for one in schema["anyOf"] if one != {"type": "null"})
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    said = str(schema.get("type", "any"))
    if "minimum" in schema and "maximum" in schema:
        said += f" {schema['minimum']} to {schema['maximum']}"
    elif "maxLength" in schema:
        said += f", at most {schema['maxLength']} characters"
    elif "pattern" in schema:
        pattern = str(schema["pattern"]).replace("|", "\\|")
        said += f" `{pattern}`"
    return said


def _default(parameter: Mapping[str, Any]) -> str:
    if parameter.get("required"):
        return "must be given"
    default = parameter["schema"].get("default")
    return "" if default is None else f"`{json.dumps(default)}`"


def with_configurations(text: str) -> str:
    """Return the text of `docs/mcp.md` with what `tailtrace mcp --print-config` prints for somebody called Ana."""
    from tailtrace_api.mcp_server.client_config import CLIENTS, client_config  # noqa: PLC0415 - as below
    from tailtrace_bridge.settings.table import Settings  # noqa: PLC0415

    command = Path("/home/ana/app/.venv/bin/tailtrace")
    settings = Settings.model_construct(store="sqlite:/home/ana/app/tailtrace.db", lang="es")  # of no environment
    names = {"claude-desktop": "Claude Desktop", "claude-code": "Claude Code", "cursor": "Cursor"}
    printed: dict[str, list[str]] = {}
    for client, where in CLIENTS.items():
        told = f"**{names[client]}**: `tailtrace mcp --print-config {client}`. {where}\n"
        printed.setdefault(client_config(client, command, settings), []).append(told)
    parts = ["\n".join([*clients, f"```json\n{config}\n```\n"]) for config, clients in printed.items()]
    before, _, rest = text.partition(CONFIGURATIONS_BEGIN)
    _, _, after = rest.partition(CONFIGURATIONS_END)
    made = "\n".join(parts)
    return f"{before}{CONFIGURATIONS_BEGIN}\n\n{made}\n{CONFIGURATIONS_END}{after}"


def documents() -> dict[Path, str]:
    """Return each generated file and what it should say."""
    from tailtrace_bridge.settings import table as settings  # noqa: PLC0415 - the ladder can be drawn while the settings do not import

    design, export, api, mcp = DOCS / "design.md", DOCS / "export.md", DOCS / "http-api.md", DOCS / "mcp.md"
    return {
        api: with_routes(api.read_text(encoding="utf-8"), openapi()),
        mcp: with_configurations(mcp.read_text(encoding="utf-8")),
        export: with_fields(export.read_text(encoding="utf-8")),
        design: with_ladder(design.read_text(encoding="utf-8")),
        DOCS / "settings.md": settings.markdown(),
    }


if __name__ == "__main__":
    for path, text in documents().items():
        path.write_text(text, encoding="utf-8")
