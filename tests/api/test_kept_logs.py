"""What reads a server's log goes on reading it: real nginx, before and after our include file."""

import signal
import socket
import subprocess
import time
from contextlib import contextmanager, suppress

import httpx
import pytest
from typer.testing import CliRunner

from tailtrace_api.commands.cli import app
from tailtrace_api.doctor.nginx_logs import check_lost_logs
from tailtrace_api.nginx.config import read_config
from tailtrace_api.nginx.kept_logs import kept_logs, missed_logs
from tailtrace_api.nginx.process import find_nginx


@contextmanager
def nginx(folder, http, server):
    """A real nginx with what is given in http {} and in its server {}; gives the server's URL."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    conf = folder / "nginx.conf"
    conf.write_text(
        f"daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; events {{}}\n"
        f"http {{ {http} server {{ listen 127.0.0.1:{port}; root {folder}/none; {server} }} }}"
    )
    process = subprocess.Popen([find_nginx(), "-p", folder, "-c", conf], stderr=subprocess.DEVNULL)
    try:
        end_s = time.monotonic() + 10
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            assert time.monotonic() < end_s, (folder / "error.log").read_text()
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGQUIT)  # it writes what it holds of the log
        process.wait(10)


@pytest.mark.parametrize(
    ("http", "server", "kept"),
    [
        ("access_log /l/a.log;", "", ("/l/a.log",)),
        (
            "access_log /l/a.log main buffer=4k; access_log '/l/b c.log';",
            "",
            ("/l/a.log main buffer=4k", '"/l/b c.log"'),
        ),
        ("access_log off;", "", ()),
        ("", "", ()),
        ("access_log /l/a.log;", "access_log /l/own.log;", ()),
        ("access_log /l/a.log;", "access_log off;", ("/l/a.log",)),
        ("access_log /l/a.log;", "access_log /l/t.log tailtrace buffer=32k;", ("/l/a.log",)),
        ("access_log /l/t.log tailtrace;", "", ()),
    ],
)
def test_what_is_repeated(tmp_path, http, server, kept):
    conf = tmp_path / "nginx.conf"
    conf.write_text(f"events {{}} http {{ {http} server {{ listen 80; {server} }} }}")
    assert kept_logs(conf) == kept


def test_where_one_server_has_its_own_the_others_are_named_to_be_mended_by_hand(tmp_path):
    conf = tmp_path / "nginx.conf"
    conf.write_text(
        "events {} http { access_log /l/all.log main buffer=4k; server { server_name a; access_log /l/own.log; }"
        " server { listen 8080; server_name b c; } server { access_log off; } server { access_log /l/t.log tailtrace; } }"
    )
    lines = ("/l/all.log main buffer=4k",)
    assert missed_logs(conf) == {"b c (listen 8080)": lines, "_ (listen 80)": lines}
    said = CliRunner().invoke(app, ["nginx", str(tmp_path / "out"), "--nginx-conf", str(conf)]).output
    assert "server b c (listen 8080): an access_log of its own ends those of http {}; beside its include: " in said
    assert "access_log /l/all.log main buffer=4k;" in said
    conf.write_text(conf.read_text().replace("access_log /l/own.log;", ""))
    assert missed_logs(conf) == {}


def test_a_second_run_repeats_what_the_first_did(tmp_path):
    (conf := tmp_path / "nginx.conf").write_text(
        f"events {{}} http {{ include {tmp_path}/tt/tailtrace-http.conf; log_format x '$host';"
        " access_log /l/a.log x; access_log /l/b.log combined if=$http_x; access_log syslog:server=127.0.0.1 combined;"
        f" server {{ include {tmp_path}/tt/tailtrace-server.conf; }} server {{ access_log off; }} }}"
    )
    written = []
    for _ in range(3):
        result = CliRunner().invoke(app, ["nginx", str(tmp_path / "tt"), "--nginx-conf", str(conf)])
        assert result.exit_code == 0, result.output
        written.append((tmp_path / "tt" / "tailtrace-server.conf").read_text())
    assert "access_log /l/a.log x;\naccess_log /l/b.log combined if=$http_x;\n" in written[0]
    assert "access_log syslog:server=127.0.0.1 combined;\n" in written[0]
    assert written == [written[0]] * 3


@pytest.mark.parametrize(
    ("http", "server", "lost"),
    [
        ("access_log /l/a.log;", "access_log /l/t.log tailtrace;", 1),
        ("access_log /l/a.log;", "access_log /l/t.log tailtrace; access_log /l/a.log;", 0),
        ("access_log /l/a.log;", "access_log /l/own.log;", 0),
        ("access_log /l/a.log;", "", 0),
        ("access_log off;", "access_log /l/t.log tailtrace;", 0),
        ("", "access_log /l/t.log tailtrace;", 0),
    ],
)
def test_the_doctor_says_which_server_has_lost_a_log(tmp_path, http, server, lost):
    conf = tmp_path / "nginx.conf"
    conf.write_text(f"events {{}} http {{ {http} server {{ listen 80; {server} }} }}")
    checks = check_lost_logs(read_config(conf))
    assert [(check.status, "access_log /l/a.log;" in check.cure) for check in checks] == [("warning", True)] * lost


@pytest.mark.nginx
def test_the_log_of_before_has_the_same_requests_after(tmp_path):
    log = tmp_path / "before.log"
    http = f"access_log {log};"
    with nginx(tmp_path, http, "") as url:
        assert httpx.get(f"{url}/one").is_client_error
    conf = tmp_path / "given.conf"
    conf.write_text(f"events {{}} http {{ {http} server {{ listen 80; }} }}")
    include = tmp_path / "include"
    said = CliRunner().invoke(app, ["nginx", str(include), "--log", str(tmp_path / "t.log"), "--nginx-conf", str(conf)])
    assert f"access_log {log};" in said.stdout
    with nginx(
        tmp_path, f"include {include}/tailtrace-http.conf; {http}", f"include {include}/tailtrace-server.conf;"
    ) as url:
        assert httpx.get(f"{url}/two").is_client_error
    assert [line.split()[6] for line in log.read_text().splitlines()] == ["/one", "/two"]
    assert len((tmp_path / "t.log").read_text().splitlines()) == 1
