"""Which format a parser takes for a line, with several formats and wrappers to choose from."""

from datetime import UTC

from tailtrace_bridge.core.records import Access, RejectedLine
from tailtrace_bridge.logs.format import compile_format
from tailtrace_bridge.logs.known_formats import KNOWN_FORMATS
from tailtrace_bridge.logs.parser import LineParser, make_parser
from tailtrace_bridge.logs.rejected import LINE_LENGTH_MAX

COMBINED = b'198.51.100.1 - - [10/Mar/2024:10:00:00 +0000] "GET /a HTTP/1.1" 200 5 "-" "curl/8"'
NO_SUCH_DAY = COMBINED.replace(b"10/Mar", b"99/Mar")
JSON = (
    b'{"time":"2024-03-10T10:00:00+00:00","remote_addr":"198.51.100.1","request":"GET /a HTTP/1.1","status":200,'
    b'"log":"main"}'
)
SYSLOG = b"<190>Mar 10 10:00:00 host nginx: "


def test_a_line_of_the_greatest_length_is_read():
    agent = b"x" * (LINE_LENGTH_MAX - len(COMBINED))
    line = COMBINED.replace(b"curl/8", b"curl/8" + agent)
    assert isinstance(make_parser("combined").parse(line, "f", 0), Access)
    refused = make_parser("combined").parse(line + b" ", "f", 0)
    assert isinstance(refused, RejectedLine)
    assert refused.reason == "too-long"


def test_blocks_are_read_of_plain_lines_alone():
    parser = make_parser()
    parser.parse(SYSLOG + b"no line of any log", "f", 0)
    assert parser.block_format is not None
    parser.parse(SYSLOG + COMBINED, "f", 0)
    assert parser.block_format is None

    of_json = make_parser().format_of(JSON)
    assert of_json is not None
    assert LineParser([of_json]).block_format is None


def test_a_line_that_is_a_record_as_it_stands_is_not_unwrapped():
    parser = make_parser()
    parser.parse(SYSLOG + b"no line of any log", "f", 0)
    record = parser.parse(JSON, "f", 0)
    assert isinstance(record, Access)
    assert (record.address, record.path) == ("198.51.100.1", "/a")


def test_the_format_of_a_line_is_that_it_is_parsed_by():
    long = SYSLOG + b"x" * LINE_LENGTH_MAX
    longest = COMBINED.replace(b"/8", b"/8" + b"x" * (LINE_LENGTH_MAX - len(COMBINED)))
    wrapped_long = SYSLOG + longest
    for line, reason in (
        (COMBINED, None), (SYSLOG + COMBINED, None), (NO_SUCH_DAY, "bad-time"), (SYSLOG + NO_SUCH_DAY, "bad-time"),
        (b"no line of any log", "no-format"), (long, "too-long"), (wrapped_long, "too-long"),
        (longest, None),
    ):  # fmt: skip
        found, record = make_parser().format_of(line), make_parser().parse(line, "f", 0)
        assert (found is None, record.reason if isinstance(record, RejectedLine) else None) == (
            reason is not None,
            reason,
        )


def test_a_line_is_rejected_for_what_its_own_format_says():
    others = [compile_format("$remote_addr $time_iso8601 $request"), compile_format(KNOWN_FORMATS["combined"])]
    record = LineParser(others, UTC).parse(NO_SUCH_DAY, "f", 0)
    assert isinstance(record, RejectedLine)
    assert record.reason == "bad-time"


def test_a_format_that_cannot_read_a_line_leaves_it_to_the_next():
    formats = ("$remote_addr|$msec", "$remote_user [$time_local] $remote_addr", "$remote_addr [$time_local] $status")
    record = LineParser([compile_format(one) for one in formats], UTC).parse(
        b"198.51.100.1 [10/Mar/2024:10:00:00 +0000] 200", "f", 0
    )
    assert isinstance(record, Access)
    assert (record.address, record.status) == ("198.51.100.1", 200)


def test_a_format_has_its_name_and_auto_has_several():
    own, combined, other = make_parser(), make_parser("combined"), make_parser("$remote_addr [$time_local] $status")
    assert (own.is_auto, combined.is_auto, other.is_auto) == (True, False, False)
    assert ([one.name for one in combined.formats], [one.name for one in other.formats]) == (["combined"], ["given"])
