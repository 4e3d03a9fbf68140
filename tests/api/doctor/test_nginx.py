"""nginx's configuration as text, what the doctor says of it, and the patch."""

import re
from importlib.resources import files
from pathlib import Path

import pytest

from tailtrace_api.doctor.nginx import HEADERS, OWN_PATHS, diagnose
from tailtrace_api.doctor.patch import Edit, make_patch
from tailtrace_api.nginx.config import ConfigError, read_config, split_dump
from tailtrace_api.nginx.include_files import FILES_VERSION, write_files
from tailtrace_bridge.logs.format import TAILTRACE_FORMATS_BEFORE


@pytest.fixture
def look(tmp_path):
    """Write nginx.conf beside our include files; give each check's status by its name, and the whole diagnosis."""
    log = tmp_path / "tailtrace.log"
    write_files(tmp_path, log=log)

    def run(server, http="include tailtrace-http.conf;"):
        conf = tmp_path / "nginx.conf"
        conf.write_text(f"events {{}}\nhttp {{\n{http}\nserver {{\n    server_name app;\n{server}\n}}\n}}\n")
        config = read_config(conf)
        found = diagnose(config, str(log), str(tmp_path))
        checks = {
            check.name.removeprefix("nginx server app › ").removeprefix("nginx "): check for check in found.checks
        }
        return checks, make_patch(config.texts, found.edits).replace(str(tmp_path), "DIR")

    return run


SERVER = "include tailtrace-server.conf;\n"
PROXY = "include tailtrace-proxy.conf;"
PASS = "proxy_pass http://127.0.0.1:1;"


@pytest.mark.parametrize(
    ("server", "place", "status", "words"),
    [
        (
            f"{SERVER}location / {{ {PROXY} {PASS} }}",
            "location /",
            "ok",
            "trace headers reach the app; requests are written",
        ),
        (f"{SERVER}{PROXY} location / {{ {PASS} }}", "location /", "ok", "trace headers reach the app"),
        (f"{SERVER}location / {{ {PASS} }}", "location /", "failure", "no trace headers reach the app"),
        (
            f"{SERVER}{PROXY} location / {{ proxy_set_header X-A b; {PASS} }}",
            "location /",
            "failure",
            "its own proxy_set_header loses the trace headers from above",
        ),
        (
            f"{SERVER}location / {{ {PROXY} {PASS} location /in {{ proxy_set_header X-A b; {PASS} }} }}",
            "location / › location /in",
            "failure",
            "its own proxy_set_header loses",
        ),
        (
            f"{SERVER}location / {{ {PROXY} {PASS} location /in {{ }} }}",
            "location / › location /in",
            "ok",
            "no app behind it",
        ),
        (
            f"{SERVER}location / {{ if ($arg_x) {{ {PASS} }} }}",
            "location / › if $arg_x",
            "failure",
            "no trace headers reach the app",
        ),
        (
            f"{SERVER}location / {{ {PROXY} if ($arg_x) {{ {PASS} }} }}",
            "location / › if $arg_x",
            "ok",
            "trace headers reach",
        ),
        (f"{SERVER}location @app {{ {PASS} }}", "location @app", "failure", "no trace headers"),
        (
            f"{SERVER}location / {{ {PROXY} proxy_set_header Host $host; {PASS} }}",
            "location /",
            "failure",
            "sent twice: host",
        ),
        (
            f"{SERVER}location / {{ {PROXY} proxy_set_header x-real-ip $remote_addr; {PASS} }}",
            "location /",
            "warning",
            "sent twice: x-real-ip",
        ),
        (
            f'{SERVER}location / {{ {PROXY} proxy_set_header Host ""; {PASS} }}',
            "location /",
            "ok",
            "trace headers reach",
        ),
        (
            f"{SERVER}location / {{ proxy_set_header traceparent $http_traceparent; {PASS} }}",
            "location /",
            "failure",
            "no trace headers",
        ),
        (f"{SERVER}location / {{ {PROXY} uwsgi_pass a:1; }}", "location /", "warning", "uwsgi_pass: the headers"),
        (f"{SERVER}location / {{ grpc_pass a:1; }}", "location /", "warning", "work for proxy_pass only"),
        (
            f"{SERVER}location / {{ fastcgi_param HTTP_TRACEPARENT 00-$tailtrace_trace_id-1-01; fastcgi_pass a:1; }}",
            "location /",
            "ok",
            "fastcgi_param hands the trace to the app",
        ),
        (f"{SERVER}location / {{ access_log off; {PROXY} {PASS} }}", "location /", "warning", "access_log off"),
        (
            f"{SERVER}location / {{ access_log /var/log/b.log combined; {PROXY} {PASS} }}",
            "location /",
            "failure",
            "access_log /var/log/b.log is in format combined",
        ),
        (f"{SERVER}location / {{ {PROXY} {PASS} }}", "server app", "ok", "/_tailtrace/view is there"),
        (
            f"location / {{ {PROXY} {PASS} }}",
            "server app",
            "failure",
            "access_log logs/access.log is in format combined",
        ),
        ("return 301 https://app;", "server app", "warning", "format combined"),
        (f"access_log off; location / {{ {PASS} }}", "server app", "failure", "access_log off"),
        (
            f"access_log /elsewhere.log tailtrace; location / {{ {PASS} }}",
            "server app",
            "failure",
            "requests are written to /elsewhere.log, which TAILTRACE_LOG",
        ),
    ],
)
def test_what_is_said_of_a_place(look, server, place, status, words):
    check = look(server)[0][place]
    assert (check.status, words in check.message) == (status, True), check
    assert bool(check.cure) == (status != "ok")


def test_several_logs_of_one_request(look, tmp_path):
    twice = f"{SERVER}access_log {tmp_path}/tailtrace.log combined;"
    check = look(twice)[0]["server app"]
    assert check.status == "warning"
    assert "one request makes 2 lines" in check.message
    beside = look(f"{SERVER}access_log /var/log/other.log;")[0]["server app"]
    assert beside.status == "ok"


def test_a_condition_of_the_log(look, tmp_path):
    check = look(f"access_log {tmp_path}/tailtrace.log tailtrace if=$loud;")[0]["server app"]
    assert (check.status, "counted only where $loud holds" in check.message) == ("warning", True)


def test_http_lacks_the_include(look):
    checks, patch = look("return 204;", http="")
    assert checks["http"].status == "failure"
    assert "+    include DIR/tailtrace-http.conf;\n" in patch


def test_an_old_format(look, tmp_path):
    old = tmp_path / "tailtrace-http.conf"
    assert look("return 204;")[0]["http"].status == "ok"
    text = old.read_text()
    old.write_text(text.replace("'$server_name\\t'", ""))
    check = look("return 204;")[0]["http"]
    assert (check.status, "is not that of this version" in check.message) == ("warning", True)
    escape, _, body = TAILTRACE_FORMATS_BEFORE[0].partition(" ")
    old.write_text(re.sub(r"log_format tailtrace [^;]*;", lambda _: f"log_format tailtrace {escape} '{body}';", text))
    check = look("return 204;")[0]["http"]
    assert (check.status, "its lines say nothing of the app" in check.message) == ("warning", True)


def test_an_app_header_of_ones_own(look, tmp_path):
    write_files(tmp_path, log=tmp_path / "tailtrace.log", app_header="X-Of-Mine", sample_percent=10)
    checks, _ = look(f"{SERVER}location / {{ {PROXY} {PASS} }}")
    assert {check.status for check in checks.values()} == {"ok"}


@pytest.mark.parametrize(
    ("head", "status", "words"),
    [
        ("# tailtrace: the headers an app gets.", "warning", "older than this program: "),
        ("# tailtrace include files, version 2: the", "warning", "older than this program: "),
        (f"# tailtrace include files, version {FILES_VERSION + 1}: the", "warning", "newer than this program: "),
        (f"# tailtrace include files, version {FILES_VERSION}: the", None, ""),
        ("# tailtraces", None, ""),
    ],
)
def test_include_files_of_another_version(look, tmp_path, head, status, words):
    file = tmp_path / "tailtrace-proxy.conf"
    text = file.read_text()
    assert text.startswith(f"# tailtrace include files, version {FILES_VERSION}: ")
    file.write_text(f"{head} {text.partition(': ')[2]}")
    check = look(f"{SERVER}location / {{ {PROXY} {PASS} }}")[0].get("include files")
    assert (check and check.status) == status
    assert check is None or (words in check.message and str(file) in check.message)


def test_a_location_with_the_include_of_an_older_version(look, tmp_path):
    file = tmp_path / "tailtrace-proxy.conf"
    file.write_text(re.sub(r"(?m)^proxy_(set_header X-Tailtrace-Request|hide_header).*$", "", file.read_text()))
    check = look(f"{SERVER}location / {{ {PROXY} {PASS} }}")[0]["location /"]
    assert (check.status, "the app is not asked" in check.message) == ("warning", True)
    assert "sudo tailtrace nginx" in check.cure


@pytest.mark.parametrize(
    ("server", "status", "words"),
    [
        (f"{PROXY} location / {{ proxy_hide_header X-Other; {PASS} }}", "warning", "of itself (X-Tailtrace) reaches clients"),
        (f"proxy_hide_header X-Secret; location / {{ {PROXY} {PASS} }}", "warning", "no longer hidden from clients: X-Secret"),
        (f"proxy_hide_header X-Secret; location / {{ {PROXY} proxy_hide_header x-secret; {PASS} }}", "ok", ""),
        (f"{PROXY} location / {{ {PASS} }}", "ok", ""),
    ],
)  # fmt: skip
def test_what_is_hidden_from_clients(look, server, status, words):
    check = look(SERVER + server)[0]["location /"]
    assert (check.status, words in check.message) == (status, True)


def test_the_patch_of_a_location(look, tmp_path):
    own = "        proxy_set_header Host $host;\n        proxy_set_header X-A b;\n        proxy_pass http://a;\n"
    checks, patch = look(f"    include tailtrace-server.conf;\n    location / {{\n{own}    }}")
    include = f"include {tmp_path}/tailtrace-proxy.conf;"
    assert checks["location /"].cure == f"{tmp_path}/nginx.conf:7: add `{include}` (patch below)"
    assert patch == (
        "--- DIR/nginx.conf\n"
        "+++ DIR/nginx.conf\n"
        "@@ -6,5 +6,5 @@\n"
        "     include tailtrace-server.conf;\n"
        "     location / {\n"
        "-        proxy_set_header Host $host;\n"
        "+        include DIR/tailtrace-proxy.conf;\n"
        "         proxy_set_header X-A b;\n"
        "         proxy_pass http://a;\n"
    )


@pytest.mark.parametrize(
    ("text", "edits", "after"),
    [
        ("a {\n}\n", [Edit("f", 1, add="x;")], "a {\n    x;\n}\n"),
        ("a\n{\n}\n", [Edit("f", 1, add="x;")], "a\n{\n    x;\n}\n"),
        ("  a { b; }\n", [Edit("f", 1, add="x;")], "  a {\n      x;\n      b; }\n"),
        ("a {\n  b c;\n}\n", [Edit("f", 2, remove=True), Edit("f", 1, add="x;")], "a {\n    x;\n}\n"),
        ("a { b c; d e; }\n", [Edit("f", 1, remove=True)], "a { b c; d e; }\n"),
        ("a {\n}\n", [Edit("f", 1, add="x;"), Edit("f", 1, add="x;")], "a {\n    x;\n}\n"),
    ],
)
def test_edits(text, edits, after):
    patch = make_patch({"f": text}, edits)
    kept = [line for line in patch.splitlines(keepends=True) if line[:1] in " +" and not line.startswith("+++")]
    assert "".join(line[1:] for line in kept) == (after if after != text else "")


def test_our_headers_are_those_of_the_include_file():
    text = (files("tailtrace") / "nginx" / "tailtrace-proxy.conf").read_text()
    assert tuple(name.lower() for name in re.findall(r"^proxy_set_header (\S+)", text, re.MULTILINE)) == HEADERS


def test_a_dump_is_read_without_the_files(tmp_path):
    dump = tmp_path / "dump"
    dump.write_text(
        "# configuration file /none/nginx.conf:\nhttp { include sites/*.conf; }\n\n"
        "# configuration file /none/sites/a.conf:\nserver { listen 80; }\n\n"
        "# configuration file /none/sites/deep/b.conf:\nserver { listen 81; }\n\n"
    )
    assert list(split_dump(dump.read_text())) == ["/none/nginx.conf", "/none/sites/a.conf", "/none/sites/deep/b.conf"]
    (http,) = read_config(dump).directives
    (server,) = http.block
    assert (server.name, server.file, server.line) == ("server", "/none/sites/a.conf", 1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("http {\n", 'unexpected end of file, expecting "}"'),
        ("include nginx.conf;\n", "more than 32 blocks or includes"),
        ("a { " * 40 + "} " * 40, "more than 32 blocks or includes"),
    ],
)
def test_a_configuration_that_cannot_be_used(tmp_path, text, words):
    (tmp_path / "nginx.conf").write_text(text)
    with pytest.raises(ConfigError, match=re.escape(words)) as raised:
        read_config(tmp_path / "nginx.conf")
    assert raised.value.cure


def test_no_http(tmp_path):
    (tmp_path / "nginx.conf").write_text("events {}\n")
    assert [check.status for check in diagnose(read_config(tmp_path / "nginx.conf"), "x", "y").checks] == ["failure"]


def test_the_widget_handed_on_as_the_docs_say_is_no_app(look):
    from tailtrace_api.http.cors import COMPONENTS, WIDGET

    assert OWN_PATHS == (COMPONENTS, WIDGET)
    docs = Path(__file__).parents[3] / "docs" / "cards.md"
    (block,) = re.findall(r"```nginx\n(.*?)```", docs.read_text(encoding="utf-8"), re.DOTALL)
    checks, patch = look(f"{SERVER}location / {{ {PROXY} {PASS} }}\n{block}")
    assert checks["location = /tailtrace/analytics/widget"].status == "ok"
    assert checks["location /tailtrace/static/js/components/"].status == "ok"
    assert patch == ""
