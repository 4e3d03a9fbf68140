"""Cards and variants: from a request to a key and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailtrace_bridge.core.cards import CARD_LENGTH_MAX, VARIANT, card_key, split_endpoint, split_key
from tailtrace_bridge.logs.request_line import card_of


@pytest.mark.parametrize(
    ("query", "key", "card", "variant"),
    [
        ("card=prices", "prices", "prices", ""),
        ("card=prices&variant=B", "prices#B", "prices", "B"),
        ("variant=B&card=prices&x=1", "prices#B", "prices", "B"),
        ("card=prices&variant=", "prices", "prices", ""),
        ("card=prices&variant=no+good", "prices", "prices", ""),
        ("card=prices&variant=" + "B" * 17, "prices", "prices", ""),
        ("card=prices&variant=%23B", "prices", "prices", ""),
        ("card=prices&variant=B%0a", "prices", "prices", ""),
        ("card=prices%23B", "prices#B#", "prices#B", ""),
        ("card=C%23&variant=B", "C##B", "C#", "B"),
        ("card=a%26variant%3DB", "a&variant=B", "a&variant=B", ""),
        ("card=prices&variant=A&variant=B", "prices#A", "prices", "A"),
        ("card=%3Cimg%20src=x%3E&variant=B", "<img src=x>#B", "<img src=x>", "B"),
        ("variant=B", "", "", ""),
        ("card=+&variant=B", "", "", ""),
        ("card=" + "a" * 100 + "&variant=B", "a" * 64 + "#B", "a" * 64, "B"),
    ],
)
def test_a_view_and_its_key(query, key, card, variant):
    assert card_of(query) == key
    assert split_key(key) == (card, variant)
    assert split_endpoint(f"/_tailtrace/view?card={key}") == (card, variant)


@given(st.text(min_size=1, max_size=CARD_LENGTH_MAX), st.one_of(st.just(""), st.from_regex(VARIANT, fullmatch=True)))
def test_a_key_comes_apart_as_it_was_made(card, variant):
    assert split_key(card_key(card, variant)) == (card, variant)
