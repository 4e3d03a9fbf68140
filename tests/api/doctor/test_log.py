"""Real log files in a folder, and what the doctor says of them."""

import os

import pytest

from tailtrace_api.doctor.log import check_logs, check_rotation, parse_rules
from tailtrace_bridge.logs.parser import make_parser

NOW_US = 1_760_000_000_000_000
LINE = '100.64.0.7 - - [09/Oct/2025:08:53:20 +0000] "GET /a HTTP/1.1" 200 5 "-" "curl"\n'
RENAMED = "/var/log/x.log {\n  daily\n  postrotate\n    kill -USR1 1\n  endscript\n}\n"


@pytest.fixture
def look(tmp_path):
    log, rules = tmp_path / "x.log", tmp_path / "logrotate"

    def run(text=LINE, age_s=1, pattern=None, rule=RENAMED):
        if text is not None:
            log.write_text(text)
            log.chmod(0o640)
            os.utime(log, ns=((NOW_US - age_s * 1_000_000) * 1000,) * 2)
        rules.write_text(rule.replace("/var/log/x.log", str(log)))
        report = check_logs(pattern or str(log), make_parser(), NOW_US, rotation=(rules,))
        return {check.name: check for check in report.checks}, report

    return run


def test_a_good_log(look):
    checks, report = look()
    assert {name: check.status for name, check in checks.items()} == {
        "log access": "ok", "log written": "ok", "log lines": "ok", "log rotation": "ok",
    }  # fmt: skip
    assert (report.newest_us, report.changed_us) == (NOW_US, NOW_US - 1_000_000)


def test_no_file(look):
    (check,) = look(text=None)[1].checks
    assert (check.status, check.message.endswith("x.log: no such file")) == ("failure", True)
    assert check.cure == "Name the log with TAILTRACE_LOG, or make nginx write it."


def test_a_pipe_is_not_waited_for(look, tmp_path):
    os.mkfifo(tmp_path / "x.log")
    (check,) = look(text=None)[1].checks
    assert (check.status, "pipe" in check.message) == ("failure", True)


def test_a_glob_without_files(look, tmp_path):
    (check,) = look(pattern=f"{tmp_path}/*.none")[1].checks
    assert check.status == "failure"


@pytest.mark.parametrize(
    ("text", "status", "words"),
    [
        ("", "warning", "no line yet"),
        (LINE * 3 + "junk\n", "warning", "25.0 % of the newest 4 lines are rejected (no-format 1); the first: junk"),
        (LINE + "junk\n\x1b[2Jx\n", "failure", "66.7 % of the newest 3 lines"),
        (LINE + "half a line", "ok", "all of the newest 1 lines"),
    ],
)
def test_lines(look, text, status, words):
    check = look(text)[0]["log lines"]
    assert (check.status, words in check.message) == (status, True), check
    assert check.message.isprintable()


def test_nothing_written_for_long(look):
    check = look(age_s=7200)[0]["log written"]
    assert (check.status, "for 120 min" in check.message) == ("warning", True)


def test_nginx_writes_on_into_the_renamed_file(look, tmp_path):
    (tmp_path / "x.log.1").write_text(LINE)
    check = look("")[0]["log written"]
    assert (check.status, "x.log.1 was written after it" in check.message) == ("failure", True)


def test_anyone_may_write(look, tmp_path):
    look()
    (tmp_path / "x.log").chmod(0o666)
    assert look(text=None)[0]["log access"].status == "warning"


@pytest.mark.parametrize(
    ("rule", "status"),
    [
        (RENAMED, "ok"),
        ('"/var/log/x.log" /b.log\n{\n postrotate\n  nginx -s reopen\n endscript\n}\n', "ok"),
        ("/var/log/*.log {\n  lastaction\n invoke-rc.d nginx rotate\n  endscript\n}\n", "ok"),
        ("/var/log/*.log {\n  copytruncate\n}\n", "warning"),
        ("/var/log/x.log {\n  daily\n  # postrotate kill -USR1\n}\n", "failure"),
        ("/var/log/y.log {\n copytruncate\n}\n", "warning"),
        ("daily\n", "warning"),
    ],
)
def test_rotation(rule, status):
    check = check_rotation("/var/log/x.log", parse_rules({"/etc/logrotate.d/x": rule}), owner=0)
    assert check.status == status, check


def test_rotation_makes_files_that_we_may_not_read(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    closed = parse_rules({"r": RENAMED.replace("daily", "create 0600 www-data adm")})
    assert check_rotation("/var/log/x.log", closed, owner=33).status == "warning"
    opened = parse_rules({"r": RENAMED.replace("daily", "create 0640 www-data adm")})
    assert check_rotation("/var/log/x.log", opened, owner=33).status == "ok"
