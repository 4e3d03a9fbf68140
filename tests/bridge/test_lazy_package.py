"""A package that only gathers names is imported without what nobody asked for, and is the same to who asks."""

import importlib
import importlib.util
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from tailtrace_bridge.core.lazy_package import gather_lazily


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Makes a package of the given `__init__`, with the modules `one` and `two`; gives its name."""
    made = []

    def make(init: str) -> str:
        name = f"gathered{len(made)}"
        folder = tmp_path / name
        folder.mkdir()
        (folder / "__init__.py").write_text(init.replace("PACKAGE", name))
        (folder / "one.py").write_text(f"from {name} import Two\nclass One: two = Two\n")
        (folder / "two.py").write_text("class Two: pass\n")
        made.append(name)
        importlib.invalidate_caches()
        return name

    monkeypatch.syspath_prepend(tmp_path)
    yield make
    for name in [one for one in sys.modules if one.partition(".")[0] in made]:
        del sys.modules[name]


GATHERS = '"""What it is."""\nfrom __future__ import annotations\nfrom PACKAGE.two import Two as Two\nfrom PACKAGE.one import One\nAlias = One\n'


def test_a_name_is_brought_when_it_is_asked_for(package):
    name = package(GATHERS)
    gather_lazily(name)
    module = importlib.import_module(name)
    assert f"{name}.one" not in sys.modules
    from_two = module.Two
    assert f"{name}.one" not in sys.modules
    assert module.One.two is from_two
    assert module.Alias is module.One
    assert module.One is module.__dict__["One"], "asked for once, then it is there"
    assert importlib.import_module(f"{name}.two").Two is from_two


def test_names_from_beside_and_a_list_of_all(package):
    name = package(
        "from . import two as second\nfrom .one import One\nfrom .two import Two as Second\n__all__ = ['One', 'Second']\n"
    )
    (Path(importlib.util.find_spec(name).origin).parent / "one.py").write_text("class One: pass\n")
    gather_lazily(name)
    module = importlib.import_module(name)
    assert f"{name}.two" not in sys.modules
    assert module.Second is importlib.import_module(f"{name}.two").Two
    assert module.second is importlib.import_module(f"{name}.two")
    assert module.One.__module__ == f"{name}.one"


def test_a_name_that_there_is_not(package):
    name = package(GATHERS)
    gather_lazily(name)
    module = importlib.import_module(name)
    with pytest.raises(AttributeError, match=f"module '{name}' has no attribute 'Three'"):
        module.Three  # noqa: B018


@pytest.mark.parametrize(
    "more",
    [
        "VALUE = 1",
        "import os",
        "__all__ = (1,)",
        "for _ in (): pass",
        "from PACKAGE.two import *",
    ],
)
def test_a_package_that_does_more_is_left_to_python(package, more):
    name = package(GATHERS + more)
    gather_lazily(name)
    assert name not in sys.modules
    assert importlib.import_module(name).One.two is importlib.import_module(name).Two


def test_a_package_inside_stands_in_its_parent(package, tmp_path):
    name = package(GATHERS)
    inner = tmp_path / name / "inner"
    inner.mkdir()
    (inner / "__init__.py").write_text(f"from {name}.two import Two\n")
    gather_lazily(name, f"{name}.inner")
    module = importlib.import_module(name)
    assert module.inner is sys.modules[f"{name}.inner"]
    assert module.inner.Two is module.Two


def test_what_is_imported_already_stays(package):
    name = package(GATHERS)
    module = importlib.import_module(name)
    gather_lazily(name)
    assert sys.modules[name] is module


def test_no_such_package():
    gather_lazily("never_heard_of")
    assert "never_heard_of" not in sys.modules


def test_influxdb_client_is_such_a_package_and_each_of_its_names_is_there():
    code = """
import sys
from tailtrace_bridge.core.lazy_package import gather_lazily
gather_lazily("influxdb_client", "influxdb_client.client", "influxdb_client.domain", "influxdb_client.service")
from influxdb_client.client.influxdb_client import InfluxDBClient
import influxdb_client
print(sum(name.startswith("influxdb_client.domain.") for name in sys.modules))
print(influxdb_client.InfluxDBClient is InfluxDBClient, influxdb_client.WritePrecision.NS, influxdb_client.__version__)
from influxdb_client.domain import Dashboard
print(Dashboard is influxdb_client.Dashboard)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    from influxdb_client.version import VERSION

    assert int(said[0]) < 100, "of more than 300"
    assert said[1:] == ["True", "ns", VERSION, "True"]


def test_who_writes_to_influxdb_loads_the_write_service_and_how_to_sign_in_and_out():
    code = """
import sys
from tailtrace_bridge.store.influx.wire.query import Server
from tailtrace_bridge.store.influx.wire.write import client_post
client_post(Server("http://127.0.0.1:9", "org", "token"))
print(*sorted(name.partition("service.")[2] for name in sys.modules if name.startswith("influxdb_client.service.")))
import influxdb_client.client
print(influxdb_client.client.QueryService.__name__)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    assert said == ["_base_service signin_service signout_service write_service", "QueryService"]


def test_mcp_is_such_a_package_and_its_server_comes_without_a_client():
    code = """
import sys
from tailtrace_bridge.core.lazy_package import gather_lazily
gather_lazily("mcp", "mcp.server")
import tailtrace_api.mcp_server.server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
print([name for name in ("mcp.client.session", "httpx2", "cryptography") if name in sys.modules])
import mcp
print(mcp.ClientSession.__module__, all(hasattr(mcp, name) for name in ("Client", "Tool", "stdio_server", "MCPError")))
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    assert said == ["[]", "mcp.client.session True"]


def test_uvicorn_is_such_a_package_and_its_server_comes_without_a_command_line():
    code = """
import sys
from tailtrace_bridge.core.lazy_package import gather_lazily
gather_lazily("uvicorn")
from uvicorn.config import Config
from uvicorn.server import Server
print([name for name in ("uvicorn.main", "click") if name in sys.modules])
import uvicorn
print(uvicorn.Server is Server, uvicorn.run.__module__, uvicorn.__version__)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    assert said == ["[]", f"True uvicorn.main {version('uvicorn')}"]
