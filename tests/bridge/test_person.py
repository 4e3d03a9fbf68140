"""Whom a text names: the logins, devices and addresses of a person, and of nobody else."""

import pytest

from tailtrace_bridge.core.records import Identity
from tailtrace_bridge.store.person import make_is_their_event, names_of

ANA = Identity("100.64.0.7", "user", "ana@example.com", "ana-laptop")
ANA_6 = Identity("fd7a:115c:a1e0::7", "user", "ana@example.com", "ana-laptop")


@pytest.mark.parametrize(
    ("text", "is_named"),
    [
        ("ana@example.com deployed it", True),
        ("Ana@Example.com: shop 1.4 deployed", True),
        ("by:ana@example.com", True),
        ("deployed by ana@example.com.", True),
        ("joana@example.com, ana@example.community, x.ana@example.com", False),
        ("https://ana-laptop:8443/box", True),
        ("ana-laptop2, my-ana-laptop, ana-laptop.example.com", False),
        ("100.64.0.7:52100 closed the connection", True),
        ("::ffff:100.64.0.7", True),
        ("100.64.0.71, 1100.64.0.7, 100.64.0.7.9", False),
        ("[fd7a:115c:a1e0::7]:443", True),
        ("fd7a:115c:a1e0::7, fine", True),
        ("fd7a:115c:a1e0::7:1, fd7a:115c:a1e0::71, 1:fd7a:115c:a1e0::7", False),
    ],
)
def test_a_text_names_somebody_by_a_word_of_its_own(text, is_named):
    assert make_is_their_event([ANA, ANA_6], [])(text) is is_named


def test_nothing_is_found_where_there_is_no_name():
    assert names_of(["", "127.0.0.1", "::1", "unix:"]) is None
