"""Kinds of lines that people have, and what each becomes: the right person's request, or a refusal with a reason."""

import bz2
import gzip
import json
import lzma
import tracemalloc
import zipfile
from pathlib import Path

import pytest
import zstandard

from tailtrace_bridge.core.errors import LogFileError
from tailtrace_bridge.core.records import Access, RejectedLine
from tailtrace_bridge.logs.files import chunks, read_lines
from tailtrace_bridge.logs.parser import make_parser
from tailtrace_bridge.logs.understood import understand

T = "10/Mar/2024:10:00:00 +0000"
TIME_US = 1_710_064_800_000_000


def read(text: str, log_format: str = "auto") -> list[Access | RejectedLine]:
    lines = text.encode().split(b"\n")
    parser, _ = understand(make_parser(log_format), "f", lines)
    return [parser.parse(line, "f", number) for number, line in enumerate(lines)]


def outcome(record: Access | RejectedLine, *fields: str) -> object:
    return record.reason if isinstance(record, RejectedLine) else tuple(getattr(record, name) for name in fields)


@pytest.mark.parametrize(
    "line",
    [
        f'198.51.100.1 - - [10/Mar/2024:10:0198.51.100.2 - - [{T}] "GET /b HTTP/1.1" 200 5 "-" "c"',
        f'198.51.100.1 - 198.51.100.2 - - [{T}] "GET /b HTTP/1.1" 200 5 "-" "c"',
        f'198.51.100.1 - ann2001:db8::7 - - [{T}] "GET /b HTTP/1.1" 200 5 "-" "c"',
        f'198.51.100.1 - - [{T}] 198.51.100.2 - - [{T}] "GET /b HTTP/1.1" 200 5 "-" "c"',
        f'198.51.100.1 198.51.100.2 - - [{T}] "GET /b HTTP/1.1" 200 5 "-" "c"',
        f'198.51.100.1 - - [{T}] "GET /a198.51.100.2 - - [{T}] "GET /b HTTP/1.1" 200 5 "-" "c"',
        f'198.51.100.1 - - [{T}] "GET /a HTTP/1.1" 200 5198.51.100.2 - - [{T}] "GET /b HTTP/1.1" 200 5 "-" "c"',
        f'198.51.100.1 - - [{T}] "GET /a HTTP/1.1" 200 5 "-" "Moz198.51.100.2 - - [{T}] "GET /b HTTP/1.1" 200 5 "-" "c"',
        f'198.51.100.1 - - [{T}] "GET /a HTTP/1.1" 200 5 "-" "c"198.51.100.2 - - [{T}] "GET /b HTTP/1.1" 200 5 "-" "c"',
        f'198.51.100.1 - - [{T}] "GET /a HTTP/1.1" 200 5 "-" "c" 0.00198.51.100.2 - - [{T}] "GET /b HTTP/1.1" 500 5 "-" "c" 0.1',
    ],
)
@pytest.mark.parametrize("log_format", ["auto", "combined"])
def test_two_lines_in_one_are_refused(line, log_format):
    (record,) = read(line, log_format)
    assert isinstance(record, RejectedLine), record


def test_a_word_at_the_end_is_one_word():
    source = '$server_name $remote_addr - $remote_user [$time_local] "$request" $status $request_id $host'
    head = (
        f'app.example.org 198.51.100.1 - - [{T}] "GET /a HTTP/1.1" 200 5af7183fb1d4cf5ff0b5a2d7d4b3c1aa app.example.org'
    )
    assert outcome(*read(head, source), "path") == ("/a",)
    assert outcome(*read(head + head, source)) == "no-format"


@pytest.mark.parametrize(
    ("log_format", "line", "expected"),
    [
        ("combined", f'198.51.100.1 - a [x [{T}] "GET /s HTTP/1.1" 200 5 "-" "c"', ("198.51.100.1", "/s", 200)),
        ("$remote_addr [$time_local] $request_method $uri $status $body_bytes_sent", f"198.51.100.1 [{T}] GET /My 200 5 x.pdf 404 7", ("198.51.100.1", "/My 200 5 x.pdf", 404)),
        ('$remote_addr [$time_local] $request "$status"', f'198.51.100.1 [{T}] GET /a b c HTTP/1.1 "400"', ("198.51.100.1", "/a b c", 400)),
        ('$remote_addr:$remote_port [$time_local] "$request" $status', f'2001:db8::9:51234 [{T}] "GET /a HTTP/1.1" 200', ("2001:db8::9", "/a", 200)),
        ('$http_host $remote_addr - $remote_user [$time_local] "$request" $status', f'a b c 198.51.100.1 - - [{T}] "GET /a HTTP/1.1" 400', ("198.51.100.1", "/a", 400)),
        (r"t:$time_local\tx:$http_x_forwarded_for\ta:$remote_addr\tr:$request\ts:$status", f"t:{T}\tx:1.1.1.1, , 3.3.3.3\ta:198.51.100.1\tr:GET /a HTTP/1.1\ts:200", ("198.51.100.1", "/a", 200)),
        ('$http_x_forwarded_for - $remote_user [$time_local] "$request" $status', f'100.64.0.1, 203.0.113.9, 10.1.1.1 - - [{T}] "GET /a HTTP/1.1" 200', ("203.0.113.9", "/a", 200)),
        ('$http_x_forwarded_for - $remote_user [$time_local] "$request" $status', f'- - - [{T}] "GET /a HTTP/1.1" 200', ("", "/a", 200)),
        ('$http_x_forwarded_for [$time_local] "$request" $status', f'203.0.113.9, fd00::5, ::1 [{T}] "GET /a HTTP/1.1" 200', ("203.0.113.9", "/a", 200)),
        ("$remote_addr [$time_local] $scheme://$host:$server_port$request_uri $status", f"198.51.100.1 [{T}] https://h:443/a 200", ("198.51.100.1", "/a", 200)),
        ('$remote_addr [$time_local] "$request" $request_method "$uri" $status', f'198.51.100.1 [{T}] "GET /a HTTP/1.1" GET "/index.html" 200', ("198.51.100.1", "/a", 200)),
        ('$http_x_real_ip $proxy_protocol_addr [$time_local] "$request" $status', f'- 203.0.113.9 [{T}] "GET /a HTTP/1.1" 200', ("203.0.113.9", "/a", 200)),
    ],
)  # fmt: skip
def test_what_a_client_chooses_does_not_keep_it_out(log_format, line, expected):
    (record,) = read(line, log_format)
    assert outcome(record, "address", "path", "status") == expected


HEAD = f'198.51.100.1 - - [{T}] "GET /a HTTP/1.1" 200 5'


@pytest.mark.parametrize(
    ("tail", "expected"),
    [
        (' 261 0.002 0.001 "-" "Googlebot/2.1"', ("Googlebot/2.1", 2000, 1000)),
        (' "-" "203.0.113.9" "Googlebot/2.1" 0.003 100', ("Googlebot/2.1", 3000, None)),
        (' 1.538 "https://ref.example/?q=1" "UptimeRobot/2.0"', ("UptimeRobot/2.0", 1_538_000, None)),
        (' "Mozilla/5.0 (X11)" "https://ref.example/?token=abc"', ("Mozilla/5.0 (X11)", None, None)),
        (' "-" "c" rt=5.000 uct="0.001, 0.001" uht="2.500, 2.400" urt="2.500, 2.400"', ("c", 5_000_000, 4_900_000)),
        (' "-" "c" 5.000 0.020 : 0.004', ("c", 5_000_000, 24_000)),
        (' "-" "c" 7 "router@docker" "http://10.0.0.1:80" 12ms', ("c", 12_000, None)),
        (' "-" "c" 373 0.002 [default-web-80] [] 10.0.0.1:80 615 0.001 200 5af7183fb1d4cf5ff0b5a2d7d4b3c1aa', ("c", 2000, 1000)),
        (' "-" "c" "203.0.113.9, 10.0.0.1"', ("c", None, None)),
        (' "-" "c" "203.0.113.9" "h" sn="s" rt=0.012 ua="10.0.0.1:80" us="200" ut="0.011" ul="5" cs=-', ("c", 12_000, 11_000)),
    ],
)  # fmt: skip
def test_auto_finds_columns_by_evidence(tail, expected):
    (record,) = read(HEAD + tail)
    assert outcome(record, "user_agent", "request_time_us", "upstream_time_us") == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (f'198.51.100.1 - - [{T}]  "GET /a HTTP/1.1" 200 5 "-" "c"', ("198.51.100.1", "/a", 200, None)),
        (f'198.51.100.1 - - [{T}] 0.123 0.100 "GET /a HTTP/1.1" 200 5 "-" "c"', ("198.51.100.1", "/a", 200, 123_000)),
        ('198.51.100.1 - - [2024-03-10T10:00:00+00:00] "GET /a HTTP/1.1" 200 5 "-" "c"', ("198.51.100.1", "/a", 200, None)),
        (f'[{T}] - 200 200 - GET https app.example.org "/a" [Client 198.51.100.1] [Length 5] [Gzip -] [Sent-to 10.0.0.2] "c" "-"', ("198.51.100.1", "/a", 200, None)),
        (f'[2001:db8::10]:443 198.51.100.1 - - [{T}] "GET /a HTTP/1.1" 200 5 "-" "c"', ("198.51.100.1", "/a", 200, None)),
        (f'app.example.org: unix: - - [{T}] "GET /a HTTP/1.1" 200 5 "-" "c"', ("unix:", "/a", 200, None)),
        (json.dumps({"ts": 1710064800.5, "request": {"remote_ip": "198.51.100.1", "method": "GET", "uri": "/a?x", "headers": {"User-Agent": ["c"]}}, "status": 0, "size": 0, "duration": 0.5}), ("198.51.100.1", "/a", 0, 500_000)),
        (json.dumps({"ClientHost": "198.51.100.1", "DownstreamStatus": 200, "Duration": 2_000_000, "RequestMethod": "GET", "RequestPath": "/a", "StartUTC": "2024-03-10T10:00:00.123456789Z"}), ("198.51.100.1", "/a", 200, 2000)),
        ('{"time": "2024-03-10T10:00:00+00:00", "remote_addr": "198.51.100.1", "path": "/a", "status": 200, "upstream_time": -, "request_time": 0.010}', ("198.51.100.1", "/a", 200, 10_000)),
    ],
)  # fmt: skip
def test_auto_knows_formats_by_name(line, expected):
    (record,) = read(line)
    assert outcome(record, "address", "path", "status", "request_time_us") == expected
    assert not isinstance(record, RejectedLine)
    assert 0 <= TIME_US - record.time_us <= 500_000 or record.time_us - TIME_US < 1_000_000


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"x_forwarded_for": ["192.0.2.66", "203.0.113.9"], "status": 200}, ("203.0.113.9", "/a", 200)),
        ({"x_forwarded_for": ["192.0.2.66", "203.0.113.9, 10.0.0.1"], "status": 200}, ("203.0.113.9", "/a", 200)),
        ({"remote_addr": ["192.0.2.66", "203.0.113.9"], "status": 200}, "bad-address"),
        ({"remote_addr": ["203.0.113.9"], "status": 200.0}, ("203.0.113.9", "/a", 200)),
        ({"client_ip": "fe80::1%eth0", "status": 200}, ("fe80::1", "/a", 200)),
        ({"client_ip": "[fe80::1%eth0]:4711", "status": 200}, ("fe80::1", "/a", 200)),
        ({"client_ip": "2001:db8::1%eth0", "status": 200}, "bad-address"),
        ({"client_ip": "fe80::1%e 203.0.113.9", "status": 200}, "bad-address"),
    ],
)
def test_whose_a_line_of_json_is(keys, expected):
    line = json.dumps({"time": "2024-03-10T10:00:00Z", "path": "/a", **keys})
    assert outcome(*read(line), "address", "path", "status") == expected


@pytest.mark.parametrize(
    ("bare", "upstream_us"),
    [("0.002 : 0.004", 6_000), ("0.002, 0.003 : -", 5_000), ("- : 0.004", 4_000), ("0.001 : 0.002 : 0.003", 6_000)],
)
@pytest.mark.parametrize("place", ['{{"urt":{bare},{rest}}}', '{{{rest},"urt":{bare}}}'])
def test_a_list_of_upstreams_stands_bare_in_json(bare, upstream_us, place):
    rest = '"time":"2024-03-10T10:00:00Z","remote_addr":"198.51.100.1","request":"GET /a HTTP/1.1","status":200'
    line = place.format(bare=bare, rest=rest)
    assert outcome(*read(line), "address", "path", "upstream_time_us") == ("198.51.100.1", "/a", upstream_us)


def test_a_key_that_stands_twice_is_forged():
    line = '{"time":"2024-03-10T10:00:00Z","remote_addr":"198.51.100.1","status":200,"ua":"x","remote_addr":"1.2.3.4"}'
    assert outcome(*read(line)) == "no-format"


COMBINED = f'{HEAD} "-" "c"'


@pytest.mark.parametrize(
    "wrapped",
    [
        json.dumps({"log": COMBINED + "\n", "stream": "stdout", "time": "2024-03-10T10:00:00Z"}),
        "2024-03-10T10:00:00.123456789Z stdout F " + COMBINED,
        "Mar 10 10:00:00 web nginx[7]: " + COMBINED,
        "<190>Mar 10 10:00:00 web nginx: " + COMBINED,
        "<190>1 2024-03-10T10:00:00Z web nginx 7 - - " + COMBINED,
        json.dumps({"MESSAGE": COMBINED, "__REALTIME_TIMESTAMP": "1710064800000000"}),
        "Mar 10 10:00:00 2001:db8::5 nginx: " + COMBINED,
        "Sun 2024-03-10 10:00:00 UTC web nginx[7]: " + COMBINED,
        "1710064800.123456 web nginx[7]: " + COMBINED,
        "2024-03-10T10:00:00.123456789Z " + COMBINED,
        "web-1  | " + COMBINED,
        "web-1  | 2024-03-10T10:00:00.123456789Z " + COMBINED,
        "[pod/web-5d/nginx] " + COMBINED,
        json.dumps({"@timestamp": "2024-03-10T10:00:00Z", "message": COMBINED, "host": {"ip": ["10.0.0.3"]}}),
        json.dumps({"date": 1710064800.5, "log": COMBINED}),
        json.dumps({"date": 1710064800.5, "log": COMBINED, "stream": "stdout"}),
        "[12345.678901] web nginx[7]: " + COMBINED,
        "[    5.678901] web nginx[7]: " + COMBINED,
        "117 <190>1 2024-03-10T10:00:00Z web nginx 7 - - " + COMBINED,
        "2024-03-10T10:00:00.123456789Z stdout F:tag " + COMBINED,
        "\ufeff" + COMBINED,
    ],
)
def test_a_wrapped_line_is_the_line_inside(wrapped):
    assert read(f"{wrapped}\n{wrapped}")[0] == read(COMBINED)[0]


def in_cri(part: str, flag: str, stream: str = "stdout") -> str:
    return f"2024-03-10T10:00:00.123456789Z {stream} {flag} {part}"


def of_docker(part: str, end: str, stream: str = "stdout") -> str:
    return json.dumps({"log": part + end, "stream": stream, "time": "2024-03-10T10:00:00Z"})


@pytest.mark.parametrize("at", range(1, len(COMBINED)))
def test_a_line_in_parts_is_one_line(at):
    (whole,) = read(COMBINED)
    wanted = [whole.path, None, whole.path, whole.address]
    one, two = COMBINED[:at], COMBINED[at:]
    for records in (
        [in_cri(COMBINED, "F"), in_cri(one, "P"), in_cri(two, "F")],
        [of_docker(COMBINED, "\n"), of_docker(one, ""), of_docker(two, "\n")],
    ):
        first, part, rest = read("\n".join(records))
        assert [first.path, part, rest.path, rest.address] == wanted


def test_parts_of_two_streams_and_long_ones():
    said = "2024/03/10 10:00:00 [error] 7#7: *1 open() failed"
    records = [
        in_cri(COMBINED[:20], "P"), in_cri(said[:9], "P", "stderr"), in_cri(COMBINED[20:30], "P"),
        in_cri(said[9:], "F", "stderr"), in_cri(COMBINED[30:], "F"),
    ]  # fmt: skip
    assert [outcome(one, "path") if one else None for one in read("\n".join(records))] == [
        None, None, None, "no-format", ("/a",)
    ]  # fmt: skip
    long = COMBINED[:-1] + "x" * 40_000 + '"'
    parts = [
        of_docker(long[at : at + 16_384], "" if at + 16_384 < len(long) else "\n") for at in range(0, 40_000, 16_384)
    ]
    records = [*parts, of_docker(COMBINED, "\n")]
    assert [outcome(one, "path") if one else None for one in read("\n".join(records))] == [None, None, ("/a",), ("/a",)]
    endless = [in_cri("x" * 30_000, "P")] * 4 + [in_cri("x", "F"), in_cri(COMBINED, "F")]
    assert [outcome(one, "path") if one else None for one in read("\n".join(endless))][4:] == ["too-long", ("/a",)]


@pytest.mark.parametrize("pack", [bz2.compress, lzma.compress, zstandard.compress])
def test_other_compressions_are_read(tmp_path, pack):
    (tmp_path / "a").write_bytes(pack(b"one\ntwo\n"))
    assert [line for line, _, _ in read_lines(tmp_path / "a")] == [b"one", b"two"]


@pytest.mark.parametrize("left", [4, 9, 1000])
@pytest.mark.parametrize("before", [b"", b"zero\n"])
def test_a_zstd_file_that_ends_too_early_says_so(tmp_path, before, left):
    text = b"".join(b"%d %d\n" % (number, number * number % 9973) for number in range(100_000))
    path = tmp_path / "a.zst"
    path.write_bytes(zstandard.compress(before) + zstandard.compress(text)[:-left])
    lines = []
    with pytest.raises(LogFileError, match=r"damaged zstd: it ends too early.*`zstd -t"):
        lines += (line for line, _, _ in read_lines(path))
    assert lines == (before + text).split(b"\n")[: len(lines)]


def test_a_small_zstd_file_of_much_takes_little_memory(tmp_path):
    (tmp_path / "a.zst").write_bytes(zstandard.compress(b"one\n" + b"\0" * 400_000_000))
    tracemalloc.start()
    try:
        with (tmp_path / "a.zst").open("rb") as file:
            assert max(map(len, chunks(file, "a.zst"))) <= 16 << 20
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()


def test_a_tar_archive_is_told_and_nothing_of_it_is_read(tmp_path):
    import tarfile

    (tmp_path / "a.log").write_text(COMBINED + "\n")
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "a.log", "a.log")
    with pytest.raises(LogFileError, match="a tar archive; nothing of it is read"):
        list(read_lines(tmp_path / "a.tar.gz"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.lz4", b"\x04\x22\x4d\x18" + b"\0" * 600, "compressed by lz4; nothing of it is read"),
        ("a.Z", b"\x1f\x9d\x90" + b"\0" * 20, "zcat .*a.Z | tailtrace import -"),
        ("a.7z", b"7z\xbc\xaf\x27\x1c" + b"\0" * 20, "7z x -so"),
        ("a.journal", b"LPKSHHRH" + b"\0" * 20, "journalctl -o json --file"),
        ("a.gz.gz", gzip.compress(gzip.compress(b"one\n", mtime=0), mtime=0), "compressed twice; nothing of it is read"),
        ("a.gz.xz", lzma.compress(gzip.compress(b"one\n", mtime=0)), "compressed twice; nothing of it is read"),
    ],
)  # fmt: skip
def test_what_is_packed_otherwise_is_told_with_the_command(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(LogFileError, match=message):
        list(read_lines(tmp_path / name))


def test_what_others_add_to_a_packed_log_is_passed_over(tmp_path):
    (tmp_path / "a").write_bytes(b"\x50\x2a\x4d\x18\x04\0\0\0abcd" + zstandard.compress(b"one\n"))
    with zipfile.ZipFile(tmp_path / "b", "w") as archive:
        archive.writestr("a.log", b"one\n")
        archive.writestr("__MACOSX/._a.log", b"\0\5")
    (tmp_path / "c").write_bytes(lzma.compress(b"one\n", format=lzma.FORMAT_ALONE))
    for name in "abc":
        assert [line for line, _, _ in read_lines(tmp_path / name)] == [b"one"], name


def test_zeros_are_no_part_of_a_line(tmp_path):
    path = Path(tmp_path / "a")
    path.write_bytes(b"\0" * 100_000 + b"one\n" + b"tw" + b"\0" * 50 + b"three\n\0\0\nfour")
    assert [(line, offset) for line, offset, _ in read_lines(path)] == [
        (b"one", 100_000), (b"tw", 100_004), (b"three", 100_056), (b"four", 100_065)
    ]  # fmt: skip


def test_utf_16_is_read(tmp_path):
    (tmp_path / "a").write_bytes(f"{COMBINED}\r\n".encode("utf-16"))
    assert [line for line, _, _ in read_lines(tmp_path / "a")] == [COMBINED.encode()]


def test_traefiks_format_has_its_name_whatever_its_columns_hold():
    tail = '"-" "curl/8" 7 "app@docker" "http://172.18.0.3:80" 3ms'
    _, understood = understand(make_parser(), "f", [f'198.51.100.1 - - [{T}] "GET /a HTTP/1.1" 200 5 {tail}'.encode()])
    assert [one.name for one in understood.formats] == ["traefik"]


def test_two_requests_on_a_line_of_json_are_called_so():
    line = json.dumps({"time": "2024-03-10T10:00:00Z", "ip": "198.51.100.1", "uri": "/a", "status": 200})
    _, understood = understand(make_parser(), "f", [(line + line).encode()])
    assert list(understood.unsure) == ["they hold two requests, as after a full disk"]


TAILS = {
    "combined": '"https://a.example/" "Googlebot/2.1"',
    "main": '"https://a.example/" "Googlebot/2.1" "203.0.113.9"',
    "timed": '"https://a.example/" "Googlebot/2.1" 1.234 1.233',
    "labels": '"-" "Googlebot/2.1" rt=1.234 urt="1.233"',
    "ingress-nginx": '"-" "Googlebot/2.1" 300 1.234 [web-80] [] 10.0.0.1:80 5 1.233 200 5af7183fb1d4cf5ff0b5a2d7d4b3c1aa',
    "traefik": '"-" "Googlebot/2.1" 7 "web@docker" "http://10.0.0.9:80" 1234ms',
}


@pytest.mark.parametrize("tail", TAILS.values(), ids=TAILS)
def test_a_line_that_was_cut_is_no_shorter_line_of_another_format(tail):
    whole = f"{HEAD}123 {tail}"
    lines = [whole.encode()] * 4
    wanted = outcome(read(whole)[0], "bytes_sent", "user_agent", "request_time_us", "upstream_time_us")
    for end in range(1, len(whole)):
        cut = whole[:end].encode()
        parser, _ = understand(make_parser(), "f", [*lines[:2], cut, *lines[2:]])
        record = parser.parse(cut, "f", 0)
        found = outcome(record, "bytes_sent", "user_agent", "request_time_us", "upstream_time_us")
        assert isinstance(record, RejectedLine) or found == wanted, whole[:end]
        # Where it comes after the lines that the format was found by, it is none either.
        parser, _ = understand(make_parser(), "f", lines)
        record = parser.parse(cut, "f", 0)
        found = outcome(record, "bytes_sent", "user_agent", "request_time_us", "upstream_time_us")
        assert isinstance(record, RejectedLine) or found == wanted, whole[:end]
    assert outcome(parser.parse(f"{HEAD}12".encode(), "f", 0)) == "cut"


def test_lines_of_two_formats_are_read_though_one_is_the_others_beginning():
    common, combined = HEAD, f"{HEAD} {TAILS['combined']}"
    assert [outcome(one, "user_agent") for one in read(f"{common}\n{combined}")] == [("",), ("Googlebot/2.1",)]
    many = "\n".join([combined] * 20 + [common] * 3)
    assert {outcome(one, "path") for one in read(many)} == {("/a",)}


@pytest.mark.parametrize(
    ("last", "whole", "cut"),
    [
        ("$request_time", "1.234", ["1", "1.", "1.2", "1.23", ""]),
        ("$upstream_response_time", "0.100, 1.234", ["0.100, 1", "0.100, 1.23", "0.100, ", "0.1"]),
        ("$msec", "1710064800.123", ["1710064800", "1710064800.1", "17100648"]),
        ("$time_local", T, [T[:-1], T[:-4], T[:-6], "10/Mar/2024:10:00:0"]),
        ("$time_iso8601", "2024-03-10T10:00:00+05:45", ["2024-03-10T10:00:00+05:4", "2024-03-10T10:00:00+05"]),
    ],
)
def test_a_time_at_a_lines_end_is_whole_or_the_line_is_none(last, whole, cut):
    time = "" if "time_" in last or "msec" in last else "$time_local "
    source = f"$remote_addr {time}$status {last}"
    head = f"198.51.100.1 {T if time else ''} 200 ".replace("  ", " ")
    assert isinstance(read(head + whole, source)[0], Access)
    for end in cut:
        assert outcome(*read(head + end, source)) == "no-format", end


@pytest.mark.parametrize("end", ['"c" 0.00', '"c"'])
def test_two_requests_in_a_line_are_called_so_by_auto(end):
    line = f'{HEAD} "-" {end}198.51.100.2 - - [{T}] "GET /b HTTP/1.1" 500 5 "-" "c"'
    assert outcome(*read(line)) == "second-request"


@pytest.mark.parametrize("tail", ["timed", "traefik"])
@pytest.mark.parametrize("end", ["1.2341.2", "x", "1234msms", "12"])
def test_one_broken_line_takes_no_times_from_the_others(tail, end):
    whole = f"{HEAD} {TAILS[tail]}"
    wanted = outcome(read(whole)[0], "request_time_us", "upstream_time_us")
    broken = f"{whole.rpartition(' ')[0]} {end}"
    found = [outcome(one, "request_time_us", "upstream_time_us") for one in read("\n".join([whole] * 3 + [broken]))]
    assert found[:3] == [wanted] * 3
    assert isinstance(found[3], str)
    many = read("\n".join([whole] * 9 + [broken] * 4 + [whole]))
    assert outcome(many[-1], "request_time_us", "upstream_time_us") == wanted


def test_a_request_behind_the_size_is_no_user_agent():
    assert outcome(*read(f'{HEAD} "GET /b HTTP/1.1" 500 7')) == "second-request"
    agents = read("\n".join([f'{HEAD} "-" "curl/8"'] * 3 + [f'{HEAD} "-" "GET /b HTTP/1.1"']))
    assert outcome(agents[3], "user_agent") == ("GET /b HTTP/1.1",)


@pytest.mark.parametrize(
    ("keys", "size"),
    [
        ({"request": {"path": "/a", "size": 500}, "response": {"status": 200, "size": 99}}, 99),
        ({"url": {"path": "/a"}, "http": {"request": {"bytes": 500}, "response": {"status": 200, "bytes": 99}}}, 99),
        ({"req": {"url": "/a", "length": 500}, "res": {"statusCode": 200}}, 0),
        (
            {
                "path": "/a",
                "status": 200,
                "http": {"response": {"body": {"bytes": 99}}, "request": {"body": {"bytes": 5}}},
            },
            99,
        ),
        ({"path": "/a", "status": 200, "bytes_in": 500, "bytes_out": 99}, 99),
        ({"path": "/a", "status": 200, "length": 99}, 99),
    ],
)
def test_the_size_in_json_is_that_of_the_answer(keys, size):
    line = json.dumps({"time": "2024-03-10T10:00:00Z", "remote_addr": "198.51.100.1"} | keys)
    assert outcome(*read(line), "path", "status", "bytes_sent") == ("/a", 200, size)


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        (1710064800, TIME_US), (1710064800250, TIME_US + 250_000), (1710064800250000, TIME_US + 250_000),
        (1710064800250000000, TIME_US + 250_000), ("1710064800250", TIME_US + 250_000),
    ],
)  # fmt: skip
def test_a_whole_number_tells_its_unit_by_its_digits(time, expected):
    line = json.dumps({"time": time, "remoteAddress": "198.51.100.1", "url": "/a", "status": 200})
    assert outcome(*read(line), "time_us", "address") == (expected, "198.51.100.1")
    assert outcome(*read(line.replace("1710064800", "17100648001")), "time_us") == "bad-time"


def test_a_shipper_that_parsed_a_line_says_less_than_the_line():
    keys = {"@timestamp": "2024-03-10T10:00:09Z", "clientip": "198.51.100.1", "request": "/a", "response": "200"}
    whole = f'198.51.100.1 - - [{T}] "GET /a HTTP/1.1" 200 5 "-" "curl/8.5"'
    for message, time_us, agent in ((whole, TIME_US, "curl/8.5"), ("GET /a HTTP/1.1", TIME_US + 9_000_000, "")):
        lines = "\n".join([json.dumps(keys | {"message": message})] * 3)
        for record in read(lines):
            assert outcome(record, "time_us", "address", "user_agent") == (time_us, "198.51.100.1", agent)


def test_the_list_with_the_peer_at_its_end_names_the_client():
    source = '"$http_x_forwarded_for" "$proxy_add_x_forwarded_for" [$time_local] "$request" $status'
    listed = {
        "203.0.113.9, 198.51.100.1": "198.51.100.1",
        "198.51.100.2": "198.51.100.2",
        "203.0.113.9, 10.0.0.6": "203.0.113.9",
    }
    for value, address in listed.items():
        line = f'"203.0.113.9" "{value}" [{T}] "GET /a HTTP/1.1" 200'
        assert outcome(*read(line, source), "address") == (address,)


@pytest.mark.parametrize(
    "tails",
    [
        ['200 12 "-" curl/8.5'] * 3,
        ["200 12 Mozilla/5.0 (X11)"] * 3,
        ['412 200 5123 "-" "curl/8.5"', '389 200 77 "-" "curl/8.5"', '533 404 162 "-" "curl/8.5"'],
        [*(['200 12 0.250 "App/1.0" "curl/8.5"'] * 3), '200 12 0.250 "App/1.0" "-"'],
    ],
)
def test_a_line_of_many_that_do_not_show_what_they_are_is_not_read_alone(tails):
    lines = "\n".join(f'198.51.100.1 - - [{T}] "GET /a HTTP/1.1" {tail}' for tail in tails)
    assert [outcome(record) for record in read(lines)] == ["no-format"] * len(tails)


def test_a_name_with_slashes_in_front_is_no_host():
    assert outcome(*read(f'web/nginx/ab12 198.51.100.1 - - [{T}] "GET /a HTTP/1.1" 200 5 "-" "c"')) == "no-format"


@pytest.mark.parametrize(
    ("log_format", "end"),
    [
        ("$remote_addr [$time_local] $request_method $uri$is_args$args $server_protocol $status", " HTTP/1.1 200"),
        ('$remote_addr [$time_local] "$request_method $document_uri$is_args$args" $status', '" 200'),
        ("$remote_addr [$time_local] $status $uri$is_args$query_string", ""),
    ],
)
@pytest.mark.parametrize("path", ["/a", "/my report.pdf", "/my  report", "/"])
@pytest.mark.parametrize("query", ["", "?b=c", "?"])
def test_a_path_before_its_query_may_have_blanks(log_format, end, path, query):
    head = log_format.partition("$is_args")[0].replace("$remote_addr", "198.51.100.1").replace("$time_local", T)
    head = head.replace("$request_method", "GET").replace("$status", "200").replace("$document_uri", "$uri")
    line = head.replace("$uri", path) + query + end
    assert outcome(*read(line, log_format), "address", "path", "status") == ("198.51.100.1", path, 200)
