"""Whom a believed proxy speaks for: the header `X-Forwarded-For` and the address, side by side."""

import pytest

from tailtrace_bridge.identity.proxies import HOPS_MAX, Proxies

BELIEVED = Proxies(["10.0.0.7/24", "unix:"])


@pytest.mark.parametrize(
    ("headers", "address"),
    [
        (["1.1.1.1, 100.64.0.2"], "100.64.0.2"),
        (["1.1.1.1", "100.64.0.2"], "100.64.0.2"),
        (["100.64.0.2, 10.0.0.5"], "100.64.0.2"),
        (["100.64.0.2, unix:"], "100.64.0.2"),
        (["100.64.0.2, 10.0.1.5"], "10.0.1.5"),
        (["100.64.0.2, nonsense"], ""),
        (["10.0.0.5, 10.0.0.6"], ""),
        ([], ""),
        (["100.64.0.2" + ", 10.0.0.5" * (HOPS_MAX - 1)], "100.64.0.2"),
        (["100.64.0.2" + ", 10.0.0.5" * HOPS_MAX], ""),
    ],
)
def test_forwarded(headers, address):
    assert BELIEVED.forwarded(headers) == address


@pytest.mark.parametrize(
    ("peers", "peer", "is_believed"),
    [
        (["10.0.0.7/24"], "10.0.0.200", True),
        (["10.0.0.7/24"], "10.0.1.7", False),
        ([" 10.0.0.7 "], "10.0.0.7", True),
        (["10.0.0.7"], "unix:", False),
        (["unix:"], "unix:", True),
        (["unix:"], "nonsense", False),
    ],
)
def test_who_is_believed(peers, peer, is_believed):
    assert (peer in Proxies(peers)) is is_believed


def test_there_may_be_none():
    assert [bool(Proxies(peers)) for peers in ([], ["unix:"], ["::1"])] == [False, True, True]


@pytest.mark.parametrize("peer", ["nonsense", "10.0.0.0/33", ""])
def test_what_is_no_peer(peer):
    with pytest.raises(ValueError, match="does not appear to be an IPv4 or IPv6 network"):
        Proxies([peer])
