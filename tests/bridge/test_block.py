"""Blocks of lines make what the same lines make one by one: `LineParser` and `Enricher.columns` are the oracles."""

import random
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tailtrace_bridge.core.records import Access, Identity, RejectedLine
from tailtrace_bridge.identity.chain import Holder
from tailtrace_bridge.logs.block import BlockReader
from tailtrace_bridge.logs.block_format import block_format
from tailtrace_bridge.logs.exchange import streamed_us_of
from tailtrace_bridge.logs.files import Piece, fingerprint, lines_of, read_lines, read_pieces
from tailtrace_bridge.logs.format import (
    COMBINED_FORMAT,
    TAILTRACE_FIELDS,
    TAILTRACE_FORMAT,
    TAILTRACE_FORMATS_BEFORE,
    compile_format,
)
from tailtrace_bridge.logs.known_formats import KNOWN_FORMATS
from tailtrace_bridge.logs.parser import LineParser, make_parser
from tailtrace_bridge.rows import enricher as enriching
from tailtrace_bridge.rows.enricher import Enricher
from tailtrace_bridge.rows.routes import Routes

SAMPLES = Path(__file__).parents[1] / "samples"
TIMED = COMBINED_FORMAT + " $request_time $upstream_response_time"
JSON = (
    'escape=json {"t":"$time_iso8601","a":"$remote_addr","m":"$request_method","u":"$request_uri","s":$status,'
    '"b":$body_bytes_sent,"d":$request_time,"up":"$upstream_response_time","h":"$host","ua":"$http_user_agent"}'
)
FORMATS = {
    "combined": COMBINED_FORMAT,
    "common": KNOWN_FORMATS["common"],
    "main": KNOWN_FORMATS["main"],
    "vhost": KNOWN_FORMATS["vhost"],
    "timed": TIMED,
    "json": JSON,
    "msec": '$msec $remote_addr "$request" $status $bytes_sent $request_id "$http_user_agent"',
    "before": TAILTRACE_FORMATS_BEFORE[0],
    "t3": TAILTRACE_FORMAT,
    "t2": TAILTRACE_FORMAT.replace(" t3\t", " t2\t"),
    "before that": TAILTRACE_FORMATS_BEFORE[1],
}


@pytest.mark.parametrize("name", FORMATS)
def test_the_usual_formats_have_a_pattern_for_blocks(name):
    fmt = block_format(compile_format(FORMATS[name]))
    line = _line(FORMATS[name], random.Random(1), odd=0).encode()
    assert [found[0] for found in fmt.pattern.findall(line + b"\n" + line + b'\t"\n')] == [line, b""]


@pytest.mark.parametrize(
    "source",
    [
        "escape=none " + COMBINED_FORMAT,
        "$remote_addr [$time_local] $request $status",
        '$http_x_forwarded_for [$time_local] "$request" $status',
        '$remote_addr:$remote_port [$time_local] "$request" $status',
        '$remote_addr [$time_local] "$request" $status $host $server_name',
    ],
)
def test_a_format_whose_values_may_end_elsewhere_has_none(source):
    assert block_format(compile_format(source)) is None


VALUES = {
    "remote_addr": ["100.64.0.7", "203.0.113.9", "fd7a:115c:a1e0::7", "::ffff:1.2.3.4", "999.1.1.1", "unix:", "-", "a b"],
    "remote_user": ["-", "ana", "a [x", "a.b@c-d", "", "[24/Apr/2018:06:25:04 +0000] \\x22", "é"],
    "time_local": [
        "24/Apr/2018:06:25:04 +0000", "24/Apr/2018:06:25:05 +0230", "31/Feb/2018:06:25:04 +0000",
        "24/Apr/2018:06:25:60 +0000", "24/Apr/2018:06:25:04", "01/Jan/1970:00:00:00 +0000", "24/Apr/2018:06:25:04 +2400",
    ],
    "time_iso8601": ["2018-04-24T06:25:04+00:00", "2018-04-24T06:25:04-03:30", "2018-04-24T06:25:04Z", "2018-02-31T06:25:04Z", "x"],
    "msec": ["1524551104.123", "1524551104.1", "99999999999.000", "0000000000.000", "-"],
    "request": [
        "GET / HTTP/1.1", "POST /items/438?token=x HTTP/1.1", "GET /a b HTTP/1.1", "-", "", "\\x16\\x03\\x01", "GET /é",
        "GET /_tailtrace/view?card=sales%23B HTTP/1.1", "GET /\\x22 HTTP/1.1", "CONNECT a:443 HTTP/1.1", "GET /" + "x" * 2000,
        '100.64.0.9 - - [24/Apr/2018:06:25:04 +0000] \\"GET /b HTTP/1.1\\" 200 5',
    ],
    "request_method": ["GET", "POST", "BREW", "-", ""],
    "request_uri": ["/", "/items/438?x=1", "-", "", "http://h/a", "/_tailtrace/view?card=sales"],
    "status": ["200", "404", "204", "101", "499", "000", "-", "0", "20", "2000"],
    "body_bytes_sent": ["0", "32", "-", "99999999999999", "x", ""],
    "request_time": ["0.000", "1.234", "12", "-", "0.5ms", "1.2345678901"],
    "upstream_response_time": ["0.001", "-", "", "0.001, 0.002", "0.001 : 0.002", "1.2.3", "-, -", "x"],
    "host": ["shop", "shop.example", "[::1]", "-", "", "a:b"],
    "http_user_agent": ["curl/8", "-", "", "Googlebot/2.1", "a\\x22b", "é", "x" * 300],
    "request_id": ["0123456789abcdef0123456789abcdef", "ABCDEF", "-", ""],
    "tailtrace_span_id": ["0123456789abcdef", "", "zz"],
    "http_tailscale_user_login": ["", "ana@example.com", "=?utf-8?q?Ana_=C3=A9?=", "é", "a\x01b", "-", "x" * 1100],
    "tailtrace_inbound_trace_id": ["", "abcdefabcdefabcdefabcdefabcdefab", "zz", "-"],
    "tailtrace_inbound_span_id": ["", "fedcba9876543210", "zz", "-"],
    "tailtrace_flags": ["01", "00", "", "1", "zz", "-"],
    "remote_port": ["40000", "", "0", "65535", "123456", "-", "x"],
    "realip_remote_addr": ["100.64.0.7", "127.0.0.1", "unix:", "", "-", "::ffff:1.2.3.4", "999.1.1.1", "ff::x"],
    "tailtrace_proxied": ["", "100.64.0.9@127.0.0.2", "100.64.0.9@", "x@y", "@", "-", "a\\tb"],
    "upstream_http_x_tailtrace": [
        "1;t=5123;r=/items/{item_id}", "", "1;t=0", "1;t=012;r=/a", "1;t=12345678901234", "1;t=5;t=6", "1", "1;", ";r=/x",
        "1;r=/items/{id};t=90", "1;r=/items/{item_id}", "2;t=5", "-", "1;t=5;r=/" + "x" * 995, "1;t=5;r=/" + "x" * 2000,
        "1;t=5;r=/é", "1;t=5;r=/a b", "1;t=5;e=Value\\u00e9", "1;t=99999999", "1;t=5x", "x" * 1025, "1;t=5;r=a;e=%C3",
    ],
    "upstream_cache_status": ["", "HIT", "MISS", "STALE", "-", "EXPIRED", "hit"],
    "upstream_addr": ["127.0.0.1:8000", "", "-", "127.0.0.1:8000, 127.0.0.1:8001", "unix:/a b", "x" * 1100],
    "upstream_status": ["200", "502, 200", "-", "101", ""],
    "upstream_header_time": ["0.001", "-", "", "0.100, 0.200", "x"],
    "http_host": ["shop", "[::1]:80", "", "é", "x" * 1500, "a\\tb", "a\tb", '"'],
}  # fmt: skip
ALIKE = {
    "bytes_sent": "body_bytes_sent", "server_name": "host", "tailtrace_trace_id": "request_id", "http_referer": "request",
    "http_x_forwarded_for": "host", "http_tailscale_funnel_request": "http_tailscale_user_login",
}  # fmt: skip


@st.composite
def logs(draw) -> tuple[str, bytes]:
    """A format and a log of it: most values usual, some odd; some lines cut, glued, empty or of another format."""
    source = FORMATS[draw(st.sampled_from(sorted(FORMATS)))]
    dice = random.Random(draw(st.integers(0, 1 << 32)))
    odd = draw(st.sampled_from((0.0, 0.02, 0.3)))
    lines = []
    for _ in range(draw(st.integers(1, 25))):
        lines.append(_line(source if dice.random() > odd / 4 else COMBINED_FORMAT, dice, odd))
        if dice.random() < odd / 4:
            lines[-1] = dice.choice(
                ("", " ", lines[-1][: dice.randrange(1 + len(lines[-1]))], lines[-1] * 2, "\xff\xfe")
            )
    return source, "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")


def _line(source: str, dice: random.Random, odd: float) -> str:
    parts = source.removeprefix("escape=json ").split("$")
    made = [parts[0]]
    for part in parts[1:]:
        name = part[: next((i for i, char in enumerate(part) if not (char.isalnum() or char == "_")), len(part))]
        values = VALUES.get(ALIKE.get(name, name), ["-", "x", "1"])
        made.append((dice.choice(values) if dice.random() < odd else values[0]) + part[len(name) :])
    return "".join(made)


def read_by_line(parser: LineParser, log: bytes) -> tuple[list[Access], list[RejectedLine]]:
    records, offset, seed = [], 0, fingerprint(log.split(b"\n")[0])
    for line in log.split(b"\n")[:-1]:
        records.append(parser.parse(line, "a.log", offset, seed))
        offset += len(line) + 1
    return (
        [one._replace(proxied=False) for one in records if isinstance(one, Access)],
        [one for one in records if isinstance(one, RejectedLine)],
    )


@settings(max_examples=200, deadline=None)
@given(logs())
@example((COMBINED_FORMAT, b'1.2.3.4 - - [24/Apr/2018:06:25:04 +0000] "GET / HTTP/1.1" 200 5 "-" "x"\n'))
def test_a_block_makes_the_records_of_its_lines(made):
    source, log = made
    for auto in (False, True):
        parsers = [make_parser("auto" if auto else source) for _ in range(2)]
        if auto:
            parsers = [parser.for_formats([compile_format(source)]) for parser in parsers]
        expected, rejected = read_by_line(parsers[0], log)
        reader = BlockReader(parsers[1], "a.log")
        seed = fingerprint(log.split(b"\n")[0])
        middle = log.find(b"\n", len(log) // 2) + 1
        for start, end in ((0, middle), (middle, len(log))):
            if start < end:
                reader.read(Piece(seed, (), log[start:end], start))
        lines = reader.take()
        found = [one._replace(proxied=False) for one in lines.accesses()]
        assert found == expected
        assert [one for one, _ in reader.rejected] == rejected
        numbers = [number for _, number in reader.rejected]
        assert [log.split(b"\n")[number] for number in numbers] == [
            log[one.offset :].split(b"\n")[0] for one in rejected
        ]


@pytest.mark.parametrize("header", ["-", "unknown", "evil", "203.0.113.5, 198.51.100.2"])
def test_a_header_without_an_address_is_read_in_a_block_as_in_a_line(header):
    source = COMBINED_FORMAT.replace("$remote_addr", "$http_x_forwarded_for")
    log = f'{header} - - [24/Apr/2018:06:25:04 +0000] "GET / HTTP/1.1" 200 5 "-" "x"\n'.encode()
    reader = BlockReader(make_parser(source), "a.log")
    reader.read(Piece(fingerprint(log[:-1]), (), log, 0))
    assert [one._replace(proxied=False) for one in reader.take().accesses()] == read_by_line(make_parser(source), log)[
        0
    ]


@pytest.mark.parametrize("mark", ["t3", "t2"])
def test_each_odd_value_of_our_own_format_is_read_as_in_a_line(mark):
    usual = {name: VALUES.get(ALIKE.get(name, name), ["-"])[0] for name in TAILTRACE_FIELDS}
    odd = [usual | {name: value} for name in usual for value in VALUES.get(ALIKE.get(name, name), ["-", "x", "é"])]
    texts = ["\t".join((mark, *values.values())) for values in odd]
    log = "".join(f"{text}\n" for text in texts).encode()
    expected, rejected = read_by_line(make_parser("tailtrace"), log)
    parser = make_parser("tailtrace")
    reader = BlockReader(parser, "a.log")
    offset = 0
    for text in texts:  # each is a block: of one that has a value which cannot be read, no line is read together
        block = f"{text}\n".encode()
        reader.read(Piece(fingerprint(log.split(b"\n")[0]), (), block, offset))
        offset += len(block)
    lines = reader.take()
    assert [one._replace(proxied=False) for one in lines.accesses()] == expected
    assert [one for one, _ in reader.rejected] == rejected
    told = [number for number, one in enumerate(expected) if one.app]  # of no other line it is asked
    assert [lines.streamed_us(number) for number in told] == [
        streamed_us_of(expected[number].exchange) for number in told
    ]
    by_block = [parser.block_format.pattern.fullmatch(f"{text}\n".encode())[1] is not None for text in texts]
    taken = {(name, values[name]) for values, is_taken in zip(odd, by_block, strict=True) if is_taken for name in usual}
    assert taken >= {
        ("tailtrace_inbound_trace_id", "abcdefabcdefabcdefabcdefabcdefab"), ("tailtrace_inbound_span_id", "fedcba9876543210"),
        ("tailtrace_flags", "00"), ("realip_remote_addr", "127.0.0.1"), ("realip_remote_addr", "unix:"),
        ("tailtrace_proxied", "100.64.0.9@127.0.0.2"), ("http_tailscale_user_login", "ana@example.com"),
        ("upstream_http_x_tailtrace", ""), ("upstream_http_x_tailtrace", "1;t=0"), ("upstream_cache_status", "HIT"),
        ("upstream_addr", "127.0.0.1:8000, 127.0.0.1:8001"), ("upstream_response_time", "0.001, 0.002"),
        ("http_host", "x" * 1500),
    }  # fmt: skip


def make_enricher(limit=4):
    def holder(address):
        return Holder(Identity(address, reason="public-address"), from_us=1 if address == "fd7a:115c:a1e0::7" else 0)

    return Enricher(holder, Routes(limit), frozenset({"/items/438"}))


def rows_of(columns):
    return [
        (
            columns.identities[columns.identity[row]], columns.endpoints[columns.requests[columns.request[row]].endpoint],
            columns.requests[columns.request[row]][1:], columns.agents[columns.agent[row]], columns.time_us[row],
            columns.key[row], columns.request_time_us[row], columns.upstream_time_us[row], columns.app_time_us[row],
            columns.bytes_sent[row], columns.trace_id[row], columns.span_id[row], columns.error_type[row],
            columns.identified_us[columns.identity[row]],
        )
        for row in range(len(columns.key))
    ]  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 7), st.sampled_from((200, 404, 101)), st.integers(0, 2)), min_size=1, max_size=40)
)
def test_the_rows_of_a_block_are_those_of_its_lines_whatever_their_order(asked):
    paths = ["/a", "/b/1", "/c", "/e?page=2", "/e", "/f.css", "/_tailtrace/view?card=x", "/_tailtrace/view?card=y"]
    log = "".join(
        f'100.64.0.{n % 3} - - [24/Apr/2018:06:25:04 +0000] "GET {paths[path]} HTTP/1.1" '
        f'{204 if path > 5 and status != 404 else status} {n} "-" "{("curl", "Googlebot/2.1", "")[agent]}"\n'
        for n, (path, status, agent) in enumerate(asked)
    ).encode()
    made = []
    for way in ("lines", "columns"):
        enricher = make_enricher()
        enricher._cards |= {f"card-{n}" for n in range(enriching.CARDS_MAX - 1)}
        rows = []
        for part in (log[: log.find(b"\n", len(log) // 2) + 1], log[log.find(b"\n", len(log) // 2) + 1 :]):
            reader = BlockReader(make_parser("combined"), "a.log")
            if part:
                reader.read(Piece(7, (), part, 0))
            lines = reader.take()
            rows += rows_of(enricher.lines(lines) if way == "lines" else enricher.columns(lines.accesses()))
        made.append((rows, enricher._routes.over_limit_count, enricher.cards_over_limit, enricher.senders))
    assert made[0] == made[1]


def test_services_that_are_too_many_are_one_in_a_block_as_in_its_lines():
    numbers = [*range(40), *range(20, 60)]
    log = "".join(
        f'host-{n}:80 100.64.0.{n % 3} - - [24/Apr/2018:06:25:04 +0000] "GET /a HTTP/1.1" 200 {n} "-" "curl"\n'
        for n in numbers
    ).encode()
    made = []
    for way in ("lines", "columns"):
        enricher = make_enricher()
        enricher.recall([], services=[f"known-{n}" for n in range(enriching.SERVICES_MAX - 30)])
        reader = BlockReader(make_parser("vhost"), "a.log")
        reader.read(Piece(7, (), log, 0))
        lines = reader.take()
        columns = enricher.lines(lines) if way == "lines" else enricher.columns(lines.accesses())
        made.append((rows_of(columns), enricher.services_over_limit))
        services = [columns.endpoints[columns.requests[place].endpoint][0] for place in columns.request]
        assert services == [f"host-{n}" if n < 30 else "__other__" for n in numbers]
    assert made[0] == made[1]
    assert made[0][1] == sum(n >= 30 for n in numbers)


def test_requests_that_differ_in_their_query_are_one():
    log = "".join(
        f'100.64.0.{n % 3} - - [24/Apr/2018:06:25:04 +0000] "GET /{n % 2}?{n} HTTP/1.1" 404 {n} "-" "curl"\n'
        for n in range(50)
    )
    reader = BlockReader(make_parser("combined"), "a.log")
    reader.read(Piece(7, (), log.encode(), 0))
    columns = make_enricher().lines(reader.take())
    assert [one.path for one in columns.requests] == ["/0", "/1"]
    assert columns.request == [0, 1] * 25


OURS = {
    "request_uri": ["/items/1", "/items/2", "/b", "/c", "/d/5", "/e/f.css", "/items/9/x", "/wp-login.php", "x"],
    "status": ["200", "404", "101", "500"],
    "request_time": ["0.000", "0.300", "-"],
    "server_name": ["shop", "", "factory"],
    "http_user_agent": ["curl/8", "Googlebot/2.1", "a\\u0001b"],
    "remote_addr": ["100.64.0.7", "203.0.113.9", "fd7a:115c:a1e0::7"],
    "realip_remote_addr": ["100.64.0.7", "", "127.0.0.1"],
    "http_tailscale_user_login": ["", "ana@example.com"],
    "tailtrace_proxied": ["", "100.64.0.9@127.0.0.2"],
    "tailtrace_inbound_trace_id": ["", "abcdefabcdefabcdefabcdefabcdefab"],
    "upstream_http_x_tailtrace": [
        "1;t=51;r=/items/{item_id}", "", "1;t=5123;r=/items/{item_id};e=ValueError", "1;r=/items/{path:path}", "1;t=77",
        "1;r=/e/{file}", "1;t=5;r=/b/{one}", "1;t=5;r=/c/{two}", "1;t=5;r=/d/{three}", "1;t=5;r=/f/{four}", "1;t=6;t=7",
        "1;t=100001", "1;r=/items/{item_id};t=90000", "2;t=5", "1;t=5;r=" + "/" + "x" * 600, "1;t=05;r=/b", "1;t=5;r=%ff",
        "1;t=5;r=/b\\u0001",
    ],
    "upstream_cache_status": ["", "HIT", "MISS"],
    "upstream_response_time": ["0.005", "0.150", "0.050, 0.350", "-"],
    "upstream_header_time": ["0.005", "0.010", "0.050, 0.100", "-"],
    "upstream_addr": ["127.0.0.1:8000", "127.0.0.1:8000, 127.0.0.1:8001", ""],
}  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 1 << 32), st.sampled_from(["t3", "t2"]), st.booleans(), st.integers(1, 6))
def test_the_rows_of_our_own_lines_have_what_the_app_said_of_each(seed, mark, has_fronts, limit):
    dice = random.Random(seed)
    odd = dice.choice((0.1, 0.5))
    lines = []
    for _ in range(dice.randrange(1, 40)):
        values = {name: (dice.choice(some) if dice.random() < odd else some[0]) for name, some in OURS.items()}
        if not has_fronts:
            values |= {"realip_remote_addr": values["remote_addr"], "http_tailscale_user_login": ""}
        known = {name: some[0] for name, some in VALUES.items()} | {"bytes_sent": "5"} | values
        lines.append("\t".join((mark, *(known.get(name, "") for name in TAILTRACE_FIELDS))) + "\n")
    middle = dice.randrange(len(lines))
    made = []
    for way in ("lines", "columns"):
        enricher, reader, rows = make_enricher(limit), BlockReader(make_parser("tailtrace"), "a.log"), []
        for part in ("".join(lines[:middle]).encode(), "".join(lines[middle:]).encode()):
            if way == "lines":
                if part:
                    reader.read(Piece(7, (), part, 0))
                rows += rows_of(enricher.lines(reader.take()))
            else:
                read = [make_parser("tailtrace").parse(line, "a.log", 0, 7) for line in part.split(b"\n")[:-1]]
                rows += rows_of(enricher.columns([one for one in read if isinstance(one, Access)]))
        routes = enricher._routes
        made.append(
            (
                rows,
                routes.over_limit_count,
                routes.unlearned_count,
                routes.learned(),
                enricher.senders,
                enricher.app_headers,
            )
        )
    assert made[0] == made[1]


def test_pieces_of_a_file_are_its_lines(tmp_path):
    path = tmp_path / "a.log"
    usual = (SAMPLES / "combined.log").read_bytes() * 2000
    path.write_bytes(usual + b"\0\0hole\r\n" + b"x" * 100_000 + b"\n" + usual + b"end")
    data = path.read_bytes()
    pieces = list(read_pieces(path))
    assert all(data.startswith(piece.block, piece.offset) for piece in pieces)
    assert sum(len(piece.block) for piece in pieces) > 0.7 * len(data), "most of a log is read in blocks"
    lines = [(line, offset) for line, offset, _ in read_lines(path)]
    assert lines == [one for piece in pieces for one in piece.lines or lines_of(piece.block, piece.offset)]
    whole = usual.split(b"\n")[:-1]
    assert [line for line, _ in lines] == [*whole, b"hole", b"x" * 65_537, *whole, b"end"]
    assert all(data.startswith(line, offset) for line, offset in lines)
