"""Numbers in the terminal, beside those of the page."""

import pytest

from tailtrace_api.terminal.numbers import decimal, hours, milliseconds, percent


@pytest.mark.parametrize(
    ("value", "digits", "en", "es"),
    [(7, 0, "7", "7"), (1712, 0, "1,712", "1.712"), (12345.5, 2, "12,345.5", "12.345,5"), (100, 2, "100", "100")],
)
def test_a_number(value, digits, en, es):
    assert (decimal(value, "en", digits), decimal(value, "es", digits)) == (en, es)


@pytest.mark.parametrize(
    ("value", "en", "es"),
    [
        (None, "–", "–"),
        (4.25, "4.2 ms", "4,2 ms"),
        (83.1, "83 ms", "83 ms"),
        (999.4, "999 ms", "999 ms"),
        (999.6, "1 s", "1 s"),
        (1530, "1.53 s", "1,53 s"),
        (98765.4, "98.8 s", "98,8 s"),
    ],
)
def test_a_time(value, en, es):
    assert (milliseconds(value, "en"), milliseconds(value, "es")) == (en, es)


@pytest.mark.parametrize(
    ("value", "en", "es"),
    [(None, "–", "–"), (6.25, "6.25%", "6,25 %"), (99.999, "99.99%", "99,99 %"), (0.001, "<0.01%", "<0,01 %")],
)
def test_a_share(value, en, es):
    assert (percent(value, "en"), percent(value, "es")) == (en, es)


@pytest.mark.parametrize(
    ("value", "en", "es"),
    [
        (0, "0 min", "0 min"),
        (0.004, "< 1 min", "< 1 min"),
        (0.2, "12 min", "12 min"),
        (0.996, "1 h", "1 h"),
        (13.7, "13 h 42 min", "13 h 42 min"),
        (1234.5, "1,234 h 30 min", "1.234 h 30 min"),
    ],
)
def test_hours(value, en, es):
    assert (hours(value, "en"), hours(value, "es")) == (en, es)
