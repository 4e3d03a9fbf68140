"""The programs of `bench/` are run by hand and seldom: what they take of one another is at least there."""

import ast
import importlib
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[1] / "bench"
PROGRAMS = {path.stem: ast.parse(path.read_text()) for path in sorted(BENCH.glob("*.py"))}


def names_of(tree: ast.Module) -> set[str]:
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)} | {
        name.id for node in ast.walk(tree) if isinstance(node, ast.Assign | ast.AnnAssign)
        for name in ast.walk(node) if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)
    }  # fmt: skip


@pytest.mark.parametrize("program", PROGRAMS)
def test_what_it_imports_of_another_is_there(program):
    for node in ast.walk(PROGRAMS[program]):
        if isinstance(node, ast.ImportFrom) and node.module and node.module in PROGRAMS:
            assert {one.name for one in node.names} <= names_of(PROGRAMS[node.module]), node.module
        elif isinstance(node, ast.ImportFrom) and node.module:
            importlib.import_module(node.module)
