"""The program as a user runs it: what it prints, and its exit status."""

import gzip
import json
import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tailtrace_api.commands.cli import app
from tailtrace_bridge.store.sqlite.store import SqliteStore

SAMPLES = Path(__file__).parents[1] / "samples"
COMBINED = str(SAMPLES / "combined.log")
AT = ["--at", "2025-10-08T15:00:00Z"]


pytestmark = pytest.mark.usefixtures("own_folder")


@pytest.fixture
def run():
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


def test_import_twice(run):
    counts = {
        "lines": 12,
        "refused": 2,
        "refused_by_reason": {"bad-time": 1, "no-format": 1},
        "refused_percent": 16.667,
    }
    for expected in ({"stored": 10, "duplicate": 0}, {"stored": 0, "duplicate": 10}):
        result = run("import", COMBINED, "--json", "--max-rejected", 20)
        assert result.exit_code == 0
        answer = json.loads(result.stdout)
        assert answer.pop("seconds") >= 0
        assert answer.pop("notes") == []
        (understood,) = answer.pop("understood")
        assert [one["name"] for one in understood["formats"]] == ["combined"]
        assert next(row["address"] for row in understood["formats"][0]["rows"]).startswith("100.64.")
        examples = [(one["reason"], one["line"]) for one in answer.pop("refused_examples")]
        assert [reason for reason, _ in examples] == ["bad-time", "no-format"]
        assert all(line > 0 for _, line in examples)
        assert answer == counts | expected
        assert answer["lines"] == answer["stored"] + answer["duplicate"] + answer["refused"]


def test_import_in_words(run):
    result = run("import", COMBINED)
    assert result.exit_code == 1, "more than one percent is refused"
    assert result.stdout.startswith("12 lines: 10 stored, 0 known already, 2 rejected (bad-time 1, no-format 1) in ")
    assert f"{COMBINED}: combined, 10 of the first 12 lines" in result.stderr


def test_import_of_a_missing_file_fails_after_the_others_are_in(run, tmp_path):
    result = run("import", tmp_path / "missing.log", COMBINED, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["stored"] == 10
    assert f"{tmp_path / 'missing.log'}" in result.stderr.replace("\n", "")


def test_import_gives_an_example_of_each_reason_with_file_and_line(run, tmp_path):
    log = tmp_path / "odd.log"
    log.write_bytes(b"odd 1\n\nodd 2\n" + Path(COMBINED).read_bytes().split(b"\n")[0] + b"\n")
    result = run("import", log, "--json")
    assert (result.exit_code, json.loads(result.stdout)["refused"]) == (1, 3)
    said = result.stderr.splitlines()
    assert said[0] == (
        "tailtrace: 3 of 4 lines were rejected (75.00 %, more than the 1 % of --max-rejected: exit status 1)."
    )
    assert said[2] == f"    {log}:2 (byte 6): "
    assert "--nginx-conf" in said[3]
    assert said[4] == f"    {log}:1 (byte 0): odd 1"


def test_import_says_what_went_to_other(run, tmp_path, monkeypatch):
    monkeypatch.setenv("TAILTRACE_DISTINCT_MAX", "5")
    log = tmp_path / "bomb.log"
    line = '203.0.113.{0} - - [10/Mar/2024:10:00:00 +0000] "GET /p{1}x/a HTTP/1.1" 200 5 "-" "agent-{0}"\n'
    log.write_text("".join(line.format(n % 250, n) for n in range(2500)))
    result = run("import", log)
    assert (result.exit_code, result.stdout.partition(" in ")[0]) == (
        0, "2500 lines: 2500 stored, 0 known already, 0 rejected",
    )  # fmt: skip
    assert f"{log}: 500 requests count under __other__" in result.stderr
    assert "245 addresses without a name and 245 user agents, past the limit of TAILTRACE_DISTINCT_MAX" in result.stderr
    again = run("import", log, "--json")
    assert json.loads(again.stdout)["duplicate"] == 2500


def test_a_refusal_goes_when_its_line_is_stored_later(run, tmp_path):
    log = tmp_path / "a.log"
    log.write_bytes(b"::1|1759933935.250|200\n")
    assert run("import", log).exit_code == 1
    assert run("import", log, "--log-format", "$remote_addr|$msec|$status").exit_code == 0
    store = SqliteStore("tailtrace.db")
    assert store.rejected_by_reason() == {}
    store.close()


def test_import_takes_the_format_from_nginx_conf(run, tmp_path):
    log = tmp_path / "a.log"
    log.write_bytes(b"::1|1759933935.250|200\n")
    conf = tmp_path / "nginx.conf"
    conf.write_text(f"http {{ log_format bars '$remote_addr|$msec|'\n '$status'; access_log {log} bars; }}\n")
    result = run("import", log, "--nginx-conf", conf, "--json")
    assert (result.exit_code, json.loads(result.stdout)["stored"]) == (0, 1)
    other = run("import", tmp_path / "b.log", "--nginx-conf", tmp_path / "none.conf")
    assert (other.exit_code, "no such file" in other.stderr) == (2, True)


def test_an_import_of_nothing_makes_no_store(run, tmp_path):
    (tmp_path / "folder").mkdir()
    result = run("import", "nofile", "folder")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "tailtrace: nofile: no such file. Name one that is there." in result.stderr
    assert "is a folder, not a log." in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_an_import_of_one_file_that_is_there_reads_it_and_tells_of_the_other(run):
    result = run("import", "nofile", COMBINED, "--json")
    assert (result.exit_code, json.loads(result.stdout)["stored"]) == (1, 10)
    assert "tailtrace: nofile: no such file. Name one that is there." in result.stderr


def test_inspect_stores_nothing_and_shows_the_fields(run, tmp_path):
    result = run("inspect", COMBINED)
    assert result.exit_code == 1
    assert "user agent" in result.stdout
    assert not (tmp_path / "tailtrace.db").exists()


@pytest.mark.parametrize("command", ["inspect", "import"])
def test_where_a_log_goes_on_in_another_format_that_is_shown(run, tmp_path, command):
    line = '100.64.0.7 - - [24/Apr/2026:06:25:07 +0000] "GET /a/{} HTTP/1.1" 200 32 "-" "curl/8"'
    later = [line.format(number) + " eu-west frontend" for number in range(50)]
    log = [*(line.format(number) for number in range(1200)), "half a line", *later]
    (tmp_path / "on.log").write_text("".join(f"{one}\n" for one in log))
    result = run(command, "on.log")
    shown = result.stdout if command == "inspect" else result.stderr
    assert "combined, 1000 of the first 1000 lines" in shown
    assert "combined, and more, 50 of 51 lines that were looked at, from line 1201 on" in shown
    assert ("1 rejected" in result.stdout, result.exit_code) == (True, command == "inspect")


def test_import_of_what_the_store_has_removed_does_not_blame_the_format(run):
    assert run("import", COMBINED).exit_code == 1
    store = SqliteStore("tailtrace.db")
    assert store.prune(1 << 60) == 10
    store.close()
    result = run("import", COMBINED)
    assert (result.exit_code, "TAILTRACE_RETENTION_DAYS has removed" in result.stderr) == (1, True)


@pytest.mark.parametrize(("content", "exit_code"), [(b"odd\x1b[31m\n", 1), (b"", 0)])
def test_import_fails_where_all_is_refused(run, tmp_path, content, exit_code):
    (tmp_path / "odd.log").write_bytes(content)
    result = run("import", "odd.log")
    assert result.exit_code == exit_code
    assert ("were rejected" in result.stderr) == (exit_code == 1)
    assert "\x1b" not in result.stderr


def test_import_reads_gzip(run, tmp_path):
    (tmp_path / "a.gz").write_bytes(gzip.compress(Path(COMBINED).read_bytes()))
    assert json.loads(run("import", "a.gz", "--json").stdout)["stored"] == 10


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["import"], 2, "Missing argument"),
        (["import", COMBINED, "--log-format", "$remote_addr"], 2, "add it"),
        (["import", COMBINED, "--store", "postgres:x"], 2, "'postgres:x' is no store; write sqlite:PATH"),
        (["import", COMBINED, "--store", "sqlite:no/such/t.db"], 1, "no/such/t.db"),
        (["import", COMBINED, "--identities", "none.toml"], 2, "none.toml: cannot be read"),
        (["import", COMBINED, "--openapi", "none.json"], 2, "TAILTRACE_OPENAPI: none.json cannot be used"),
        (["report"], 1, "store sqlite:tailtrace.db: there is no such file"),
        (
            ["report", "--store", f"sqlite:{SAMPLES}"],
            1,
            f"store sqlite:{SAMPLES}: this is a folder; set TAILTRACE_STORE",
        ),
        (["report", "--store", "sqlite:"], 2, "TAILTRACE_STORE: 'sqlite:' is no store; write sqlite:PATH or influxdb"),
        (["report", "--store", "a.db"], 2, "TAILTRACE_STORE: 'a.db' is no store; write sqlite:a.db or influxdb"),
        (["report", "--hours", "1", "--days", "1"], 2, "not both"),
        (["report", "--hours", "0"], 2, "--hours"),
        (["report", "--days", "31"], 2, "--days"),
        (["whois", "ana-laptop"], 2, "is no IP address"),
        (["whois", "100.64.0.7:443"], 2, "is no IP address"),
        (["serve", "--listen", "0.0.0.0:1"], 2, "TAILTRACE_LISTEN"),
        (["doctor", "--nginx-conf", str(SAMPLES)], 2, f"--nginx-conf {SAMPLES}: this is a folder, name a file in it"),
        (["nginx", "include", "--log", str(SAMPLES)], 2, f"--log {SAMPLES}: this is a folder; name the file in it"),
        (["nginx", COMBINED], 1, "cannot write the include files: File exists; run as a user who may (sudo)"),
        (["token", "create", "ana"], 2, "whose data does 'ana' show? --user LOGIN says it; --role admin shows all"),
        (["token", "create", "ci", "--role", "spans", "--user", "ana"], 2, "a token of role spans is nobody's"),
        (["nonsense"], 2, "nonsense"),
    ],
)
def test_what_is_wrong_is_said(run, words, status, says):
    result = run(*words)
    assert (result.exit_code, result.stdout) == (status, "")
    assert " ".join(says.split()) in " ".join(result.stderr.replace("│", " ").split())


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("TAILTRACE_LANG", "fr", "'fr' is not accepted; write en or es"),
        ("TAILTRACE_POLL_MS", "soon", "'soon' is not accepted; write a whole number from 10 to 10000"),
        ("TAILTRACE_ADMINS", "[ana", "'[ana' is no JSON; write the names with commas: one,two"),
    ],
)
@pytest.mark.parametrize(
    "command", [["serve"], ["api"], ["report"], ["import", COMBINED], ["doctor"], ["whois", "::1"]]
)
def test_a_wrong_setting_is_wrong_use(run, monkeypatch, command, variable, value, says):
    monkeypatch.setenv(variable, value)
    result = run(*command)
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"{variable}: {says}\n" in result.stderr


def test_a_wrong_file_is_wrong_use_and_a_port_that_is_taken_is_not(run, tmp_path, monkeypatch):
    (tmp_path / "tailtrace.toml").write_text("hosts = 7\n")
    result = run("api")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.endswith(
        '  tailtrace.toml: hosts: 7 is not accepted; write it like ["tailtrace.example.ts.net"]\n'
    )
    (tmp_path / "tailtrace.toml").unlink()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        result = run("serve", "--listen", address)
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"TAILTRACE_LISTEN: cannot listen on {address}: Address already in use; end what" in result.stderr
    monkeypatch.setenv("TAILTRACE_ACCESS", "whois")
    result = run("serve", "--listen", "192.0.2.1:8470")
    assert (result.exit_code, "write an address that this machine has" in result.stderr) == (2, True)
    monkeypatch.setenv("TAILTRACE_ACCESS", "whoise")
    result = run("serve", "--listen", address)
    assert (result.exit_code, "there is no method 'whoise': write local, whois, token, with" in result.stderr) == (
        2,
        True,
    )


@pytest.mark.parametrize("at", ["yesterday", "0001-01-01T00:00:00", "9999-12-31T23:59:59-12:00"])
def test_a_time_that_is_none(run, at):
    run("import", COMBINED)
    result = run("report", "--at", at)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "write a time like" in result.stderr


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["report", "--user", "caf\udce9"], 2, "caf\\udce9 is no UTF-8"),
        (["export", "--user", "caf\udce9", "--output", "out.ndjson"], 2, "caf\\udce9 is no UTF-8"),
        (["backup", "x" * 300], 1, "File name too long; choose a shorter one"),
    ],
)
def test_what_no_store_and_no_folder_can_hold(run, words, status, says):
    assert run("import", COMBINED, "--max-rejected", 20).exit_code == 0
    result = run(*words)
    assert (result.exit_code, says in " ".join(result.stderr.split())) == (status, True), result.stderr


def test_a_missing_store_is_not_made_by_a_report(run, tmp_path):
    assert run("report").exit_code == 1
    assert not (tmp_path / "tailtrace.db").exists()


def test_version_and_help(run):
    from importlib.metadata import version

    assert run("--version").stdout == version("tailtrace") + "\n"
    assert run("--help").exit_code == 0


def test_report_json(run):
    run("import", COMBINED, "--identities", SAMPLES / "identities.toml")
    result = run("report", "--json", "--hours", "24", "--limit", "2", *AT)
    assert result.exit_code == 0
    answer = json.loads(result.stdout)
    assert list(answer) == ["access_logs", "dashboard_usage", "system_health_history"]
    logs, usage, health = answer.values()
    assert [line["endpoint"] for line in logs["logs"]] == ["/insights/optimal-windows", "__other__"]
    assert logs["summary"] == {
        "total_requests": 10, "unique_users": 2, "unique_devices": 3, "unique_addresses": 5,
        "avg_response_time_ms": None, "errors_5xx": 2,
    }  # fmt: skip
    assert usage["summary"]["total_requests"] == 6
    assert [(row["user"], row["requests"]) for row in usage["user_sessions"]] == [
        ("ben@example.com", 3),
        ("ana@example.com", 2),
        ("100.64.0.9", 1),
    ]
    assert health["error_rate"]["overall"] == {
        "error_rate": 0.2, "requests": 10, "errors_5xx": 2, "errors_4xx": 3, "client_closed_499": 1,
    }  # fmt: skip


def test_a_report_in_words(run, monkeypatch):
    run("import", COMBINED, "--identities", SAMPLES / "identities.toml")
    monkeypatch.setenv("TAILTRACE_LANG", "es")
    monkeypatch.setenv("COLUMNS", "200")
    result = run("report", *AT)
    assert result.exit_code == 0
    assert "Uso: 6 accesos desde 3 direcciones, de 2 usuarios en 2 dispositivos; 2 errores (5xx), " in result.stdout
    assert "Todo el tráfico: 10 accesos, de ellos 4 que no son uso" in result.stdout
    assert "ben@example.com" in result.stdout


def test_a_pipe_gets_each_row_on_one_line_unless_columns_says_how_wide(run, monkeypatch):
    run("import", COMBINED, "--identities", SAMPLES / "identities.toml")
    monkeypatch.delenv("COLUMNS", raising=False)
    row = (
        "ben@example.com         1  < 1 min         3  /batches/{id}, /optimize/production/daily       2025-10-08 12:33"
    )
    assert row in run("report", *AT).stdout
    monkeypatch.setenv("COLUMNS", "60")
    assert max(map(len, run("report", *AT).stdout.splitlines())) <= 60


@pytest.mark.parametrize(
    ("address", "identity", "says"),
    [
        ("100.64.0.7", {"kind": "user", "user": "ana@example.com", "device": "ana-laptop"}, "user ana@example.com"),
        ("10.20.30.9", {"kind": "shared", "user": "cleo@example.org", "device": "workshop"}, "shared cleo@example.org"),
        ("fd7a:115c:a1e0::9", {"kind": "tagged", "device": "runner", "tags": "tag:ci,tag:server"}, "tagged"),
        ("8.8.8.8", {"kind": "external"}, "external: no provider names this address"),
    ],
)
def test_whois(run, address, identity, says):
    empty = {"user": "", "device": "", "tags": "", "node_id": "", "provider": ""}
    empty |= {"user_id": "", "via": "", "reason": "", "expired": False}
    result = run("whois", address, "--identities", SAMPLES / "identities.toml", "--json")
    answer = json.loads(result.stdout)
    provider = {"provider": "static"} if address != "8.8.8.8" else {}
    assert answer["identity"] == {"address": address} | empty | provider | identity
    assert "static" in [name for name, _ in answer["providers"]]
    words = run("whois", address, "--identities", SAMPLES / "identities.toml")
    assert (words.exit_code, says in words.stdout) == (0, True)


def test_nginx_writes_its_files(run, tmp_path):
    result = run("nginx", tmp_path / "include", "--log", tmp_path / "access.log", "--json")
    assert result.exit_code == 0
    answer = json.loads(result.stdout)
    assert answer["log"] == str(tmp_path / "access.log")
    assert answer["files"]
    assert all(Path(file).is_file() and Path(file).parent == tmp_path / "include" for file in answer["files"])
    words = run("nginx", tmp_path / "include", "--log", tmp_path / "access.log")
    assert words.exit_code == 0
    assert f"wrote {answer['files'][0]}\n" in words.stdout


def test_nginx_instructions_quote_a_folder_with_a_space(run, tmp_path):
    folder = tmp_path / "a b"
    words = run("nginx", folder, "--log", tmp_path / "c d.log").stdout
    for name in ("http", "server", "proxy"):
        assert f'include "{folder}/tailtrace-{name}.conf";' in words
    assert f"cp '{folder}/tailtrace.logrotate' /etc/logrotate.d/tailtrace" in words


def test_a_list_of_no_tokens_says_so(run):
    result = run("token", "list")
    assert result.stdout == "no tokens; `tailtrace token create NAME --role admin` makes one\n"


@pytest.mark.parametrize(
    ("options", "logged", "people", "endpoints"),
    [
        (["--user", "ben@example.com"], 3, ["ben@example.com"], 2),
        (["--user", "100.64.0.9"], 1, ["100.64.0.9"], 1),
        (["--status", "5xx"], 2, ["ben@example.com", "ana@example.com"], 2),
        (["--endpoint", "/batches/{id}", "--sort", "name"], 2, ["ben@example.com"], 1),
        (["--user", "nobody"], 0, [], 0),
    ],
)
def test_a_report_of_what_is_asked_for(run, options, logged, people, endpoints):
    run("import", COMBINED, "--identities", SAMPLES / "identities.toml")
    result = run("report", "--json", *AT, *options)
    assert result.exit_code == 0, result.stderr
    logs, usage, health = json.loads(result.stdout).values()
    assert logs["summary"]["total_requests"] == health["error_rate"]["overall"]["requests"] == logged
    assert sorted(row["user"] for row in usage["user_sessions"]) == sorted(people)
    assert sum(row["requests"] for row in usage["user_sessions"]) == usage["summary"]["total_requests"]
    assert len(health["api_response_times"]) == endpoints
    assert (run("report", *AT, *options).stdout.count("filters let through")) == (0 if logged else 1)


def test_a_report_in_another_order(run):
    run("import", COMBINED, "--identities", SAMPLES / "identities.toml")

    def first(by):
        _, usage, health = json.loads(run("report", "--json", *AT, "--sort", by).stdout).values()
        return usage["user_sessions"][0]["user"], health["api_response_times"][0]["endpoint"]

    assert first("name") == ("100.64.0.9", "/batches/{id}")
    assert first("requests") == ("ben@example.com", "/batches/{id}")
    assert first("time")[0] == "ana@example.com"
    assert first("errors")[1] == "/insights/optimal-windows"


def test_a_report_says_where_the_data_is(run):
    run("import", COMBINED)
    said = " ".join(run("report").stdout.split())
    assert "The newest is of 2025-10-08 12:36: `tailtrace report --at 2025-10-08T12:36:01Z`" in said
    assert "10 requests" in run("report", "--at", "2025-10-08T12:36:01Z").stdout


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--status", "9"], "--status '9': give a code such as 404"),
        (["--sort", "size"], "'size' is not one of"),
        (["--month", "2025-10", "--user", "ana@example.com"], "give --month, or"),
    ],
)
def test_a_report_of_what_there_is_not(run, options, said):
    run("import", COMBINED)
    result = run("report", *options)
    assert (result.exit_code, said in " ".join(result.stderr.replace("│", " ").split())) == (2, True), result.stderr
