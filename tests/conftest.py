"""What a test may ask for that a machine may lack, and what happens then.

| the thing is | `TAILTRACE_REQUIRE` names it | the test |
|---|---|---|
| there | either | runs |
| missing | no | is skipped; the reason says what is missing and the command that would bring it |
| missing | yes | fails with the same words: in CI a skip must not look like a pass |

A test asks by a marker: `@pytest.mark.nginx`, `@pytest.mark.shared`.
"""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SHARED_DATA = Path(os.environ.get("TAILTRACE_SHARED_DATA") or ROOT.parent / "shared" / "data")

# Markers of the parts that are still to come: `TAILTRACE_REQUIRE` may name them already.
TO_COME = frozenset({"collector", "influxdb", "tailnet", "browser"})


def _lacks_nginx() -> str | None:
    from tailtrace_api.nginx_process import NginxError, find_nginx

    try:
        find_nginx()
    except NginxError as error:
        return str(error)
    return None


def _lacks_shared() -> str | None:
    if SHARED_DATA.is_dir():
        return None
    return f"no real data in {SHARED_DATA}: set TAILTRACE_SHARED_DATA to the folder that holds it"


LACKS: dict[str, Callable[[], str | None]] = {"nginx": _lacks_nginx, "shared": _lacks_shared}


def _required() -> set[str]:
    return set(os.environ.get("TAILTRACE_REQUIRE", "").replace(",", " ").split())


def pytest_configure() -> None:
    if unknown := _required() - LACKS.keys() - TO_COME:
        raise pytest.UsageError(
            f"TAILTRACE_REQUIRE: no marker is called {', '.join(sorted(unknown))}; there are {', '.join(sorted(LACKS))}"
        )


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
