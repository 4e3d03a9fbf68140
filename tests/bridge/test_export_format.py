"""The lines of an export: records and their lines side by side; what is read is what was written, or is refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailtrace_bridge.core.errors import LogFileError
from tailtrace_bridge.core.records import Access, Identity, RejectedLine, Row, Traffic
from tailtrace_bridge.store.names import Named
from tailtrace_bridge.transfer.format import FIELDS, ExportReader, Lines, is_export

ANA = Identity(
    "100.64.0.7", "user", "ana@example.com", "ana-laptop", "n1", "tag:a,tag:b", "localapi", "u1", "router", "", True
)
FULL = Row(
    Access(
        1_759_924_800_123_456, 2**63 - 1, "100.64.0.7", "POST", "/items/7", 503, 5_000, 4_000, False, 10, "shop",
        "ab" * 16, "cd" * 8, "curl/8 ü", "",
    ),
    ANA, "/items/{id}", Traffic.BOT, 3_000, "TimeoutError", 1_759_924_800_000_001,
)  # fmt: skip
FULL_LINE = (
    '{"time_us":1759924800123456,"key":9223372036854775807,"address":"100.64.0.7","kind":"user",'
    '"user":"ana@example.com","device":"ana-laptop","node_id":"n1","tags":"tag:a,tag:b","provider":"localapi",'
    '"user_id":"u1","via":"router","expired":true,"identified_us":1759924800000001,"service":"shop",'
    '"endpoint":"/items/{id}","method":"POST","path":"/items/7","status":503,"traffic":"bot","request_time_us":5000,'
    '"upstream_time_us":4000,"app_time_us":3000,"bytes_sent":10,"trace_id":"abababababababababababababababab",'
    '"span_id":"cdcdcdcdcdcdcdcd","user_agent":"curl/8 ü","error_type":"TimeoutError"}\n'
)
BARE = Row(
    Access(1, 0, "203.0.113.9", "GET", "/", 200, None, None, False, 0, "", "", "", "", ""),
    Identity("203.0.113.9", "external"), "", Traffic.APP, None, "",
)  # fmt: skip
BARE_LINE = (
    '{"time_us":1,"key":0,"address":"203.0.113.9","kind":"external","identified_us":0,"method":"GET","path":"/",'
    '"status":200,"traffic":"app","bytes_sent":0}\n'
)


def read(line: bytes):
    """A line that is not the first."""
    return ExportReader().parse(line, "x.ndjson", 100)


@pytest.mark.parametrize(("row", "line"), [(FULL, FULL_LINE), (BARE, BARE_LINE)])
def test_a_request_and_its_line(row, line):
    assert Lines().rows([row]).decode() == line
    assert read(line.encode().rstrip(b"\n")) == row


def test_the_other_lines():
    lines = Lines()
    first = lines.first("sqlite:t.db", 1)
    assert json.loads(first) == {
        "tailtrace_export": 1, "store": "sqlite:t.db", "requests": 1, "fields": [field.name for field in FIELDS],
    }  # fmt: skip
    assert is_export(first)
    named = Named(Identity("100.64.0.7", "user", "ana"), 7)
    identity = lines.identity(named)
    assert identity == (
        b'{"tailtrace_identity":{"address":"100.64.0.7","kind":"user","user":"ana"},"named_us":7}\n'
    )  # fmt: skip
    refusal = RejectedLine("no-format", "/var/log/a.log", 12, "\x1b[31m=\u2028")
    refused = lines.rejected_line(refusal)
    assert (
        refused
        == (
            '{"tailtrace_refusal":{"reason":"no-format","file":"/var/log/a.log","offset":12,"text":"\\u001b[31m=\u2028"}}\n'
        ).encode()
    )
    rows = lines.rows([FULL])
    last = lines.last()
    assert last == (
        b'{"tailtrace_end":{"requests":1,"refusals":1,"identities":1,"xxh3_64":"%s"}}\n'
        % json.loads(last)["tailtrace_end"]["xxh3_64"].encode()
    )
    reader = ExportReader()
    read_back = [
        reader.parse(line.rstrip(b"\n"), "x", place)
        for place, line in enumerate((first, identity, refused, rows, last))
    ]
    assert read_back == [None, named, refusal, FULL, None]
    assert reader.problem("x") == ""


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", "empty"),
        (b"  \r", "empty"),
        (b"{", "no-format"),
        (b"[" * 60_000, "no-format"),
        (b"7", "no-format"),
        (b"{}", "bad-time"),
        (b'{"a":"' + b"x" * 70_000 + b'"}', "too-long"),
        (b'{"a":"\xff"}', "no-format"),
        (b'{"tailtrace_identity":[]}', "no-format"),
        (b'{"tailtrace_identity":{"address":"1.2.3.4"},"named_us":-1}', "bad-time"),
        (b'{"tailtrace_refusal":"x"}', "no-format"),
        (b'{"tailtrace_refusal":{"reason":"mine","file":"f","offset":0,"text":""}}', "no-format"),
        (b'{"tailtrace_refusal":{"reason":["empty"],"file":"f","offset":0,"text":""}}', "no-format"),
        (b'{"tailtrace_refusal":{"reason":"empty","file":"f","offset":-1,"text":""}}', "bad-number"),
        (b'{"tailtrace_refusal":{"reason":"empty","file":"\\ud800","offset":0,"text":""}}', "no-format"),
    ],
)
def test_a_line_that_is_none_is_refused(line, reason):
    refusal = read(line)
    assert isinstance(refusal, RejectedLine)
    assert (refusal.reason, refusal.file, refusal.offset) == (reason, "x.ndjson", 100)
    assert refusal.text == line.decode("utf-8", "backslashreplace")[:200]


def test_a_number_longer_than_python_reads_is_refused_and_looks_like_a_token():
    refusal = read(b'{"time_us":' + b"9" * 5_000 + b"}")
    assert (refusal.reason, refusal.text) == ("no-format", '{"time_us":[token]')


def test_a_refused_line_keeps_no_secrets_as_a_log_s_does_not():
    refusal = read(b'{"time_us":1,"path":"/a?token=hunter2","cookie":"sid=abc","agent":"x"')
    assert isinstance(refusal, RejectedLine)
    assert refusal.text == '{"time_us":1,"path":"/a?…","cookie":"…","agent":"x"'


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("time_us", -1, "bad-time"),
        ("time_us", 4_102_444_800_000_000, "bad-time"),
        ("time_us", True, "bad-time"),
        ("time_us", 1.0, "bad-time"),
        ("key", 2**63, "bad-number"),
        ("address", "", "bad-address"),
        ("address", None, "bad-address"),
        ("kind", "user\n", "no-format"),
        ("kind", "", "no-format"),
        ("kind", "admin", "no-format"),
        ("user", "\ud800", "no-format"),
        ("user", "\x1b[2J", "no-format"),
        ("device", "x" * 1025, "no-format"),
        ("expired", 1, "no-format"),
        ("method", "BREW", "no-format"),
        ("status", 1000, "bad-number"),
        ("traffic", "APP", "no-format"),
        ("request_time_us", 10**18, "bad-number"),
        ("bytes_sent", None, "bad-number"),
        ("trace_id", "AB" * 16, "no-format"),
        ("trace_id", "ab" * 15, "no-format"),
        ("span_id", "zz" * 8, "no-format"),
    ],
)
def test_a_value_that_no_log_could_have_made_is_refused(name, value, reason):
    assert isinstance(read(FULL_LINE.encode()), Row)
    refusal = read(json.dumps({**json.loads(FULL_LINE), name: value}).encode())
    assert isinstance(refusal, RejectedLine)
    assert refusal.reason == reason


def test_an_unknown_name_is_passed_over():
    assert read(json.dumps({**json.loads(FULL_LINE), "new": 1}).encode()) == FULL


@pytest.mark.parametrize("version", [0, 2, True, "1", None])
def test_an_export_of_another_version_is_not_read(version):
    line = json.dumps({"tailtrace_export": version}, separators=(",", ":")).encode()
    with pytest.raises(LogFileError, match=r"x: an export of version .*; this tailtrace reads version 1\."):
        ExportReader().parse(line, "x", 0)


def whole() -> list[bytes]:
    lines = Lines()
    parts = [lines.first("s", 2), lines.rows([BARE]), lines.rows([FULL])]
    return [part.rstrip(b"\n") for part in (*parts, lines.last())]


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (whole(), ""),
        (whole()[:-1], "cut"),
        (whole()[:1], "cut"),
        ([whole()[0], *whole()[2:]], "changed"),
        ([whole()[0], whole()[2], whole()[1], whole()[3]], "changed"),
        ([*whole()[:3], whole()[3].replace(b'"requests":2', b'"requests":"')], "cut"),
        ([*whole()[:3], b'{"tailtrace_end":7}'], "changed"),
        ([*whole(), whole()[1]], "changed"),
        ([*whole()[:3], whole()[3][:-3]], "cut"),
        ([line + b"\r" for line in whole()], "changed"),
    ],
)
def test_a_cut_or_changed_file_is_noticed(lines, says):
    reader, offset = ExportReader(), 0
    for line in lines:
        reader.parse(line, "x", offset)
        offset += len(line) + 1
    problem = reader.problem("x")
    assert problem.startswith(f"x: the export {'is' if says == 'cut' else 'was'} {says}") if says else problem == ""


PRINTABLE = st.text(st.characters(exclude_categories=("C", "Z"), include_characters=" "), max_size=60)
"""As `str.isprintable` has it; to draw any text and drop the others took twelve times as long."""
US = st.integers(0, 10**17)
IDENTITIES = st.builds(
    Identity, PRINTABLE.filter(bool), st.sampled_from(["user", "tagged", "unknown"]), PRINTABLE, PRINTABLE, PRINTABLE, PRINTABLE, PRINTABLE, PRINTABLE,
    PRINTABLE, PRINTABLE, st.booleans(),
)  # fmt: skip


@st.composite
def any_row(draw):
    who = draw(IDENTITIES)
    access = Access(
        draw(st.integers(0, 4_102_444_799_999_999)), draw(st.integers(0, 2**63 - 1)), who.address,
        draw(st.sampled_from(["GET", "_OTHER"])), draw(PRINTABLE), draw(st.integers(0, 999)), draw(st.none() | US),
        draw(st.none() | US), False, draw(US), draw(PRINTABLE), draw(st.sampled_from(["", "0f" * 16])),
        draw(st.sampled_from(["", "f0" * 8])), draw(PRINTABLE), "",
    )  # fmt: skip
    times_us = draw(st.integers(0, 4_102_444_800_000_000))
    return Row(
        access, who, draw(PRINTABLE), draw(st.sampled_from(Traffic)), draw(st.none() | US), draw(PRINTABLE), times_us
    )


@given(any_row())
def test_what_is_written_is_what_is_read(row):
    line = Lines().rows([row])
    assert line.count(b"\n") == 1
    assert read(line[:-1]) == row


@given(
    st.binary(max_size=300) | st.text(max_size=200).map(lambda text: json.dumps({"tailtrace_refusal": text}).encode())
)
def test_no_line_raises(line):
    assert isinstance(read(line.replace(b"\n", b"")), RejectedLine | Row | Named | None)
