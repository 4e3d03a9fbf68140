"""Settings and files that are named in them, as somebody might give them who means no good, or knows no better."""

import json
import time

import pytest

from tailtrace_bridge.core.errors import SettingsError
from tailtrace_bridge.rows.routes import Routes
from tailtrace_bridge.settings import table as settings
from tailtrace_bridge.wiring import parts

pytestmark = pytest.mark.usefixtures("own_folder")


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "data:text/html,x",
        "//evil.example",
        "https://ana:secret@a",
        "https://a/ b",
        "https://a/\x1b",
        "https://a\nb",
    ],
)
def test_an_address_that_no_link_should_lead_to(url):
    with pytest.raises(SettingsError, match="TAILTRACE_PUBLIC_URL"):
        settings.load(public_url=url)


def test_an_address_for_links():
    assert settings.load(public_url="https://stats.tailnet.ts.net/a").public_url == "https://stats.tailnet.ts.net/a"


@pytest.mark.parametrize(
    "content",
    [
        "[" * 100_000,
        '{"a":' * 100_000,
        "[]",
        "1",
        "",
        "{",
        "\x00",
        '{"paths": {}, "x": "' + "a" * 9_000_000 + '"}',
        "9" * 9999,
    ],
    ids=["deep list", "deep object", "list", "number", "empty", "half", "zero", "too long", "a long number"],
)
def test_an_openapi_file_that_is_none(tmp_path, content):
    (tmp_path / "openapi.json").write_text(content)
    with pytest.raises(SettingsError, match="TAILTRACE_OPENAPI"):
        parts.make_routes(settings.load(openapi=tmp_path / "openapi.json"))


@pytest.mark.parametrize(
    "document",
    [
        {"paths": [1]},
        {"paths": {"/a": None, "": {"get": {}}, "x": {"get": {}}, "/b": {"get": 1, "\x00": {}}}},
        {"paths": {"/{": {"get": {}}, "/}": {"get": {}}, "/{}": {"get": {}}}},
        {"paths": {"/a": {"get": {"summary": ["x"]}}}},
        {"paths": {"/" + "a/" * 5000: {"get": {}}}},
    ],
)
def test_an_openapi_file_with_nonsense_in_it(document):
    routes = Routes()
    routes.learn_openapi(json.loads(json.dumps(document)))
    assert routes.template("GET", "/items/7") == "/items/{id}"


def test_many_templates_make_no_path_slow():
    paths = {
        "/" + "/".join("a" if bits >> place & 1 else "{x}" for place in range(10)) + "/end": {"get": {}}
        for bits in range(1024)
    }
    routes = Routes()
    routes.learn_openapi({"paths": paths})
    begun = time.process_time()
    for number in range(200):
        routes.template("GET", "/" + "a/" * 10 + f"miss{number}")
    assert time.process_time() - begun < 2


@pytest.mark.parametrize(("mode", "is_told"), [(0o644, False), (0o664, False), (0o666, True)])
def test_a_file_that_anyone_may_write_is_told(tmp_path, monkeypatch, caplog, mode, is_told):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tailtrace.toml").write_text('lang = "es"\n')
    (tmp_path / "tailtrace.toml").chmod(mode)
    assert settings.load().lang == "es"
    assert ("anyone may write" in caplog.text) == is_told
