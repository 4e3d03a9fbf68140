"""Of refused lines all are counted; of how many the beginning is kept is bounded by the length of the log."""

from tailtrace_bridge.core.records import RejectedLine
from tailtrace_bridge.logs.parser import make_parser
from tailtrace_bridge.logs.rejected import SAMPLE_EVERY_BYTES, SAMPLES_AT_ONCE

LINE = b'/?token=x" is no line of any log'


def refused(parser, places):
    return [parser.parse(LINE, "a.log", place) for place in places]


def test_the_first_are_shown_and_all_are_refused():
    made = refused(make_parser(), range(0, 3_000 * len(LINE), len(LINE)))
    assert {type(one) for one in made} == {RejectedLine}
    assert {one.reason for one in made} == {"no-format"}
    shown = [one.text for one in made if one.text]
    passed = 3_000 * len(LINE) // SAMPLE_EVERY_BYTES
    assert SAMPLES_AT_ONCE <= len(shown) <= SAMPLES_AT_ONCE + passed + 1
    assert set(shown) == {'/?…" is no line of any log'}


def test_as_the_log_goes_on_more_are_shown():
    parser = make_parser()
    refused(parser, range(2 * SAMPLES_AT_ONCE))
    later = [2 * SAMPLES_AT_ONCE + n * SAMPLE_EVERY_BYTES for n in range(1, 10)]
    assert all(one.text for one in refused(parser, later))


def test_another_log_may_begin_at_its_start():
    parser = make_parser()
    refused(parser, range(2 * SAMPLES_AT_ONCE))
    again = refused(parser, [0, SAMPLE_EVERY_BYTES])
    assert [bool(one.text) for one in again] == [False, True]


def test_one_more_is_shown_for_each_stretch_of_the_log():
    parser = make_parser()
    refused(parser, [0] * SAMPLES_AT_ONCE)
    made = refused(parser, [SAMPLE_EVERY_BYTES - 1, SAMPLE_EVERY_BYTES])
    assert [bool(one.text) for one in made] == [False, True]
