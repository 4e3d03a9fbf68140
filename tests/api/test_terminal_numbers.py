"""Numbers in the terminal, beside those of the page."""

import pytest

from tailtrace_api.terminal.numbers import decimal, milliseconds, percent


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
