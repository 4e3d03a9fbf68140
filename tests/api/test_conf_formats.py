"""Which formats a log has by nginx.conf, and what an import makes of them."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tailtrace_api.commands.cli import app
from tailtrace_api.nginx.conf_formats import formats_of, read_conf
from tailtrace_bridge.core.errors import SettingsError

FORMATS = "log_format bars '$remote_addr|$msec|$status'; log_format words '$msec $remote_addr $status';"


def found(tmp_path: Path, text: str, log: str) -> list[str]:
    (tmp_path / "nginx.conf").write_text(text)
    formats, logs = read_conf(tmp_path / "nginx.conf")
    named = {text: name for name, text in formats.items()}
    return [named[one] for one in formats_of(Path(log), formats, logs)]


@pytest.mark.parametrize(
    ("http", "log", "names"),
    [
        ("access_log /l/a.log bars;", "/l/a.log", ["bars"]),
        ("access_log /l/a.log;", "/l/a.log", ["combined"]),
        ("access_log /l/a.log buffer=4k flush=1s;", "/l/a.log", ["combined"]),
        ("access_log /l/a.log bars if=$some;", "/l/a.log.2.gz", ["bars"]),
        ("access_log /l/a.log bars; server { access_log /l/a.log words; }", "/l/a.log", ["bars", "words"]),
        ("access_log /x/a.log bars; server { access_log /y/a.log words; }", "/y/a.log", ["words"]),
        ("access_log /x/a.log bars; server { access_log /y/a.log words; }", "/y/a.log-20240310.gz", ["words"]),
        ("access_log /l/$host.log bars; server { access_log /l/b.log words; }", "/l/app.example.org.log", ["bars"]),
        ("access_log /l/a-${day}.log bars; access_log /l/b.log words;", "/l/a-2024-03-10.log.1.gz", ["bars"]),
        ("access_log /l/$host.log bars; server { access_log /l/b.log words; }", "/l/b.log", ["words"]),
        ("access_log /l/$host/a.log bars; access_log /l/b.log words;", "/copy/a.log", ["bars"]),
        ("access_log off; server { access_log /l/a.log words; }", "/copy/of/any", ["words"]),
    ],
)
def test_a_log_has_the_formats_that_its_lines_of_access_log_name(tmp_path, http, log, names):
    assert found(tmp_path, f"events {{}}\nhttp {{ {FORMATS} {http} }}\n", log) == names


@pytest.mark.parametrize(
    "http",
    [
        "access_log /x/a.log bars; access_log /y/a.log words;",
        "access_log /x/b.log bars; access_log /y/c.log words;",
        "access_log /l/a.log of_nobody;",
        "",
    ],
)
def test_where_it_does_not_say_the_formats_are_named(tmp_path, http):
    with pytest.raises(SettingsError, match="--log-format beside it: bars, combined, words"):
        found(tmp_path, f"http {{ {FORMATS} {http} }}", "/l/a.log")


def test_logs_of_streams_have_formats_of_their_own(tmp_path):
    stream = "stream { log_format bars '$remote_addr $protocol $status'; access_log /l/a.log bars; }"
    text = f"http {{ {FORMATS} access_log /l/a.log bars; }} {stream}"
    assert found(tmp_path, text, "/l/a.log") == ["bars"]
    assert read_conf(tmp_path / "nginx.conf")[0]["bars"] == "$remote_addr|$msec|$status"


def test_a_part_of_it_and_what_nginx_prints_of_it_are_read(tmp_path):
    assert found(tmp_path, f"{FORMATS}\naccess_log /l/a.log words;\n", "/l/a.log") == ["words"]
    printed = (
        "# configuration file /etc/nginx/nginx.conf:\nhttp { include mime.types; include conf.d/*.conf; }\n\n"
        f"# configuration file /etc/nginx/conf.d/a.conf:\n{FORMATS}\naccess_log /l/a.log words;\n\n"
    )
    assert found(tmp_path, printed, "/l/a.log") == ["words"]
    copied = f"http {{ include mime.types; include conf.d/*.conf; {FORMATS} access_log /l/a.log words; }}"
    assert found(tmp_path, copied, "/l/a.log") == ["words"]


def run(*words: object) -> tuple[int, dict[str, object], str]:
    done = CliRunner().invoke(app, [*map(str, words), "--json"])
    return done.exit_code, json.loads(done.stdout) if done.stdout else {}, done.stderr


def test_lines_of_each_of_its_formats_are_stored(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    log = tmp_path / "a.log"
    log.write_text("::1|1759933935.250|200\n1759933936.250 ::2 404\n::3|1759933937.250|500\n")
    (tmp_path / "nginx.conf").write_text(f"http {{ {FORMATS} access_log {log} bars; access_log {log} words; }}")
    code, done, _ = run("import", log, "--nginx-conf", "nginx.conf")
    assert (code, done["stored"], done["refused"]) == (0, 3, 0)
    code, done, _ = run("inspect", log, "--nginx-conf", "nginx.conf")
    assert (code, done["parsed"]) == (0, 3)


def test_a_format_of_it_is_chosen_by_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "copy.log").write_text("::1|1759933935.250|200\n")
    (tmp_path / "nginx.conf").write_text(f"http {{ {FORMATS} access_log /x/b.log bars; access_log /y/c.log words; }}")
    code, _, said = run("import", "copy.log", "--nginx-conf", "nginx.conf")
    assert (code, "--log-format beside it: bars, combined, words" in said) == (2, True)
    code, done, _ = run("import", "copy.log", "--nginx-conf", "nginx.conf", "--log-format", "bars")
    assert (code, done["stored"]) == (0, 1)
    code, done, _ = run("inspect", "copy.log", "--nginx-conf", "nginx.conf", "--log-format", "bars")
    assert (code, done["parsed"]) == (0, 1)
    code, _, said = run("import", "copy.log", "--nginx-conf", "nginx.conf", "--log-format", "baars")
    assert (code, "bars, combined, words" in said) == (2, True)


def test_lines_of_a_container_are_read_in_a_format_that_is_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = ["::1|1759933935.250|200\n", "::2|1759933936.250|404\n"]
    wrapped = [json.dumps({"log": line, "stream": "stdout", "time": "2025-10-08T14:32:15Z"}) for line in lines]
    (tmp_path / "web-json.log").write_text("\n".join(wrapped) + "\n")
    (tmp_path / "nginx.conf").write_text(f"http {{ {FORMATS} access_log /dev/stdout bars; }}")
    code, done, _ = run("import", "web-json.log", "--nginx-conf", "nginx.conf")
    assert (code, done["stored"]) == (0, 2)
