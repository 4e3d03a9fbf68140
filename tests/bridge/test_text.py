"""Addresses are what `ipaddress` says they are."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailtrace_bridge.core.text import exception_of, parse_address, percentage

OCTETS = st.sampled_from(
    ["0", "1", "100", "255", "256", "01", "", "-1", "+1", " 1", "1a", "\N{ARABIC-INDIC DIGIT THREE}", "1_0"]
)


def by_the_library(text):
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


@given(st.lists(OCTETS, min_size=1, max_size=5).map(".".join))
def test_an_ipv4_address_is_read_as_by_the_library(text):
    assert parse_address(text) == by_the_library(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("203.0.113.9", ipaddress.IPv4Address("203.0.113.9")),
        ("0.0.0.0", ipaddress.IPv4Address(0)),  # an address, nothing listens
        ("255.255.255.255", ipaddress.IPv4Address((1 << 32) - 1)),
        ("::ffff:100.64.0.2", ipaddress.IPv4Address("100.64.0.2")),
        ("fd7a:115c:a1e0::7", ipaddress.IPv6Address("fd7a:115c:a1e0::7")),
        ("1.2.3", None),
        ("1.2.3.04", None),
        ("unix:", None),
    ],
)
def test_an_address_in_any_form(text, expected):
    assert parse_address(text) == expected


@pytest.mark.parametrize(
    ("error_type", "exception"),
    [("ValueError", "ValueError"), ("500", ""), ("_OTHER", ""), ("", ""), ("E500", "E500")],
)
def test_a_status_is_no_exception(error_type, exception):
    assert exception_of(error_type) == exception


@pytest.mark.parametrize(
    ("value", "digits", "shown"),
    [
        (0, 2, ("", 0)),
        (0.004, 2, ("<", 0.01)),
        (0.3, 0, ("<", 1)),
        (0.02, 2, ("", 0.02)),
        (42, 1, ("", 42)),
        (99.95, 2, ("", 99.95)),
        (99.996, 2, ("", 99.99)),
        (99.8, 0, ("", 99)),
        (100, 2, ("", 100)),
        (2138, 0, ("", 2138)),
        (-3, 0, ("", -3)),
    ],
)
def test_some_is_not_nothing_and_not_all_is_not_all(value, digits, shown):
    assert percentage(value, digits) == shown
