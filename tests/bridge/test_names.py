"""Who is who after renames: what the store knows, oldest first, and what each is called now."""

import pytest

from tailtrace_bridge.core.records import Identity
from tailtrace_bridge.store.names import Named, names_of_now


def who(user="", user_id="", device="", node_id="", address="100.64.0.7"):
    return Identity(address, "user" if user else "unknown", user, device, node_id, user_id=user_id)


@pytest.mark.parametrize(
    ("known", "now"),
    [
        pytest.param(
            [who("ana@old.example", "71", "mac", "n1"), who("ana@new.example", "71", "mac", "n1")],
            [who("ana@new.example", "71", "mac", "n1"), who("ana@new.example", "71", "mac", "n1")],
            id="a login changed",
        ),
        pytest.param(
            [who("ana@example.com", "71", "mac", "n1"), who("ana@example.com", "71", "ana-mac", "n1")],
            [who("ana@example.com", "71", "ana-mac", "n1"), who("ana@example.com", "71", "ana-mac", "n1")],
            id="a device was renamed",
        ),
        pytest.param(
            [who("ana@example.com", "71", "mac", "n1"), who("ben@example.com", "72", "pc", "n2")],
            [who("ana@example.com", "71", "mac", "n1"), who("ben@example.com", "72", "pc", "n2")],
            id="two people had one address after another",
        ),
        pytest.param(
            [who("info@example.com", "71"), who("ana@example.com", "71"), who("info@example.com", "72")],
            [who("ana@example.com", "71"), who("ana@example.com", "71"), who("info@example.com", "72")],
            id="a login went on to another person",
        ),
        pytest.param(
            [who("ana@old.example", device="mac"), who("ana@old.example", "71", "mac", "n1"),
             who("ana@new.example", "71", "ana-mac", "n1")],
            [who("ana@new.example", "71", "ana-mac", "n1")] * 3,
            id="the file named her before tailscaled did",
        ),
        pytest.param(
            [who("info@example.com", device="mac"), who("info@example.com", "71", "mac", "n1"),
             who("info@example.com", "72", "mac", "n2")],
            [who("info@example.com", device="mac"), who("info@example.com", "71", "mac", "n1"),
             who("info@example.com", "72", "mac", "n2")],
            id="a name without an id that two people have had is neither's",
        ),
        pytest.param(
            [who(device="runner"), who(device="runner", node_id="n3"), who(device="runner-2", node_id="n3")],
            [who(device="runner-2", node_id="n3")] * 3,
            id="a service has no user",
        ),
        pytest.param([who(), who(address="8.8.8.8")], [who(), who(address="8.8.8.8")], id="nobody is named"),
    ],
)  # fmt: skip
def test_names_of_now(known, now):
    assert names_of_now({n: Named(one, 1000 + n) for n, one in enumerate(known)}) == dict(enumerate(now))


def test_the_name_found_out_last_counts_not_the_one_stored_last():
    """Renamed and renamed back: the first identity was found out again."""
    first, second = who("ana@example.com", "71"), who("anna@example.com", "71")
    assert names_of_now({1: Named(first, 3000), 2: Named(second, 2000)}) == {1: first, 2: first}
