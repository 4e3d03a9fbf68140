"""The intervals against the tables of the papers that compared the methods."""

import pytest

from tailtrace_api.answers.proportions import newcombe, wilson


@pytest.mark.parametrize(
    ("hits", "of", "low", "high"),
    [  # Newcombe 1998a, Statist. Med. 17:857-872, table I, method 3 (score)
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_the_published_values(hits, of, low, high):
    assert wilson(hits, of) == (pytest.approx(low, abs=6e-5), pytest.approx(high, abs=6e-5))


@pytest.mark.parametrize(
    ("a", "of_a", "b", "of_b", "low", "high"),
    [  # Newcombe 1998b, Statist. Med. 17:873-890, table II, method 10 (score)
        (56, 70, 48, 80, 0.0524, 0.3339),
        (9, 10, 3, 10, 0.1705, 0.8090),
        (6, 7, 2, 7, 0.0582, 0.8062),
        (5, 56, 0, 29, -0.0381, 0.1926),
        (0, 10, 0, 20, -0.1611, 0.2775),
        (0, 10, 0, 10, -0.2775, 0.2775),
        (10, 10, 0, 20, 0.6791, 1.0000),
        (10, 10, 0, 10, 0.6075, 1.0000),
    ],
)
def test_newcombe_gives_the_published_values(a, of_a, b, of_b, low, high):
    assert newcombe(a, of_a, b, of_b) == (pytest.approx(low, abs=6e-5), pytest.approx(high, abs=6e-5))


def test_nothing_known_and_everybody():
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(20, 20) == (pytest.approx(1 - 0.1611, abs=6e-5), 1.0)
