"""What a test may ask for that a machine may lack, and what happens then.

| the thing is | `TAILTRACE_REQUIRE` names it | the test |
|---|---|---|
| there | either | runs |
| missing | no | is skipped; the reason says what is missing and the command that would bring it |
| missing | yes | fails with the same words: in CI a skip must not look like a pass |

A test asks by a marker: `@pytest.mark.nginx`, `@pytest.mark.shared`, `@pytest.mark.tailnet`, `@pytest.mark.pdf`,
`@pytest.mark.inspector`, `@pytest.mark.chromium`, `@pytest.mark.lighthouse`, `@pytest.mark.collector`, `@pytest.mark.influxdb`, `@pytest.mark.jaeger`,
`@pytest.mark.headscale`, `@pytest.mark.docker`, `@pytest.mark.mount`, `@pytest.mark.netns`.
`tests/stack/servers.py` has the fixtures for the last two.
"""

import functools
import importlib.util
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import hypothesis
import pytest

# Neither a slow machine nor other work beside the tests is a finding: time is measured in bench/ alone.
hypothesis.settings.register_profile(
    "tailtrace", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
if not os.environ.get("CI"):  # there Hypothesis's own profile says the same, and draws the same examples each time
    hypothesis.settings.load_profile("tailtrace")

ROOT = Path(__file__).parents[1]
SHARED_DATA = Path(os.environ.get("TAILTRACE_SHARED_DATA") or ROOT.parent / "shared" / "data")

# What `TAILTRACE_REQUIRE` may name beside the markers: `browser` was to be the name of `chromium`; `make soak` wants
# libfaketime.
TO_COME = frozenset({"browser", "faketime"})

CACHE = Path.home() / ".cache" / "tailtrace"
OTELCOL = Path(os.environ.get("TAILTRACE_OTELCOL") or CACHE / "otelcol" / "otelcol")
INSPECTOR = Path(
    os.environ.get("TAILTRACE_INSPECTOR") or CACHE / "inspector" / "node_modules" / ".bin" / "mcp-inspector"
)
LIGHTHOUSE = Path(
    os.environ.get("TAILTRACE_LIGHTHOUSE") or CACHE / "lighthouse" / "node_modules" / ".bin" / "lighthouse"
)
CHROMIUM = os.environ.get("TAILTRACE_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
PAGE = ROOT / "api" / "tailtrace_api" / "static" / "index.html"
HEADSCALE = Path(os.environ.get("TAILTRACE_HEADSCALE") or CACHE / "headscale" / "headscale")
TAILNET = CACHE / "tailnet"
JAEGER = Path(os.environ.get("TAILTRACE_JAEGER") or CACHE / "jaeger" / "all-in-one")
INFLUXD1 = Path(os.environ.get("TAILTRACE_INFLUXD1") or CACHE / "influxdb1" / "influxd")
OPENGEMINI = CACHE / "opengemini"
INFLUXD = Path(os.environ.get("TAILTRACE_INFLUXD") or CACHE / "influxdb" / "influxd")


def _lacks_nginx() -> str | None:
    from tailtrace_api.nginx.process import NginxError, find_nginx

    try:
        find_nginx()
    except NginxError as error:
        return str(error)
    return None


def _lacks_shared() -> str | None:
    if SHARED_DATA.is_dir():
        return None
    return f"no real data in {SHARED_DATA}: set TAILTRACE_SHARED_DATA to the folder that holds it"


@functools.cache
def _lacks_tailnet() -> str | None:
    """Real daemons in network namespaces: what they need of the machine, and what `make tailnet` builds."""
    if os.geteuid() != 0:
        return "a tailnet of our own needs root, for network namespaces: sudo make test ARGS='-m tailnet'"
    if not Path("/dev/net/tun").exists():
        return "no /dev/net/tun: modprobe tun (in a container: --device /dev/net/tun --cap-add NET_ADMIN,SYS_ADMIN)"
    if missing := [name for name in ("ip", "curl", "unshare") if not shutil.which(name)]:
        return f"no {', '.join(missing)}: apt install iproute2 curl util-linux"
    if subprocess.run(["unshare", "--net", "true"], check=False, capture_output=True).returncode:
        return "no network namespaces here: in a container, add --cap-add NET_ADMIN,SYS_ADMIN"
    return _lacks_daemons("tailscaled", "tailscale", "control")


def _lacks_daemons(*names: str) -> str | None:
    if missing := [name for name in names if not (TAILNET / name).exists()]:
        return f"no {', '.join(missing)} in {TAILNET}: make tailnet"
    return None


def _lacks_opengemini() -> str | None:
    if missing := [name for name in ("ts-meta", "ts-store", "ts-sql") if not (OPENGEMINI / name).exists()]:
        return f"no {', '.join(missing)} in {OPENGEMINI}: make opengemini"
    return None


def _lacks_headscale() -> str | None:
    """The server, and the daemons that are its nodes."""
    lacks = _lacks_program(HEADSCALE, "make headscale", "TAILTRACE_HEADSCALE")
    return lacks or _lacks_daemons("tailscaled", "tailscale")


@functools.cache
def _lacks_mount() -> str | None:
    """A folder mounted read-only, in a namespace of the command's own; and root that gives up its powers."""
    if os.geteuid() != 0:
        return "a mount of our own needs root: sudo make test ARGS='-m mount'"
    if missing := [name for name in ("unshare", "setpriv", "mount") if not shutil.which(name)]:
        return f"no {', '.join(missing)}: apt install util-linux mount"
    if subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True).returncode:
        return "no mount namespaces here: in a container, add --cap-add SYS_ADMIN"
    return None


@functools.cache
def _lacks_netns() -> str | None:
    """A network of many addresses, in a namespace of the test's own."""
    if os.geteuid() != 0:
        return "a network namespace of our own needs root: sudo make test ARGS='-m netns'"
    if missing := [name for name in ("ip", "unshare") if not shutil.which(name)]:
        return f"no {', '.join(missing)}: apt install iproute2 util-linux"
    if subprocess.run(["unshare", "--net", "true"], check=False, capture_output=True).returncode:
        return "no network namespaces here: in a container, add --cap-add NET_ADMIN,SYS_ADMIN"
    return None


@functools.cache
def _lacks_docker() -> str | None:
    """An engine that we may start, Compose, and the programs that stand-in images are made of."""
    spec = importlib.util.spec_from_file_location(
        "tailtrace_test_engine_lacks", ROOT / "tests" / "docker" / "engine.py"
    )
    assert spec is not None
    assert spec.loader is not None
    engine = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(engine)
    reason: str | None = engine.lacks()
    return reason


def _lacks_program(path: Path, build: str, variable: str) -> str | None:
    if os.access(path, os.X_OK):
        return None
    return f"no program {path}: {build} builds one in minutes, or {variable} names one"


@functools.cache
def _lacks_pdf() -> str | None:
    """WeasyPrint, its libraries, and fonts for the scripts that the tests write names in."""
    from tailtrace_api.monthly.pdf import FONTS, PdfError, make_pdf

    try:
        missing = make_pdf("<p>ana 李 김 Юлия فاطمة नेहा ไทย 🍫").missing
    except PdfError as error:
        return str(error)
    return f"no font has {missing}: apt install {FONTS}" if missing else None


def _lacks_of_node(program: Path, install: str, variable: str) -> str | None:
    if not shutil.which("node"):
        return "no node: apt install nodejs npm, or https://nodejs.org"
    if os.access(program, os.X_OK):
        return None
    return f"no program {program}: {install} installs one, or {variable} names one"


def _lacks_chromium() -> str | None:
    if CHROMIUM is None:
        return "no chromium: apt install chromium, or TAILTRACE_CHROMIUM names one"
    if not PAGE.is_file():
        return f"no page in {PAGE.parent}: make web"
    return None


LACKS: dict[str, Callable[[], str | None]] = {
    "nginx": _lacks_nginx,
    "chromium": _lacks_chromium,
    "shared": _lacks_shared,
    "tailnet": _lacks_tailnet,
    "collector": lambda: _lacks_program(OTELCOL, "make collector", "TAILTRACE_OTELCOL"),
    "jaeger": lambda: _lacks_program(JAEGER, "make jaeger", "TAILTRACE_JAEGER"),
    "pdf": _lacks_pdf,
    "inspector": lambda: _lacks_of_node(INSPECTOR, "make inspector", "TAILTRACE_INSPECTOR"),
    "lighthouse": lambda: _lacks_of_node(LIGHTHOUSE, "make lighthouse", "TAILTRACE_LIGHTHOUSE"),
    "mount": _lacks_mount,
    "netns": _lacks_netns,
    "headscale": _lacks_headscale,
    "docker": _lacks_docker,
    "influxdb1": lambda: _lacks_program(INFLUXD1, "make influxdb1", "TAILTRACE_INFLUXD1"),
    "opengemini": _lacks_opengemini,
    "influxdb": lambda: _lacks_program(INFLUXD, "make influxdb", "TAILTRACE_INFLUXD"),
}

LONG = frozenset(
    {
        "slow",
        "collector",
        "influxdb",
        "tailnet",
        "chromium",
        "headscale",
        "inspector",
        "jaeger",
        "lighthouse",
        "docker",
        "influxdb1",
        "opengemini",
        "mount",
        "pdf",
    }
)
"""Markers of what `make test` leaves to the longer targets."""


def _required() -> set[str]:
    return set(os.environ.get("TAILTRACE_REQUIRE", "").replace(",", " ").split())


def pytest_configure(config: pytest.Config) -> None:
    # By its path, since the tests are no package.
    if (servers := Path(__file__).with_name("stack") / "servers.py").exists():
        spec = importlib.util.spec_from_file_location("tailtrace_test_servers", servers)
        assert spec is not None
        assert spec.loader is not None
        plugin = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(plugin)
        config.pluginmanager.register(plugin, spec.name)
    if unknown := _required() - LACKS.keys() - TO_COME:
        raise pytest.UsageError(
            f"TAILTRACE_REQUIRE: no marker is called {', '.join(sorted(unknown))}; there are {', '.join(sorted(LACKS))}"
        )


@pytest.hookimpl(tryfirst=True)  # before `-m` looks at the markers
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if any(item.get_closest_marker(name) for name in LONG) or _is_of_another_nginx(item):
            item.add_marker(pytest.mark.long)


def _is_of_another_nginx(item: pytest.Item) -> bool:
    """Whether it tries once more, with another nginx than the first, what `make test` tries with that one."""
    from tailtrace_api.nginx.process import nginx_binaries

    nginx = item.callspec.params.get("nginx") if hasattr(item, "callspec") else None
    return nginx is not None and nginx in nginx_binaries()[1:]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show why a test that was run once more had failed: its second run may fail for another reason, or pass."""
    for report in terminalreporter.stats.get("rerun", ()):
        terminalreporter.section(f"first run of {report.nodeid}", sep="_")
        terminalreporter.write_line(report.longreprtext)


def pytest_runtest_setup(item: pytest.Item) -> None:
    for name, lacks in LACKS.items():
        if item.get_closest_marker(name) is None or (reason := lacks()) is None:
            continue
        if name in _required():
            pytest.fail(f"TAILTRACE_REQUIRE asks for {name}: {reason}", pytrace=False)
        pytest.skip(reason)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data; only for tests with the marker `shared`."""
    return SHARED_DATA


@pytest.fixture(scope="session")
def headscale_programs() -> tuple[Path, Path]:
    """Headscale, and the folder of the daemons; only for tests with the marker `headscale`."""
    return HEADSCALE, TAILNET


@pytest.fixture(scope="session")
def inspector_program() -> Path:
    """The MCP Inspector; only for tests with the marker `inspector`."""
    return INSPECTOR


@pytest.fixture(scope="session")
def lighthouse_program() -> Path:
    """Lighthouse; only for tests with the marker `lighthouse`."""
    return LIGHTHOUSE


@pytest.fixture(scope="session")
def chromium_program() -> str | None:
    """A browser; only for tests with the marker `chromium`."""
    return CHROMIUM


@pytest.fixture(scope="session")
def otelcol_program() -> Path:
    """The collector; only for tests with the marker `collector`."""
    return OTELCOL


@pytest.fixture(scope="session")
def jaeger_program() -> Path:
    """Jaeger; only for tests with the marker `jaeger`."""
    return JAEGER


@pytest.fixture(scope="session")
def influxd_program() -> Path:
    """InfluxDB 2; only for tests with the marker `influxdb`."""
    return INFLUXD


@pytest.fixture(scope="session")
def influxd1_program() -> Path:
    """InfluxDB 1; only for tests with the marker `influxdb1`."""
    return INFLUXD1


@pytest.fixture(scope="session")
def opengemini_programs() -> Path:
    """The folder of openGemini's programs; only for tests with the marker `opengemini`."""
    return OPENGEMINI


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to be in, no setting of whoever runs the tests, and no tailscaled: for what reads the environment."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("TAILTRACE_", "TAILSCALE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TAILSCALE_SOCKET", str(tmp_path / "none.sock"))
    return tmp_path
