"""Who works in the chocolate factory: each person and service has an address of its own on loopback.

The addresses stand in for a tailnet's 100.x ones. The identities file names all of them but the visitor's: an address
that nobody vouches for stays without a name, as a wrong one would be worse.
"""

import json
import socket
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Person:
    """One device and who sits at it."""

    user: str
    """The login name; empty for a service, which has a tag instead, and for one who is not known."""
    device: str
    address: str
    """127.0.0.0/8: where this device's connections come from."""
    weight: int
    """How many of all requests are this device's, relative to the others."""
    features: tuple[str, ...]
    """The pages that this person goes to after the dashboard, the favourite first and most often."""
    cards: tuple[str, ...] = ()
    """The dashboard cards that this person looks at."""
    tags: tuple[str, ...] = ()


DASHBOARD = "/dashboard/complete"
WINDOWS = "/insights/optimal-windows"
FORECAST = "/predict/prices/weekly"
OPTIMIZE = "/optimize/production/daily"
CLIMATE = "/analysis/siar-summary"
BATCH = "/batches/{batch_id}"

PEOPLE = (
    Person("ana@factory.example", "ana-laptop", "127.0.0.11", 6, (FORECAST, WINDOWS, BATCH), ("prices", "energy")),
    Person("ana@factory.example", "ana-phone", "127.0.0.12", 2, (WINDOWS, CLIMATE), ("prices",)),
    Person("luis@factory.example", "luis-desktop", "127.0.0.13", 5, (OPTIMIZE, BATCH, WINDOWS), ("production",)),
    Person("marta@factory.example", "marta-tablet", "127.0.0.14", 4, (BATCH, CLIMATE), ("quality", "production")),
    Person("kenji@factory.example", "kenji-laptop", "127.0.0.15", 3, (CLIMATE, FORECAST), ("weather", "prices")),
    Person("", "ci-runner", "127.0.0.21", 2, (BATCH, OPTIMIZE), tags=("tag:ci",)),
    Person("", "floor-kiosk", "127.0.0.22", 3, (CLIMATE, BATCH), ("production", "weather"), tags=("tag:kiosk",)),
    Person("", "", "127.0.0.99", 1, (CLIMATE,)),
)


def identities_toml(people: Iterable[Person]) -> str:
    """Return a file for `TAILTRACE_IDENTITIES` naming these people; form: `tailtrace_bridge.identity.static_file`."""
    lines = []
    for person in people:
        # A JSON string or list of strings is a TOML one too.
        entry = {"user": person.user, "device": person.device, "tags": list(person.tags)}
        values = ", ".join(f"{key} = {json.dumps(value)}" for key, value in entry.items() if value)
        if values:
            lines.append(f'"{person.address}" = {{ {values} }}\n')
    return "".join(lines)


def unusable_address(people: Iterable[Person]) -> str:
    """Return the first address that this machine does not let a client use, or nothing.

    Linux has all of 127.0.0.0/8 on its loopback; macOS and the BSDs have 127.0.0.1 alone until told otherwise.
    """
    for person in people:
        with socket.socket() as probe:
            try:
                probe.bind((person.address, 0))
            except OSError:
                return person.address
    return ""
