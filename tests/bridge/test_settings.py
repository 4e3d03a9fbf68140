"""Flags beat the environment, which beats the file, which beats the default; each wrong setting has its line."""

import os
import pickle

import pytest
from pydantic import AliasChoices

from tailtrace_bridge.core.errors import SettingsError
from tailtrace_bridge.core.files.atomic import replace_file
from tailtrace_bridge.core.secret import Secret
from tailtrace_bridge.settings.derived import Derived, environment_name, handed, split_listen
from tailtrace_bridge.settings.table import Settings, load, markdown


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("TAILTRACE_", "TAILSCALE_"))]:
        monkeypatch.delenv(name)


def test_who_beats_whom(tmp_path, monkeypatch):
    seen = [load().retention_days]
    (tmp_path / "tailtrace.toml").write_text("retention_days = 10\n")
    seen.append(load().retention_days)
    monkeypatch.setenv("TAILTRACE_RETENTION_DAYS", "20")
    seen.append(load().retention_days)
    seen.append(load(retention_days=30).retention_days)
    seen.append(load(retention_days=None).retention_days)
    assert seen == [0, 10, 20, 30, 20]


def test_features_and_health_paths(tmp_path, monkeypatch):
    (tmp_path / "tailtrace.toml").write_text('[features]\n"/insights/{id}" = "Insights"\n')
    monkeypatch.setenv("TAILTRACE_HEALTH_PATHS", '["/up"]')
    settings = load()
    assert (settings.features, settings.health_paths) == ({"/insights/{id}": "Insights"}, ["/up"])


def test_the_socket_has_its_standard_name(monkeypatch, tmp_path):
    monkeypatch.setenv("TAILSCALE_SOCKET", "/run/a.sock")
    assert str(load().tailscale_socket) == "/run/a.sock"
    monkeypatch.delenv("TAILSCALE_SOCKET")
    (tmp_path / "tailtrace.toml").write_text('tailscale_socket = "/run/b.sock"\n')
    assert str(load().tailscale_socket) == "/run/b.sock"


@pytest.mark.parametrize(
    ("flag", "value", "says"),
    [
        ("timezone", "Europe/Madird", "TAILTRACE_TIMEZONE: 'Europe/Madird' is no IANA time zone"),
        ("timezone", "../etc/passwd", "TAILTRACE_TIMEZONE: '../etc/passwd' is no IANA time zone"),
        ("otlp_listen", "4318", "TAILTRACE_OTLP_LISTEN: '4318' is no HOST:PORT"),
        ("listen", "127.0.0.1:65536", "is no HOST:PORT"),
        ("lang", "fr", "TAILTRACE_LANG: 'fr' is not accepted; write en or es"),
        ("control", "x", "TAILTRACE_CONTROL: 'x' is not accepted; write tailscale or headscale"),
        ("retention_days", -1, "TAILTRACE_RETENTION_DAYS: -1 is not accepted; write a whole number from 0 to 36500"),
        ("poll_ms", 9, "TAILTRACE_POLL_MS: 9 is not accepted; write a whole number from 10 to 10000"),
        ("span_wait_ms", 60_001, "TAILTRACE_SPAN_WAIT_MS: 60001 is not accepted; write a whole number from 0 to 60000"),
        ("requests_per_s", -1, "TAILTRACE_REQUESTS_PER_S: -1 is not accepted; write a whole number, 0 or more"),
        ("pseudonyms", "maybe", "TAILTRACE_PSEUDONYMS: 'maybe' is not accepted; write true or false"),
        (
            "public_url",
            "stats",
            "TAILTRACE_PUBLIC_URL: 'stats' is not accepted; write it like https://stats.example.ts.net",
        ),
        ("checkpoint", "", "TAILTRACE_CHECKPOINT: '.' is no file's name; write one like "),
        ("checkpoint", "/proc/self/fd", "TAILTRACE_CHECKPOINT: '/proc/self/fd' is there and no file; write one like "),
        ("tokens", "/", "TAILTRACE_TOKENS: '/' is no file's name; write one like /var/lib/tailtrace/tokens.json"),
        ("listen", "127.0.0.1:²", "TAILTRACE_LISTEN: '127.0.0.1:²' is no HOST:PORT; write one like 127.0.0.1:8470"),
        ("listen", "127.0.0.1:٣", "is no HOST:PORT"),
        ("listen", " 127.0.0.1:8470", "is no HOST:PORT"),
        ("listen", "http://[::1:1", "is no HOST:PORT"),
        ("otlp_listen", "http://u:pw@h/", "TAILTRACE_OTLP_LISTEN: this address is no HOST:PORT"),
        ("tailscale_socket", "/" + "x" * 107, "… has 108 bytes; a socket's path has 107 at most"),
        ("listen", "unix:/" + "x" * 107, "… has 108 bytes; a socket's path has 107 at most"),
        (
            "influxdb_v2_url",
            "http://[::1",
            "INFLUXDB_V2_URL: 'http://[::1' is no address; write one like https://HOST:",
        ),
        ("tailscale_api_url", "http://a:99999", "TAILSCALE_API_URL: 'http://a:99999' is no address"),
        ("public_url", "https://[::1/", "TAILTRACE_PUBLIC_URL: 'https://[::1/' is no address"),
        ("timezone", "x" * 5000, f"TAILTRACE_TIMEZONE: '{'x' * 78}… is no IANA time zone"),
        ("source", "x" * 129, "…: string should have at most 128 characters"),
    ],
)
def test_what_is_wrong_is_named(flag, value, says):
    with pytest.raises(SettingsError) as caught:
        load(**{flag: value})
    assert says in str(caught.value)


@pytest.mark.parametrize("name", ["HOSTS", "TRACES_ALWAYS", "FEATURES", "ALERTS"])
def test_json_without_an_end_is_refused_like_any_other(monkeypatch, name):
    monkeypatch.setenv(f"TAILTRACE_{name}", "[" * 50_000)
    with pytest.raises(SettingsError) as caught:
        load()
    assert f"TAILTRACE_{name}: '{'[' * 78}… is no JSON; write" in str(caught.value)


def test_what_a_composed_environment_leaves_empty_is_not_set(monkeypatch):
    left = (
        "IDENTITIES",
        "ADMINS_FILE",
        "TOKENS",
        "OPENAPI",
        "PSEUDONYMS_KEY_FILE",
        "ALERT_STATE",
        "FEATURES",
        "ALERTS",
    )
    for name in left:
        monkeypatch.setenv(f"TAILTRACE_{name}", "")
    monkeypatch.setenv("TAILSCALE_SOCKET", "")
    found = load()
    assert str(found.tailscale_socket) == "/var/run/tailscale/tailscaled.sock"
    assert [getattr(found, name.lower()) for name in left] == [None] * 6 + [{}, []]
    assert found.secret("pseudonyms_key") is None


@pytest.mark.parametrize("text", ["a\nb", "é", "a\x00b"])
def test_a_secret_that_no_header_can_carry_is_refused_and_not_shown(text, tmp_path):
    with pytest.raises(SettingsError, match="INFLUXDB_V2_TOKEN: it has a character that") as caught:
        load(influxdb_v2_token=f"{text}rest").secret("influxdb_v2_token")
    assert "rest" not in str(caught.value)
    path = tmp_path / "token"
    path.write_text(f"{text}rest", encoding="utf-8")
    with pytest.raises(
        SettingsError, match="INFLUXDB_V2_TOKEN_FILE: it has a character that no HTTP header can carry"
    ) as of_file:
        load(influxdb_v2_token_file=path).secret("influxdb_v2_token")
    assert "rest" not in str(of_file.value)


def test_a_secret_is_read_without_the_blanks_around_it():
    kept = load(influxdb_v2_token=" abc\n").secret("influxdb_v2_token")
    assert kept is not None
    assert kept.get_secret_value() == "abc"
    assert load(influxdb_v2_token=" ").secret("influxdb_v2_token") is None


def test_what_is_no_file_is_never_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(SettingsError, match="is there and no file"):
        load(checkpoint=pipe)
    with pytest.raises(OSError, match="no plain file"):
        replace_file(pipe, b"{}")
    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]


def test_every_wrong_setting_has_a_line(monkeypatch):
    monkeypatch.setenv("TAILTRACE_LANG", "fr")
    monkeypatch.setenv("TAILTRACE_POLL_MS", "soon")
    with pytest.raises(SettingsError) as caught:
        load()
    assert [line.split(":")[0].strip() for line in str(caught.value).splitlines()[1:]] == [
        "TAILTRACE_POLL_MS",
        "TAILTRACE_LANG",
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("sotre = 'sqlite:x'\n", "tailtrace.toml: sotre: there is no such setting; did you mean store?"),
        ("zzz = 1\n", "tailtrace.toml: zzz: there is no such setting; docs/settings.md lists them"),
        ("store = \n", "tailtrace.toml: Invalid value"),
        ("admins = 3\n", 'tailtrace.toml: admins: 3 is not accepted; write it like ["ana@example.com", '),
        (
            "features = 3\n",
            'tailtrace.toml: features: 3 is not accepted; write it like [features] and below it "/route"',
        ),
        ("alert_urls = 5\n", "tailtrace.toml: alert_urls: this value: input should be a valid string"),
    ],
)
def test_a_wrong_file_is_named(tmp_path, text, says):
    (tmp_path / "tailtrace.toml").write_text(text)
    with pytest.raises(SettingsError) as caught:
        load()
    assert says in str(caught.value)


def test_json_that_is_none_is_refused(monkeypatch):
    monkeypatch.setenv("TAILTRACE_FEATURES", "{")
    with pytest.raises(SettingsError, match="TAILTRACE_FEATURES: "):
        load()


@pytest.mark.parametrize(
    ("value", "place"),
    [("127.0.0.1:0", ("127.0.0.1", 0)), ("[::1]:8470", ("::1", 8470)), ("localhost:1", ("localhost", 1))],
)
def test_listen(value, place):
    assert split_listen(value) == place
    assert load(listen=value).listen == value


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("ana@example.com", ["ana@example.com"]),
        ("ana@example.com, ben@example.com,", ["ana@example.com", "ben@example.com"]),
        ('["ana@example.com", "ben@example.com"]', ["ana@example.com", "ben@example.com"]),
        ('["Ana Ruiz"]', ["Ana Ruiz"]),
        ("o'hara@example.com", ["o'hara@example.com"]),
        ("[]", []),
        ("", []),
    ],
)
def test_a_list_stands_with_commas_or_as_json(monkeypatch, written, read):
    monkeypatch.setenv("TAILTRACE_ADMINS", written)
    assert load().admins == read


@pytest.mark.parametrize(
    "text",
    [
        'admins = "ana,ben"\nlog = "/a.log,/b.log"\naccess = "token,whois"\n',
        'admins = ["ana", "ben"]\nlog = ["/a.log", "/b.log"]\naccess = ["token", "whois"]\n',
    ],
)
def test_the_file_takes_either_form_of_each_list(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tailtrace.toml").write_text(text)
    found = load()
    assert (found.admins, found.log, found.access) == (["ana", "ben"], "/a.log,/b.log", "token,whois")


LISTS = {
    "admins": ("ana", "ben"),
    "hosts": ("a.example", "b.example"),
    "cors_origins": ("https://a.example", "https://b.example"),
    "health_paths": ("/up", "/ping"),
    "static_paths": ("/ui/", "/media/"),
    "trusted_proxies": ("10.0.0.1", "unix:"),
    "serve_proxies": ("10.0.0.1", "10.1.0.0/16"),
    "traces_always": ("user:ana", "endpoint:/items/{item_id}"),
    "log": ("/a.log", "/b b.log"),
    "access": ("local", "whois"),
}


def test_every_list_has_its_line_above():
    from tailtrace_bridge.settings.table import Settings, _joined

    assert set(LISTS) == {
        name
        for name, field in Settings.model_fields.items()
        if field.annotation == list[str] or any(getattr(one, "func", None) is _joined for one in field.metadata)
    }


@pytest.mark.parametrize("written", ["{0},{1}", "{0}, {1}", "{0},\n{1}\n", '["{0}", "{1}"]'])
@pytest.mark.parametrize("field", LISTS)
def test_each_list_is_written_alike(monkeypatch, field, written):
    monkeypatch.setenv(
        f"TAILTRACE_{field.upper()}", written.replace("{0}", LISTS[field][0]).replace("{1}", LISTS[field][1])
    )
    found = getattr(load(), field)
    assert (found.split(",") if isinstance(found, str) else found) == list(LISTS[field])


@pytest.mark.parametrize("between", [" ", "\n", "\t", ";", '","'])
@pytest.mark.parametrize("field", sorted(set(LISTS) - {"log", "access"}))
def test_what_does_not_part_names_is_told(monkeypatch, field, between):
    monkeypatch.setenv(f"TAILTRACE_{field.upper()}", between.join(LISTS[field]))
    with pytest.raises(SettingsError, match=f"TAILTRACE_{field.upper()}: .* write the names with commas: one,two"):
        load()


@pytest.mark.parametrize("between", [" ", "\n", ";", "; "])
def test_two_paths_without_a_comma_are_told(monkeypatch, between):
    monkeypatch.setenv("TAILTRACE_LOG", f"/a.log{between}/b.log")
    with pytest.raises(SettingsError, match=r"TAILTRACE_LOG: .* write the paths with commas: /one.log,/two.log"):
        load()


def test_every_list_of_texts_is_read_alike():
    from pydantic_settings import NoDecode

    from tailtrace_bridge.settings.table import Settings

    lists = [field for field in Settings.model_fields.values() if field.annotation == list[str]]
    assert len(lists) >= 7
    assert all(NoDecode in field.metadata for field in lists)


def test_the_page_has_a_row_for_each_setting():
    from tailtrace_bridge.settings.table import Settings

    rows = [line for line in markdown().splitlines() if line.startswith("| `")]
    assert len(rows) == len(Settings.model_fields)
    assert "| `TAILTRACE_RETENTION_DAYS` | `0` |" in markdown()
    assert "| `TAILSCALE_SOCKET` |" in markdown()


def test_a_name_that_is_no_setting_is_said(monkeypatch, caplog):
    monkeypatch.setenv("TAILTRACE_RETENTION_DAY", "9")
    monkeypatch.setenv("TAILTRACE_NGINX", "/usr/sbin/nginx")
    assert load().retention_days == 0
    assert [record.getMessage() for record in caplog.records] == [
        "TAILTRACE_RETENTION_DAY is no setting of tailtrace; did you mean TAILTRACE_RETENTION_DAYS?"
    ]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("TAILTRACE_HEALTH_PATHS", '["/ping"', "TAILTRACE_HEALTH_PATHS: '[\"/ping\"' is no JSON; write the names with"),
        ("TAILTRACE_FEATURES", "{bad", 'TAILTRACE_FEATURES: \'{bad\' is no JSON; write it like {"/route": "name"}'),
        ("TAILTRACE_TRUSTED_PROXIES", "::1,x", "TAILTRACE_TRUSTED_PROXIES: 'x' is neither an address nor a network"),
        ("TAILTRACE_HOSTS", '"a.ts.net"', "TAILTRACE_HOSTS: 'a.ts.net' is not accepted; write it like tailtrace."),
        (
            "TAILTRACE_ALERTS",
            '[{"kind": "p95", "window": "2d"}]',
            "TAILTRACE_ALERTS: number 1 window: '2d' is not accepted",
        ),
        (
            "TAILSCALE_API_URL",
            "ftp://x",
            "\n  TAILSCALE_API_URL: 'ftp://x' is not accepted; write it like https://api.",
        ),
        (
            "INFLUXDB_V2_URL",
            "http://u:pw@x",
            "\n  INFLUXDB_V2_URL: this address is not accepted; write it like http://127",
        ),
    ],
)
def test_an_error_names_the_variable(monkeypatch, name, value, said):
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load()
    assert said in str(caught.value)
    assert "pw" not in str(caught.value)


def test_what_others_know_too_has_no_prefix_of_ours():
    for name, field in Settings.model_fields.items():
        alias = field.validation_alias
        if isinstance(alias, AliasChoices):
            assert alias.choices == [environment_name(name), name]
        else:
            assert environment_name(name) == f"TAILTRACE_{name.upper()}"


def test_settings_that_are_handed_on_say_the_same(tmp_path):
    (tmp_path / "key").write_text("of a file\n")
    read = load(
        influxdb_v2_token="of the setting", pseudonyms_key_file=tmp_path / "key", features={"/a": "A"},
        alerts=[{"kind": "p95"}], timezone="Europe/Madrid",
    )  # fmt: skip
    given = pickle.loads(pickle.dumps(handed(read)))
    for name in Settings.model_fields:
        was, now = getattr(read, name), getattr(given, name)
        assert now == (Secret(was.get_secret_value()) if isinstance(now, Secret) else was), name
    for name in (name for name, one in vars(Derived).items() if isinstance(one, property)):
        assert getattr(given, name) == getattr(read, name), name
    for name in ("influxdb_v2_token", "pseudonyms_key", "api_token"):
        assert given.secret(name) == read.secret(name), name


def test_a_secret_shows_itself_to_nobody():
    kept = Secret("tskey-abc")
    assert "abc" not in f"{kept} {kept!r} {[kept]}"
    assert (bool(kept), bool(Secret("")), kept == Secret("tskey-abc"), kept == "tskey-abc") == (
        True,
        False,
        True,
        False,
    )
