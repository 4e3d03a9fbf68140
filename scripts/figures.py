# ruff: noqa: INP001, T201 - a script, which prints
"""Figures of the code: how it is cut, how long its pieces are, how much of it is typed. `python scripts/figures.py`.

Another state to compare with: `git worktree add /tmp/before COMMIT && python scripts/figures.py /tmp/before`. It reads
texts alone, imports nothing, and counts .py files of the three packages: rooms are what lies directly in a package, an
arrow is an import between two, and one is upward where it lies in a circle of rooms.
"""

import ast
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

PACKAGES = ("instrumentation/tailtrace", "bridge/tailtrace_bridge", "api/tailtrace_api")
FILE_LINES_MAX = 500
UNTYPED = {"Any", "Answer", "Response", "JSONResponse", "PlainTextResponse", "StreamingResponse", "dict", "None", ""}
"""What a route returns that has no model."""


def main() -> None:
    """Print a line for each figure."""
    root = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[1])
    trees: dict[Path, ast.Module] = {}
    lines: dict[Path, int] = {}
    for package in PACKAGES:
        folder = root / package
        files = sorted(folder.rglob("*.py"))
        texts = {path: path.read_text(encoding="utf-8") for path in files}
        trees |= {path: ast.parse(text) for path, text in texts.items()}
        lines |= {path: len(text.splitlines()) for path, text in texts.items()}
        rooms = {_room(folder, path) for path in files}
        arrows = {pair for path in files for pair in _arrows(folder, path, trees[path], rooms)}
        upward = sum(_leads(arrows, to, start) for start, to in arrows)
        print(f"{folder.name}: {len(rooms)} rooms, {len(arrows)} arrows, {upward} of them upward")
    functions = [node for tree in trees.values() for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    sizes = sorted((node.end_lineno or 0) - node.lineno + 1 for node in functions)
    print(f"lines of product: {sum(lines.values())} in {len(lines)} files, of them {_texts(trees)} of tables of texts")
    median, p90 = statistics.median(sizes), sizes[len(sizes) * 9 // 10]
    print(f"functions: {len(sizes)}, median {median:g} lines, p90 {p90}, max {sizes[-1]}")
    print(f"dict[str, Any]: {sum(_is_any_dict(node) for tree in trees.values() for node in ast.walk(tree))}")
    routes = [node for node in functions if any(_is_route(one) for one in node.decorator_list)]
    print(f"routes: {len(routes)}, with a model: {sum(_has_model(node) for node in routes)}")
    long = {path.relative_to(root).as_posix(): count for path, count in lines.items() if count > FILE_LINES_MAX}
    print(
        f"files over {FILE_LINES_MAX} lines: {', '.join(f'{path} ({count})' for path, count in long.items()) or 'none'}"
    )


def _room(folder: Path, path: Path) -> str:
    return path.relative_to(folder).parts[0].removesuffix(".py")


def _arrows(folder: Path, path: Path, tree: ast.Module, rooms: set[str]) -> Iterator[tuple[str, str]]:
    own = _room(folder, path)
    for node in ast.walk(tree):
        names = [f"{node.module}.{one.name}" for one in node.names] if isinstance(node, ast.ImportFrom) else []
        names += [one.name for one in node.names] if isinstance(node, ast.Import) else []
        for parts in (name.split(".") for name in names):
            if parts[0] == folder.name and len(parts) > 1 and parts[1] in rooms - {own, "__init__"}:
                yield own, parts[1]


def _leads(arrows: set[tuple[str, str]], start: str, goal: str) -> bool:
    """Return whether arrows lead from one room to another."""
    seen, waiting = {start}, [start]
    while waiting:
        here = waiting.pop()
        if here == goal:
            return True
        new = {to for at, to in arrows if at == here} - seen
        seen |= new
        waiting += new
    return False


def _texts(trees: dict[Path, ast.Module]) -> int:
    """Count the lines of tables of what people read, as they stood in modules before the catalogue."""
    named = {"_TEXTS", "TEXTS", "_COUNTED", "PROMPTS"}
    return sum(
        (node.end_lineno or 0) - node.lineno + 1
        for tree in trees.values()
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        and named & {one.id for one in ast.walk(node) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)}
    )


def _is_any_dict(node: ast.AST) -> bool:
    return isinstance(node, ast.Subscript) and ast.unparse(node) == "dict[str, Any]"


def _is_route(node: ast.expr) -> bool:
    called = node.func if isinstance(node, ast.Call) else None
    return isinstance(called, ast.Attribute) and called.attr == "get" and ast.unparse(called.value) in {"router", "app"}


def _has_model(node: ast.FunctionDef) -> bool:
    returned = ast.unparse(node.returns).partition("[")[0].removesuffix(" | None") if node.returns else ""
    keywords = {
        word.arg: ast.unparse(word.value) for one in node.decorator_list for word in getattr(one, "keywords", ())
    }
    return returned not in UNTYPED or keywords.get("response_model", "None") != "None" or "'model'" in str(keywords)


if __name__ == "__main__":
    main()
