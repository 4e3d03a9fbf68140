"""Whose requests are asked for, side by side."""

import pytest

from tailtrace_api.access.roles import NotYoursError
from tailtrace_api.http.narrowing import narrowed, narrowed_to_any
from tailtrace_bridge.store.values import Filters

ANA = "ana@example.com"


@pytest.mark.parametrize(
    ("user", "only", "filters"),
    [
        (None, None, Filters()),
        (ANA, None, Filters(ANA)),
        ("203.0.113.9", None, Filters(address="203.0.113.9")),
        ("FD7A:115C::0009", None, Filters(address="fd7a:115c::9")),
        ("::ffff:100.64.0.2", None, Filters(address="100.64.0.2")),
        ("2001:db8::1", None, Filters(address="2001:db8::1")),  # a pseudonym's
        ("unix:", None, Filters(address="unix:")),
        ("100.64.0", None, Filters("100.64.0")),
        ("", None, Filters("")),
        (None, ANA, Filters(ANA)),
        (ANA, ANA, Filters(ANA)),
        # Whatever a login looks like, a member sees nobody else's.
        (None, "100.64.0.7", Filters("100.64.0.7")),
        ("100.64.0.7", "100.64.0.7", Filters("100.64.0.7")),
        (None, "", Filters("")),
    ],
)
def test_whose(user, only, filters):
    assert narrowed(user, only) == filters


@pytest.mark.parametrize("user", ["100.64.0.7", "ben@example.com", "unix:", ""])
def test_a_member_asks_for_nobody_else(user):
    with pytest.raises(NotYoursError):
        narrowed(user, ANA)


def test_the_rest_goes_along():
    rest = {"device": "a", "endpoint": "/b", "method": "GET", "status": "5xx"}
    assert narrowed("203.0.113.9", None, **rest) == Filters(address="203.0.113.9", **rest)
    assert narrowed(ANA, None, **rest) == Filters(ANA, **rest)


def test_any_of_several():
    rest = Filters(status="5xx")
    assert narrowed_to_any([], None, rest) == rest
    assert narrowed_to_any([ANA, ANA], None, rest) == Filters(ANA, status="5xx")
    assert narrowed_to_any([ANA, "::ffff:100.64.0.2"], None, rest) == Filters(users=(ANA, "100.64.0.2"), status="5xx")
    assert narrowed_to_any([ANA], ANA, rest) == narrowed_to_any([], ANA, rest) == Filters(ANA, status="5xx")
    for users in ([ANA, "ben@example.com"], ["ben@example.com"], [ANA, "100.64.0.2"]):
        with pytest.raises(NotYoursError):
            narrowed_to_any(users, ANA, rest)
