"""A fake control API for each test, a clock that is moved by hand, and a sleep that takes no time."""

import pytest

from tailtrace_bridge.identity.control.testing import FakeControlApi
from tailtrace_bridge.testing import FakeClock

NOW_US = 1_780_000_000_000_000  # 2026-05-28T20:26:40Z


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def clock():
    return FakeClock(NOW_US)


@pytest.fixture
def sleep(clock):
    """A sleep that moves the clock; `sleep.slept_s` has what was asked for."""

    async def sleep(seconds):
        sleep.slept_s.append(seconds)
        clock.now_us += int(seconds * 1_000_000)

    sleep.slept_s = []
    return sleep


@pytest.fixture
def api():
    with FakeControlApi() as api:
        api.devices = [
            {
                "addresses": ["100.64.0.7", "fd7a:115c:a1e0::7"],
                "id": "50053",
                "nodeId": "nALICE11CNTRL",
                "user": "alice@example.com",
                "name": "alice-laptop.tail1234.ts.net",
                "hostname": "Alices-MacBook",
                "connectedToControl": True,
                "lastSeen": "2026-05-28T20:25:00Z",
                "created": "2026-03-01T09:00:00Z",
                "expires": "2026-06-01T00:00:00Z",
                "keyExpiryDisabled": False,
                "isExternal": False,
            },
            {
                "addresses": ["100.64.0.9"],
                "id": "50054",
                "nodeId": "nRUNNER1CNTRL",
                "user": "alice@example.com",
                "tags": ["tag:ci", "tag:server"],
                "name": "runner.tail1234.ts.net",
                "connectedToControl": False,
                "created": "2026-05-01T00:00:00Z",
                "expires": "0001-01-01T00:00:00Z",
                "keyExpiryDisabled": True,
            },
            {
                "addresses": ["100.101.102.103"],
                "id": "50052",
                "nodeId": "nHELLO11CNTRL",
                "user": "services@example.net",
                "name": "hello.example.net",
                "created": "",
                "isExternal": True,
            },
        ]
        yield api
