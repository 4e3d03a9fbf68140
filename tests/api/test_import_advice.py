"""Each cause of a rejected line: import says where, how many and what to do, and doing that mends it."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tailtrace_api.commands.cli import app
from tailtrace_bridge.store.sqlite.store import SqliteStore

pytestmark = pytest.mark.usefixtures("own_folder")
LINE = '100.64.0.7 - - [10/Mar/2024:10:00:00 +0000] "GET /a HTTP/1.1" 200 5 "-" "curl/8"'
NAMED = "$remote_addr - $remote_user [$time_local] "
TIMED = NAMED + '"$request" $request_time $status $body_bytes_sent "$http_referer" "$http_user_agent"'
ISO = LINE.replace("10/Mar/2024:10:00:00 +0000", "2024-03-10T10:00:00+00:00")
PIPED = "100.64.0.7|1710064800.000|GET|/a|200"


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


MENDED_BY_OPTIONS = {
    "an ISO time under the combined format": (
        ISO, ["--log-format", "combined"], "bad-time", "Leave --log-format out", [],
    ),
    "the same, and its format given": (
        ISO, ["--log-format", "combined"], "bad-time", "write $time_iso8601 in it",
        ["--log-format", NAMED.replace("local", "iso8601") + '"$request" $status $body_bytes_sent "$http_referer" "$http_user_agent"'],
    ),
    "fields in another order": (
        LINE.replace('" 200 5', '" 0.005 200 5'), [], "bad-number", "Give --log-format with the fields in the order",
        ["--log-format", TIMED],
    ),
    "a format that nobody knows": (
        PIPED, [], "no-format", "--log-format '…'", ["--log-format", "$remote_addr|$msec|$request_method|$request_uri|$status"],
    ),
    "a format that is another's": (
        LINE, ["--log-format", "$remote_addr|$msec|$status"], "no-format", "Leave --log-format out if you gave one", [],
    ),
}  # fmt: skip


@pytest.mark.parametrize("cause", MENDED_BY_OPTIONS)
def test_what_an_option_mends(cause, tmp_path):
    line, options, reason, advice, mended = MENDED_BY_OPTIONS[cause]
    log = tmp_path / "a.log"
    log.write_text(f"{line}\n" * 3)
    first = run("import", log, *options)
    assert first.exit_code == 1
    assert "tailtrace: 3 of 3 lines were rejected (100.00 %, more than the 1 % of --max-rejected: exit" in first.stderr
    assert f"{reason}, 3: " in first.stderr
    assert advice in first.stderr
    assert f"{log}:1 (byte 0): {line[:40]}" in first.stderr
    again = run("import", log, *mended)
    assert (again.exit_code, again.stdout.partition(" in ")[0]) == (0, "3 lines: 3 stored, 0 known already, 0 rejected")


MENDED_IN_THE_LOG = {
    "a month in another language": (LINE.replace("/Mar/", "/Mär/"), "bad-time", "sed -n 's,/Mär/,/Mar/,p'", LINE),
    "a longer month": (LINE.replace("/Mar/", "/March/"), "bad-time", "Put three English letters", LINE),
    "a time without its date": (
        LINE.replace("10/Mar/2024:10:00:00 +0000", "10:00:00"), "bad-time", "Log $msec, $time_iso8601 or $time_local", LINE,
    ),
    "a host's name": (
        LINE.replace("100.64.0.7", "ana.example.com"), "bad-address", "put the address in its place", LINE,
    ),
}  # fmt: skip


@pytest.mark.parametrize("cause", MENDED_IN_THE_LOG)
def test_what_is_mended_in_the_log(cause, tmp_path):
    line, reason, advice, mended = MENDED_IN_THE_LOG[cause]
    log = tmp_path / "a.log"
    log.write_text(f"{LINE}\n" * 5 + f"{line}\n")
    first = run("import", log, "--log-format", "combined")
    assert first.exit_code == 1
    assert f"{reason}, 1: " in first.stderr
    assert advice in first.stderr
    assert f"{log}:6 (byte {5 * len(LINE) + 5}): " in first.stderr
    log.write_text(log.read_text().replace(line, mended))
    again = run("import", log)
    assert (again.exit_code, ", 0 rejected" in again.stdout) == (0, True)


@pytest.mark.parametrize(
    ("line", "reason", "advice"),
    [
        (LINE[:40] + LINE, "second-request", "Nothing to do"),
        ("", "empty", "Harmless"),
        (LINE.replace("/a", "/" + "a" * 70_000), "too-long", "let it pass: --max-rejected"),
    ],
)
def test_what_stays_rejected_is_let_pass_as_the_advice_says(line, reason, advice, tmp_path):
    log = tmp_path / "a.log"
    log.write_text(f"{LINE}\n" * 9 + f"{line}\n")
    first = run("import", log, "--log-format", "combined")
    assert (first.exit_code, f"{reason}, 1: " in first.stderr, advice in first.stderr) == (1, True, True)
    assert run("import", log, "--log-format", "combined", "--max-rejected", 10).exit_code == 0


def test_the_error_log_is_named_as_such(tmp_path):
    """As with `tailtrace import /var/log/nginx/*.log`: no log_format would mend it."""
    (tmp_path / "access.log").write_text(f"{LINE}\n" * 3)
    line = (
        "2025/10/08 14:35:01 [error] 12#34: *1 connect() failed (111: Connection refused) while connecting to upstream, "
        'client: 100.64.0.7, server: app, request: "GET / HTTP/1.1", upstream: "http://127.0.0.1:8000/", host: "app"'
    )
    (tmp_path / "error.log").write_text(f"{line}\n" * 2)
    done = run("import", tmp_path / "access.log", tmp_path / "error.log")
    assert (done.exit_code, done.stdout.partition(",")[0]) == (1, "5 lines: 3 stored")
    assert "not sure of 2 of the first 2 lines: they are of nginx's error log" in done.stderr
    assert "no-format, 2: This is nginx's error log, which has no requests: leave the file out" in done.stderr
    assert "--log-format" not in done.stderr
    assert run("import", tmp_path / "access.log").exit_code == 0


def test_tabs_that_rsyslog_escaped_come_back_as_the_advice_says(tmp_path):
    own = (
        "t3",
        "1767225600.000",
        "0b3510b0b46ee1da317017a6205738d1",
        "",
        "",
        "01",
        "100.64.0.2",
        "9992",
        "",
        "",
        "GET",
        "/a",
    )
    rest = ("200", "5", "0.117", "shop", "curl/8", "", "", "1;t=105300;r=/a", "", "127.0.0.1:8000", "0.117", "200")
    line = "Jan  1 00:00:00 web-1 nginx: " + "#011".join([*own, *rest, *[""] * 4, "HTTP/1.1", "http", "", "", "shop"])
    log = tmp_path / "a.log"
    log.write_text(f"{line}\n" * 2)
    first = run("import", log)
    assert (first.exit_code, r"`sed -n 's/#011/\t/gp' FILE | tailtrace import -`" in first.stderr) == (1, True)
    log.write_text(log.read_text().replace("#011", "\t"))
    again = run("import", log)
    assert (again.exit_code, ", 0 rejected" in again.stdout) == (0, True)


@pytest.mark.parametrize(
    ("line", "change"),
    [
        (LINE.replace("/Mar/", "/Mär/"), "s,/Mär/,/Mar/,p"),
        (LINE.replace("100.64.0.7", "ana.example.com"), "s/^ana.example.com /100.64.0.7 /p"),
    ],
)
def test_mending_lines_as_the_advice_says_counts_no_other_line_anew(line, change, tmp_path):
    log = tmp_path / "a.log"
    wrong = line.replace("/a", "/b")
    log.write_text(f"{LINE}\n{wrong}\n{LINE}\n{LINE}\n{wrong}\n")
    first = run("import", log)
    assert (first.exit_code, "sed -n 's" in first.stderr) == (1, True)
    for known in ("2 stored, 0 known", "0 stored, 2 known"):
        with subprocess.Popen(["sed", "-n", change, log], stdout=subprocess.PIPE) as sed:
            done = subprocess.run(
                [sys.executable, "-c", "from tailtrace_api.main import main; main()", "import", "-"],
                stdin=sed.stdout, capture_output=True, text=True, check=True,
            )  # fmt: skip
        assert done.stdout.startswith(f"2 lines: {known} already, 0 rejected")


def test_a_line_that_is_too_long_asks_for_no_format(tmp_path):
    (tmp_path / "a.log").write_text(f"{LINE}\n{LINE.replace('/a', '/' + 'a' * 70_000)}\n")
    said = run("import", tmp_path / "a.log").stderr
    assert ("too-long, 1" in said, "Say the format" in said) == (True, False)


def test_a_hole_of_nul_bytes_rejects_nothing(tmp_path):
    log = tmp_path / "a.log"
    log.write_bytes(f"{LINE}\n".encode() + b"\0" * 200_000 + f"{LINE}\n".encode())
    assert run("import", log).stdout.startswith("2 lines: 2 stored, 0 known already, 0 rejected")


def test_rows_that_the_store_keeps_no_more_go_into_another(tmp_path):
    log = tmp_path / "a.log"
    log.write_text(f"{LINE}\n")
    assert run("import", log).exit_code == 0
    store = SqliteStore(Path("tailtrace.db"))
    assert store.prune(1 << 60) == 1
    store.close()
    log.write_text(f"{LINE}\n{LINE}\n")
    refused = run("import", log)
    assert (refused.exit_code, "Import them into another store (--store)" in refused.stderr) == (1, True)
    assert run("import", log, "--store", f"sqlite:{tmp_path / 'other.db'}").exit_code == 0
