"""Packages whose `__init__` only gathers names of their modules, imported without the modules that nobody asks for.

`influxdb_client` imports each of InfluxDB's 320 models and what batches by itself, 13 MiB of a bridge that is to stay
below 64 and uses its write service; `mcp` a client, its HTTP and `cryptography`, 9 MiB of a server that uses none of
them; `uvicorn` its command line.
"""

import ast
import sys
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from types import ModuleType


def gather_lazily(*packages: str) -> None:
    """Import packages, outer ones first; each name that their `__init__` gathers is brought when it is asked for.

    One that is imported already, or whose `__init__` does more than gather, is left to Python's own import.
    """
    for package in packages:
        if package not in sys.modules and (module := _gathering(package)) is not None:
            sys.modules[package] = module
            parent, _, name = package.rpartition(".")
            if parent:
                setattr(sys.modules[parent], name, module)


def _gathering(package: str) -> ModuleType | None:
    spec = find_spec(package)
    loader = spec.loader if spec is not None else None
    source: str | None = getattr(loader, "get_source", lambda _: None)(package)
    origins = _origins(source, package) if source else None
    if spec is None or source is None or origins is None:
        return None
    module = module_from_spec(spec)
    vars(module).update(_version(source))

    def bring(name: str) -> object:  # PEP 562
        if name not in origins:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        origin, original = origins[name]
        value = getattr(import_module(origin), original) if original else import_module(origin)
        setattr(module, name, value)
        return value

    module.__getattr__ = bring  # type: ignore[method-assign]
    return module


def _origins(source: str, package: str) -> dict[str, tuple[str, str]] | None:
    """Return the module, and the name in it, of each name that is gathered; None where more than that is done.

    A module that is gathered itself has no name in it.
    """
    origins: dict[str, tuple[str, str]] = {}
    for statement in ast.parse(source).body:
        match statement:
            case ast.Expr(value=ast.Constant()):  # the docstring
                pass
            case ast.ImportFrom(module="__future__"):
                pass
            case ast.ImportFrom(module=str(origin), level=0 | 1 as level, names=names) if names[0].name != "*":
                origin = f"{package}.{origin}" if level else origin
                origins |= {alias.asname or alias.name: (origin, alias.name) for alias in names}
            case ast.ImportFrom(module=None, level=1, names=names):
                origins |= {alias.asname or alias.name: (f"{package}.{alias.name}", "") for alias in names}
            case ast.Assign(targets=[ast.Name(id="__all__")], value=ast.List()):  # of the same names
                pass
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Name(id=original)) if original in origins:
                origins[name] = origins[original]
            case ast.Assign(targets=[ast.Name(id="__version__")], value=ast.Constant()):  # `_version`
                pass
            case _:
                return None
    return origins


def _version(source: str) -> dict[str, object]:
    """Return `__version__`, where it stands there itself: no import brings it."""
    found: dict[str, object] = {}
    for statement in ast.parse(source).body:
        match statement:
            case ast.Assign(targets=[ast.Name(id="__version__" as name)], value=ast.Constant(value=value)):
                found[name] = value
    return found
