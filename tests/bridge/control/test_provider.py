"""The provider `control`: never waits, knows when it does not know; and the settings that make it."""

import threading
import time

import pytest

from tailtrace_bridge.core.errors import ControlUnavailableError, SettingsError
from tailtrace_bridge.core.records import Identity
from tailtrace_bridge.identity.chain import Found, NotFound, Unavailable
from tailtrace_bridge.identity.control.client import TailscaleClient
from tailtrace_bridge.identity.control.devices import Holder, read_tailscale
from tailtrace_bridge.identity.control.headscale import HeadscaleClient
from tailtrace_bridge.identity.control.provider import DeviceIndexProvider
from tailtrace_bridge.identity.control.testing import API_KEY, CLIENT_ID, CLIENT_SECRET, FakeAnswer
from tailtrace_bridge.settings.table import load
from tailtrace_bridge.wiring.devices import make_client, make_device_provider

ALICE = Identity("100.64.0.7", "user", "alice@example.com", "alice-laptop", "nALICE11CNTRL", "", "control")
ALICE_SINCE_US = 1_772_355_600_000_000  # 2026-03-01T09:00:00Z


@pytest.fixture(autouse=True)
def _settings_of_the_test_only(tmp_path, monkeypatch):
    import os

    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("TAILTRACE_", "TAILSCALE_", "TAILNET"))]:
        monkeypatch.delenv(name)


def until(condition):
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end, "it did not happen within 5 s"
        time.sleep(0.005)


@pytest.fixture
def provider(api, clock):
    provider = make_device_provider(load(tailscale_api_key=API_KEY, tailscale_api_url=api.url), clock)
    assert provider is not None
    yield provider
    provider.close()


def test_before_and_after_the_first_load(provider):
    assert provider.name == "control"
    assert provider.whois("100.64.0.7") == Unavailable("the list of devices is not loaded yet; start() loads it")
    assert provider.holder_at("100.64.0.7", 0).identity is None
    provider.start()
    provider.start()
    assert provider.wait_loaded(5)
    assert provider.whois("100.64.0.7") == Found(ALICE, ALICE_SINCE_US)
    assert provider.whois("fd7a:115c:a1e0::7").identity.device == "alice-laptop"
    assert provider.whois("100.64.0.8") == NotFound()
    assert provider.whois("unix:") == NotFound()
    assert provider.holder_at("100.64.0.7", 1_772_355_600_000_000) == Holder(ALICE)
    assert provider.holder_at("100.64.0.7", 1_772_355_599_999_999).reason == (
        "alice-laptop has this address today, but exists only since 2026-03-01 09:00 UTC"
    )
    assert provider.loads == 1


def test_an_oauth_client_in_the_thread(api, clock):
    flags = {"tailscale_oauth_client_id": CLIENT_ID, "tailscale_oauth_client_secret": CLIENT_SECRET}
    provider = make_device_provider(load(**flags, tailscale_api_url=api.url), clock)
    provider.start()
    assert provider.wait_loaded(5)
    assert provider.whois("100.64.0.7") == Found(ALICE, ALICE_SINCE_US)
    provider.close()
    assert api.requests == ["POST /api/v2/oauth/token", "GET /api/v2/tailnet/-/devices?fields=default"]


def test_an_index_that_is_too_old_is_none(provider, clock):
    provider.start()
    assert provider.wait_loaded(5)
    clock.now_us += (300 + 3600) * 1_000_000
    assert provider.whois("100.64.0.7") == Found(ALICE, ALICE_SINCE_US)
    clock.now_us += 1
    answer = provider.whois("100.64.0.7")
    assert isinstance(answer, Unavailable)
    assert "too old" in answer.reason


def test_a_refused_key_is_said(api, provider):
    api.api_keys.clear()
    provider.start()
    assert provider.wait_loaded(5)
    answer = provider.whois("100.64.0.7")
    assert isinstance(answer, Unavailable)
    assert "TAILSCALE_API_KEY is wrong, revoked or expired" in answer.reason
    assert API_KEY not in answer.reason


def test_whois_does_not_wait_and_close_ends_a_load(api, provider):
    api.next_answers.append(FakeAnswer(delay_s=30))
    provider.start()
    until(lambda: api.requests)
    begin = time.monotonic()
    assert isinstance(provider.whois("100.64.0.7"), Unavailable)
    provider.close()
    assert time.monotonic() - begin < 10
    assert "control-devices" not in [thread.name for thread in threading.enumerate()]


class Source:
    """Returns its lists one after the other; an exception is raised; the last one stays."""

    def __init__(self, *lists):
        self.lists = list(lists)
        self.closed = False

    async def load_devices(self):
        answer = self.lists.pop(0) if len(self.lists) > 1 else self.lists[0]
        if isinstance(answer, Exception):
            raise answer
        return tuple(read_tailscale(device) for device in answer)

    async def aclose(self):
        self.closed = True


def test_the_thread_renews_and_outlives_failures(clock):
    def device(name):
        return {"nodeId": name, "name": name, "user": "u", "addresses": ["100.64.0.1"]}

    source = Source(ControlUnavailableError("down"), [device("old")], ValueError("secret"), [device("new")])
    provider = DeviceIndexProvider(lambda: source, clock=clock, refresh_s=0.05, retry_s=0.05)
    provider.start()
    names = []

    def name():
        answer = provider.whois("100.64.0.1")
        if isinstance(answer, Found) and answer.identity.device not in names:
            names.append(answer.identity.device)
        return names[-1:]

    until(lambda: name() == ["new"])
    provider.close()
    assert names == ["old", "new"]
    assert (provider.failures, provider.problem, source.closed) == (2, "", True)


def test_without_a_key_there_is_no_provider(clock):
    assert make_device_provider(load(), clock) is None


@pytest.mark.parametrize(
    ("flags", "kind"),
    [
        ({"tailscale_api_key": "tskey-api-x"}, TailscaleClient),
        ({"tailscale_api_key": "tskey-api-x", "tailscale_api_url": "http://127.0.0.1:1"}, TailscaleClient),
        ({"tailscale_api_key": "abc.def", "tailscale_api_url": "https://hs.example.com"}, HeadscaleClient),
        (
            {"tailscale_api_key": "abc", "tailscale_api_url": "https://hs.example.com", "control": "tailscale"},
            TailscaleClient,
        ),
        (
            {"tailscale_api_key": "tskey-x", "tailscale_api_url": "https://hs.example.com", "control": "headscale"},
            HeadscaleClient,
        ),
        ({"tailscale_oauth_client_id": "k", "tailscale_oauth_client_secret": "tskey-client-x"}, TailscaleClient),
    ],
)
def test_which_client(clock, flags, kind):
    assert type(make_client(load(**flags), clock)) is kind


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ({"tailscale_oauth_client_id": "k"}, "go together; set both"),
        ({"tailscale_oauth_client_secret": "s"}, "go together; set both"),
        (
            {"tailscale_api_key": "a", "tailscale_oauth_client_id": "k", "tailscale_oauth_client_secret": "s"},
            "keep one",
        ),
        ({"tailscale_api_key": "abc", "control": "headscale"}, "Headscale needs its URL"),
        ({"tailscale_api_key": "tskey-é"}, "TAILSCALE_API_KEY: it has a character that no HTTP header can carry"),
        ({"tailscale_api_key_file": "missing"}, "TAILSCALE_API_KEY_FILE: cannot read missing: No such file"),
        ({"tailscale_api_key_file": "empty"}, "TAILSCALE_API_KEY_FILE: empty is empty"),
        ({"tailscale_api_key": "a", "tailscale_api_key_file": "empty"}, "are both set; keep one"),
    ],
)
def test_settings_that_contradict_each_other(clock, tmp_path, flags, says):
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(SettingsError) as caught:
        make_device_provider(load(**flags), clock)
    assert says in str(caught.value)


def test_the_settings_as_people_write_them(tmp_path, monkeypatch):
    (tmp_path / "key").write_text(f"{API_KEY}\n")
    monkeypatch.setenv("TAILSCALE_API_KEY_FILE", str(tmp_path / "key"))
    monkeypatch.setenv("TAILSCALE_OAUTH_CLIENT_SECRET", CLIENT_SECRET)
    monkeypatch.setenv("TAILNET", "example.com")
    settings = load()
    assert settings.secret("tailscale_api_key").get_secret_value() == API_KEY
    assert (settings.tailnet, settings.tailscale_api_url) == ("example.com", "https://api.tailscale.com")
    assert CLIENT_SECRET not in f"{settings!r} {settings} {settings.model_dump_json()}"
    monkeypatch.setenv("TAILSCALE_API_URL", "ftp://x")
    with pytest.raises(SettingsError, match="TAILSCALE_API_URL: ") as caught:
        load()
    assert CLIENT_SECRET not in str(caught.value)
