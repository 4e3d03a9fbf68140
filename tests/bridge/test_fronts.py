"""What stands in front of nginx: peer, address and header, and the identity, side by side."""

import pytest

from tailtrace_bridge.core.records import Access, Identity
from tailtrace_bridge.identity.chain import Holder, NotFound, kind_of, reason_of
from tailtrace_bridge.identity.fronts import came_by, is_front
from tailtrace_bridge.identity.local_api import is_loopback_target, targets_of
from tailtrace_bridge.identity.loopback import THIS_MACHINE, USERSPACE, WITH_TUN, Verdict
from tailtrace_bridge.identity.near import Near
from tailtrace_bridge.identity.proxies import LOOPBACK, Proxies
from tailtrace_bridge.rows.enricher import Enricher
from tailtrace_bridge.rows.routes import Routes

ANA = Identity("100.64.0.7", "user", "ana@example.com", "laptop", "nANA", "", "localapi")
BOT = Identity("100.64.0.20", "tagged", "", "bot", "nBOT", "tag:bot", "localapi")
SELF = Identity("100.64.0.1", "self", "", "server", "nSELF", "", "localapi")
SERVED = Proxies(["unix:", *LOOPBACK])
PODS = Proxies(["10.42.0.0/16"])
NONE = Proxies()


def access(address, peer="", serve="", proxy_protocol="", at=""):
    return Access(
        9, 1, address, "GET", "/a", 200, 1, None, False, 1, "", "", "", "curl", "",
        serve=serve, peer=peer, proxy_protocol=proxy_protocol, proxy_protocol_at=at,
    )  # fmt: skip


def identified(line, believed, loopback=""):
    known = {"100.64.0.7": ANA, "100.64.0.20": BOT, "100.64.0.1": SELF}

    def holder(address):
        nobody = Identity(address, kind_of(address), reason=reason_of(address))
        if loopback and address in {"127.0.0.1", "::1"}:
            nobody = Identity(address, reason=loopback)
        return Holder(known.get(address, nobody), 0, 9)

    row = Enricher(holder, Routes(), serve=believed).row(line)
    columns = Enricher(holder, Routes(), serve=believed).columns([line])
    assert [row.identity] == columns.identities, "an import says what the bridge says"
    return row.identity


BY_UNIX = "forwarded by unix:"


@pytest.mark.parametrize(
    ("line", "believed", "loopback", "identity"),
    [
        # The safe recipe: a socket, and the address from X-Forwarded-For. No setting is needed.
        (access("100.64.0.7", "unix:"), NONE, "", ANA._replace(via=BY_UNIX)),
        (access("100.64.0.7", "unix:", "ana@example.com"), NONE, "", ANA._replace(via=BY_UNIX)),
        (access("100.64.0.7", "unix:", "ana@example.com"), NONE, "userspace-networking", ANA._replace(via=BY_UNIX)),
        (access("100.64.0.20", "unix:"), NONE, "userspace-networking", BOT._replace(via=BY_UNIX)),
        (access("100.64.0.1", "unix:", "boss@example.com"), SERVED, "", SELF._replace(via=BY_UNIX)),
        (access("100.64.0.9", "unix:"), NONE, "", Identity("100.64.0.9", reason="no-such-node", via=BY_UNIX)),
        (
            access("100.64.0.7", "unix:", proxy_protocol="100.64.0.7"),
            NONE,
            "",
            ANA._replace(via="PROXY protocol by unix:"),
        ),
        # Funnel is never a person, whatever address it names.
        (
            access("100.64.0.7", "unix:", "?1"),
            NONE,
            "",
            Identity("100.64.0.7", "funnel", provider="serve", via="Funnel by unix:"),
        ),
        (access("127.0.0.1", serve="?1"), NONE, "", Identity("127.0.0.1", "funnel", "", provider="serve", via="Funnel by 127.0.0.1")),
        (access("100.64.0.7", serve="?1"), SERVED, "", ANA),
        # Two headers of one name: whose is which?
        (
            access("100.64.0.9", "unix:", "ana@example.com, boss@example.com"),
            SERVED,
            "",
            Identity("100.64.0.9", reason="no-such-node", via=BY_UNIX),
        ),
        # Without the recipe nobody is `self`.
        (access("unix:", "unix:"), NONE, "", Identity("unix:", reason="unix-peer")),
        (access("unix:"), NONE, "", Identity("unix:", reason="unix-peer")),
        (access("unix:", "unix:", "ana@example.com"), NONE, "", Identity("unix:", reason="unix-peer")),
        (access("127.0.0.1", serve="ana@example.com"), NONE, "", Identity("127.0.0.1", reason="serve-not-believed")),
        (access("127.0.0.1"), NONE, "", Identity("127.0.0.1", "self")),
        # By setting, where loopback is this machine.
        (
            access("127.0.0.1", serve="ana@example.com"),
            SERVED,
            "",
            Identity("127.0.0.1", "user", "ana@example.com", provider="serve", via="serve by 127.0.0.1"),
        ),
        (
            access("unix:", "unix:", "ana@example.com"),
            SERVED,
            "userspace-networking",
            Identity("unix:", "user", "ana@example.com", provider="serve", via="serve by unix:"),
        ),
        # Where it may be anybody, nothing that comes from it is believed.
        *(
            (line, SERVED, why, Identity(line.address, reason="forged-where-no-tun", via=via))
            for why in ("userspace-networking", "loopback-unproven")
            for line, via in (
                (access("127.0.0.1", serve="ana@example.com"), ""),
                (access("100.64.0.7", "127.0.0.1"), "forwarded by 127.0.0.1"),
                (access("100.64.0.7", "::1", "ana@example.com"), "forwarded by ::1"),
            )
        ),
        # PROXY protocol is: where no peer is led to.
        *(
            (access("100.64.0.7", "127.0.0.1", "", "100.64.0.7", at), NONE, why, identity._replace(via="PROXY protocol by 127.0.0.1"))
            for reach in [Identity("100.64.0.7", reason="proxied-within-reach")]
            for at, why, identity in (
                ("127.0.0.2", "userspace-networking", ANA),
                ("127.0.0.2", "loopback-unproven", ANA),
                ("127.0.0.1", "userspace-networking", reach),
                ("::1", "userspace-networking", reach),
                ("127.0.0.1", "loopback-unproven", reach),
                ("", "userspace-networking", reach),
                ("192.0.2.1", "userspace-networking", reach),
                ("127.0.0.1", "", ANA),
            )
        ),
        (
            access("100.64.0.7", "127.0.0.1", "", "100.64.0.9", "127.0.0.2"),
            NONE,
            "userspace-networking",
            Identity("100.64.0.7", reason="forged-where-no-tun", via="forwarded by 127.0.0.1"),
        ),
        (access("127.0.0.1"), SERVED, "userspace-networking", Identity("127.0.0.1", reason="userspace-networking")),
        (access("100.64.0.7", "127.0.0.1"), NONE, "", ANA._replace(via="forwarded by 127.0.0.1")),
        # Proxies elsewhere, by name; what they say is checked where somebody knows the address.
        (
            access("10.42.0.9", serve="ana@example.com"),
            PODS,
            "",
            Identity("10.42.0.9", "user", "ana@example.com", provider="serve", via="serve by 10.42.0.9"),
        ),
        (access("10.43.0.9", serve="ana@example.com"), PODS, "", Identity("10.43.0.9", reason="private-address")),
        (access("100.64.0.7", "10.42.0.9", "Ana@Example.com"), PODS, "", ANA._replace(via="forwarded by 10.42.0.9")),
        (
            access("100.64.0.7", "10.42.0.9", "ben@example.com"),
            PODS,
            "",
            Identity("100.64.0.7", reason="serve-contradicted", via="forwarded by 10.42.0.9"),
        ),
        (
            access("100.64.0.20", "10.42.0.9", "ben@example.com"),
            PODS,
            "",
            Identity("100.64.0.20", reason="serve-contradicted", via="forwarded by 10.42.0.9"),
        ),
        (
            access("100.99.9.9", "10.42.0.9", "ben@example.com"),
            PODS,
            "",
            Identity("100.99.9.9", "user", "ben@example.com", provider="serve", via="serve by 10.42.0.9"),
        ),
        # Serve has no such peers: another proxy of that place handed on what its client wrote.
        (
            access("192.168.1.7", "10.42.0.9", "ben@example.com"),
            PODS,
            "",
            Identity("192.168.1.7", reason="private-address", via="forwarded by 10.42.0.9"),
        ),
        (
            access("8.8.8.8", "127.0.0.1", "ben@example.com"),
            SERVED,
            "",
            Identity("8.8.8.8", "external", via="forwarded by 127.0.0.1"),
        ),
        # A device of somebody's is no proxy, though nginx believes whatever comes (set_real_ip_from 0.0.0.0/0).
        (
            access("100.64.0.20", "100.64.0.7"),
            SERVED,
            "",
            Identity("100.64.0.20", reason="forwarded-by-device", via="forwarded by 100.64.0.7"),
        ),
        # Straight from the tailnet the connection speaks.
        (access("100.64.0.7", serve="ben@example.com"), SERVED, "", ANA),
        (access("8.8.8.8", serve="ben@example.com"), SERVED, "", Identity("8.8.8.8", "external")),
    ],
)  # fmt: skip
def test_who_it_is_behind_what(line, believed, loopback, identity):
    assert identified(line, believed, loopback) == identity


def test_a_file_that_names_loopback_has_the_word():
    ana = Identity("127.0.0.1", "user", "ana@example.com", "laptop", provider="static")
    made = Enricher(lambda _: Holder(ana, 0, 9), Routes(), serve=SERVED).row(
        access("127.0.0.1", serve="ben@example.com")
    )
    assert made.identity == ana


@pytest.mark.parametrize(
    ("verdict", "is_served", "has_serve", "reason"),
    [
        (THIS_MACHINE, False, False, None),
        (WITH_TUN, False, True, None),
        (WITH_TUN, True, True, None),
        (WITH_TUN, True, False, "serve-in-front"),
        (USERSPACE, False, False, "userspace-networking"),
        (Verdict(is_this_machine=False, why="x"), False, False, "loopback-unproven"),
        # With serve's headers there is a tailscaled somewhere, and only it can say what loopback is.
        (THIS_MACHINE, False, True, "loopback-unproven"),
    ],
)
def test_what_loopback_is_for_a_row(verdict, is_served, has_serve, reason):
    near = Near(lambda: verdict, lambda: is_served, has_serve=has_serve)
    assert near.whois("100.64.0.7") == NotFound()
    answer = near.whois("127.0.0.1")
    assert (None if answer == NotFound() else answer.identity.reason) == reason


def test_where_serve_hands_on_to():
    config = {
        "TCP": {"443": {"HTTPS": True}, "8082": {"TCPForward": "127.0.0.1:8092"}},
        "Web": {"a.ts.net:443": {"Handlers": {"/": {"Proxy": "http://localhost:80"}, "/x": {"Path": "/srv"}}}},
        "Foreground": {"1": {"Web": {"a.ts.net:80": {"Handlers": {"/": {"Proxy": "unix:/run/n.sock"}}}}}},
    }
    assert targets_of(config) == ["127.0.0.1:8092", "http://localhost:80", "unix:/run/n.sock"]
    assert [is_loopback_target(target) for target in targets_of(config)] == [True, True, False]
    assert [is_loopback_target(target) for target in ("http://10.0.0.5:80", "https+insecure://[::1]:443")] == [
        False,
        True,
    ]


@pytest.mark.parametrize(
    ("line", "believed", "is_one"),
    [
        (access("100.64.0.7"), NONE, False),
        (access("100.64.0.7"), SERVED, False),
        (access("100.64.0.7", "10.0.0.9"), NONE, True),
        (access("100.64.0.7", serve="ana@example.com"), NONE, True),
        (access("unix:"), NONE, True),
        (access("10.42.0.9"), PODS, True),
    ],
)
def test_which_lines_have_something_in_front(line, believed, is_one):
    assert is_front(line, believed) is is_one


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (access("100.64.0.7"), "its own connection"),
        (access("unix:", "unix:"), "its own connection"),
        (access("100.64.0.7", "unix:"), "forwarded by unix:"),
        (access("100.64.0.7", "127.0.0.1", "", "100.64.0.7"), "PROXY protocol by 127.0.0.1"),
    ],
)
def test_how_an_address_came_about(line, words):
    assert came_by(line) == words
