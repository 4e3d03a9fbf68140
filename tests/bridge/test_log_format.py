import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailtrace_bridge.core.errors import FormatError
from tailtrace_bridge.logs.format import (
    COMBINED_FORMAT,
    FORMAT_LENGTH_MAX,
    compile_format,
    unescape_default,
    unescape_json,
)


def values(source: str, line: str) -> dict[str, str] | None:
    fmt = compile_format(source)
    match = fmt.pattern.fullmatch(line)
    return match and dict(zip(fmt.names, match.groups(), strict=False))


@pytest.mark.parametrize(
    ("source", "line", "expected"),
    [
        ("$status $request_time", "200 0.004", {"status": "200", "request_time": "0.004"}),
        ("${status}x${pipe}", "200xp", {"status": "200", "pipe": "p"}),
        ('"$request" $status', '"GET / HTTP/1.1" 200', {"request": "GET / HTTP/1.1", "status": "200"}),
        ("$request $status", "GET /a HTTP/1.1 200", {"request": "GET /a HTTP/1.1", "status": "200"}),
        ("[$time_local] $status", "[08/Oct/2025:14:32:15 +0200] 200", {"time_local": "08/Oct/2025:14:32:15 +0200", "status": "200"}),
        ("$time_local $status", "08/Oct/2025:14:32:15 +0200 200", {"time_local": "08/Oct/2025:14:32:15 +0200", "status": "200"}),
        ("$upstream_addr $upstream_status $pipe", "a:1, unix:/b : [::1]:2 502, 504 : 200 .", {"upstream_addr": "a:1, unix:/b : [::1]:2", "upstream_status": "502, 504 : 200", "pipe": "."}),
        ("$request_method $scheme://$host$request_uri $status", "GET https://a.example/b/c?d 200", {"request_method": "GET", "scheme": "https", "host": "a.example", "request_uri": "/b/c?d", "status": "200"}),
        ("$uri$is_args$args $status", "/a?b=c 200", {"uri": "/a", "is_args": "?", "args": "b=c", "status": "200"}),
        ("$status $remote_addr $status", "200 ::1 200", {"status": "200", "remote_addr": "::1"}),
        ('escape=json {"a":"$status","b":"$http_referer"}', r'{"a":"200","b":"x\"y\\"}', {"status": "200", "http_referer": r"x\"y\\"}),
        ('escape=none "$http_referer" $status', '"a"b" 200', {"http_referer": 'a"b', "status": "200"}),
        ("log_format main '$status '\n    '\"$request\"';", '200 "GET /"', {"status": "200", "request": "GET /"}),
        ("log_format main escape=json '{\"s\":\"$status\",'\n # why\n \"\\\"u\\\":\\\"$uri\\\"}\" ;", '{"s":"200","u":"/"}', {"status": "200", "uri": "/"}),
        ("'$status' '|' '$uri'", "200|/a b", {"status": "200", "uri": "/a b"}),
        (r"log_format tabs '$status\t$uri';", "200\t/a", {"status": "200", "uri": "/a"}),
        ('"$http_referer" $status', r'"x\"y\\" 200', {"http_referer": r"x\"y\\", "status": "200"}),
        ("$remote_addr\t$uri\t$upstream_addr\t$status", "::1\t/a b\ta:1, b:2\t200", {"remote_addr": "::1", "uri": "/a b", "upstream_addr": "a:1, b:2", "status": "200"}),
        ("$status $uri", "200", None),
    ],
)  # fmt: skip
def test_a_format_reads_what_nginx_prints_by_it(source, line, expected):
    assert values(source, line) == expected


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("", "log format: no $variable in it: ''"),
        ("plain text", "log format: no $variable in it: 'plain text'"),
        ("$uri$status", "log format: $uri and $status need text between them: '$uri$status'"),
        ("$status $", "log format: $ without a variable's name at '$': '$status $'"),
        ("${status", "log format: $ without a variable's name at '${status': '${status'"),
        ("escape=xml $status", "log format: escape=xml is none of default, json, none: 'escape=xml $status'"),
        ("log_format main '$status", "log format: expected '…' or ; at \"'$status\" in \"log_format main '$status\""),
    ],
)
def test_a_format_that_cannot_be_read_says_why(source, message):
    with pytest.raises(FormatError) as caught:
        compile_format(source)
    assert str(caught.value) == message


def test_a_format_has_a_length_limit():
    fits = "$status" + " " * (FORMAT_LENGTH_MAX - 7)
    assert compile_format(fits).names == ("status",)
    with pytest.raises(FormatError, match="16385 characters; at most 16384"):
        compile_format(fits + " ")


def test_names_are_those_of_the_format():
    assert compile_format("combined").names == compile_format(COMBINED_FORMAT).names
    assert compile_format("common").names == ("remote_addr", "remote_user", "time_local", "request", "status", "body_bytes_sent")  # fmt: skip


@pytest.mark.parametrize(
    ("printed", "value"),
    [
        (r"a\x22b\x5Cc", 'a"b\\c'),
        (r"\xC3\xA9", "é"),
        (r"é\xC3\xA9", "éé"),
        (r"\xFF", "\udcff"),
        (r"\xG1\x2", r"\xG1\x2"),
        (r"\x41\xG1", r"A\xG1"),
        (r"\\x41\x41", r"\x41A"),
        (r"\x5Cx41", r"\x41"),
        (r"\x41\N{DIGIT ONE}\u0031", r"A\N{DIGIT ONE}\u0031"),
        (r"a\"b\\c\\x41\t", 'a"b\\c\\x41\t'),
    ],
)
def test_default_escapes(printed, value):
    assert unescape_default(printed) == value


ESCAPED = [
    '\\"',
    "\\\\",
    "\\x22",
    "\\xC3\\xA9",
    "\\xff",
    "\\n",
    "\\t",
    "\\v",
    "\\b",
    "\\r",
    "é",
    "a",
    "0",
    "u",
    "\n",
    '"',
    "\udcff",
]


@given(st.lists(st.sampled_from(ESCAPED)).map("".join))
def test_default_escapes_are_the_same_beside_what_is_none(printed):
    assert unescape_default(printed + r"\d") == unescape_default(printed) + r"\d"


@pytest.mark.parametrize(
    ("printed", "value"),
    [
        (r"a\"b\\c\/", 'a"b\\c/'),
        (r"\n\r\t\b\f", "\n\r\t\b\f"),
        (r"\u0016\u0003", "\x16\x03"),
        (r"\uD83D\ude00", "😀"),
        (r"\ud83dx\udc80", "\ufffdx\ufffd"),
        (r"\u00ed\ud83d", "í\ufffd"),
    ],
)
def test_json_escapes(printed, value):
    assert unescape_json(printed) == value


def nginx_default(value: bytes) -> bytes:
    return b"".join(b"\\x%02X" % c if c < 0x20 or c >= 0x7F or c in b'"\\' else bytes([c]) for c in value)


def nginx_json(value: bytes) -> bytes:
    named = {0x22: b'\\"', 0x5C: b"\\\\", 0x0A: b"\\n", 0x0D: b"\\r", 0x09: b"\\t", 0x08: b"\\b", 0x0C: b"\\f"}
    return b"".join(named.get(c) or (b"\\u%04X" % c if c < 0x20 else bytes([c])) for c in value)


@settings(deadline=None)
@given(st.binary(max_size=200))
@pytest.mark.parametrize(("escape", "printer"), [("default", nginx_default), ("json", nginx_json)])
def test_what_nginx_escapes_comes_back(escape, printer, value):
    fmt = compile_format(f'escape={escape} "$http_referer" $status')
    match = fmt.pattern.fullmatch((b'"' + printer(value) + b'" 200').decode("utf-8", "surrogateescape"))
    assert fmt.unescape(match[1]).encode("utf-8", "surrogateescape") == value
    assert match[2] == "200"


@settings(deadline=None)
@given(
    st.one_of(
        st.text(),
        st.lists(st.sampled_from(["$status", "${uri}", "$request", "$", "{", "}", '"', "'", " ", "\\", "log_format a ", "escape=json", ";", "#", "\n", ":", "(", "["])).map("".join),
    )
)  # fmt: skip
def test_any_string_compiles_or_is_a_format_error(source):
    try:
        fmt = compile_format(source)
    except FormatError:
        return
    assert fmt.pattern.groups == len(fmt.names) + 1
