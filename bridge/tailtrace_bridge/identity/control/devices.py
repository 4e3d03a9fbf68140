"""A tailnet's devices, and who has an address.

What a device's fields make of the one behind it; a wrong name is worse than none:

| the device | kind | user |
|---|---|---|
| has tags, or the login `tagged-devices` | tagged | none: a service is no person |
| is shared in from another tailnet | shared | its login |
| has a login | user | its login |
| has none | unknown | none |

Two devices that list the same address contest it: nobody is named there.

Who had an address at an earlier time (`DeviceIndex.holder_at`):

| today's holder | answer |
|---|---|
| none, or contested | nobody, with the reason |
| no creation date, as devices shared in have none | nobody, with the reason |
| created later than that | nobody: another device may have had the address |
| created before | that device |

Sources: https://tailscale.com/api#tag/devices; Headscale's
gen/openapiv2/headscale/v1/headscale.swagger.json (`v1Node`).
"""

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from datetime import timedelta

from tailtrace_bridge.core.records import Identity
from tailtrace_bridge.core.text import parse_address, printable
from tailtrace_bridge.core.times import EPOCH, go_time_us
from tailtrace_bridge.identity.chain import Answer, Found, NotFound

PROVIDER = "control"
TAGGED_LOGIN = "tagged-devices"
"""The login that both services give to every device without a person."""


@dataclass(frozen=True, slots=True)
class Device:
    """A device as the control API tells it. Times are microseconds since the epoch; None is "not told"."""

    node_id: str
    """Tailscale's stable node id (`nodeId`), Headscale's `id`."""
    legacy_id: str
    """Tailscale's older `id`, which the API also takes."""
    name: str
    """The first label of its name in MagicDNS."""
    hostname: str
    addresses: tuple[str, ...]
    user: str
    """The login of its owner."""
    tags: tuple[str, ...]
    shared: bool
    online: bool | None
    last_seen_us: int | None
    created_us: int | None
    expires_us: int | None
    """When its node key ends; None: never."""
    key: str = ""
    """Its node key, as tailscaled writes it too."""
    stale: bool = False
    """Whether this comes from an old list, because the API gives no new one."""
    age_us: int = 0
    """How old the list is that it comes from."""

    @property
    def kind(self) -> str:
        """The first table above."""
        if self.tags or self.user == TAGGED_LOGIN:
            return "tagged"
        if self.shared:
            return "shared"
        return "user" if self.user else "unknown"

    def identity(self, address: str, at_us: int) -> Identity:
        """Return who stands behind `address`, one of the device's, and whether its key had expired at `at_us`."""
        kind = self.kind
        return Identity(
            address,
            kind,
            "" if kind == "tagged" else self.user,
            self.name,
            self.node_id,
            printable(",".join(self.tags)),
            PROVIDER,
            expired=self.expires_us is not None and self.expires_us <= at_us,
        )


@dataclass(frozen=True, slots=True)
class Holder:
    """Who had an address at a time: an identity, or None and the reason."""

    identity: Identity | None
    reason: str = ""


class DeviceIndex:
    """The devices of one list, found by address and by id. `as_of_us`: when the API gave the list."""

    name = PROVIDER
    __slots__ = ("_by_address", "_by_id", "age_us", "as_of_us", "contested", "devices", "reason", "stale")

    def __init__(
        self, devices: Sequence[Device], *, as_of_us: int, age_us: int = 0, stale: bool = False, reason: str = ""
    ) -> None:
        self.devices = tuple(devices)
        self.as_of_us = as_of_us
        self.age_us = age_us
        self.stale = stale
        self.reason = reason
        """Why it is stale."""
        self.contested: set[str] = set()
        """Addresses that several devices list."""
        self._by_address: dict[str, Device] = {}
        self._by_id = {key: device for device in self.devices for key in (device.legacy_id, device.node_id) if key}
        for device in self.devices:
            for address in device.addresses:
                if self._by_address.setdefault(address, device) is not device:
                    self.contested.add(address)
        for address in self.contested:
            del self._by_address[address]

    def __iter__(self) -> Iterator[Device]:
        return iter(self.devices)

    def __len__(self) -> int:
        return len(self.devices)

    def aged(self, age_us: int, *, stale: bool, reason: str) -> "DeviceIndex":
        """Return the same devices with another age, without finding them anew."""
        other = copy(self)
        other.age_us, other.stale, other.reason = age_us, stale, reason
        return other

    def at(self, address: str) -> Device | None:
        """Find who has `address`, IPv4 or IPv6, in any spelling."""
        device = self._by_address.get(address)
        if device is None and (parsed := parse_address(address)) is not None:
            device = self._by_address.get(str(parsed))
        return device

    def whois(self, address: str) -> Answer:
        """Return who has `address`, for the chain of providers of an import."""
        device = self.at(address)
        if device is None:
            return NotFound()
        return Found(
            device.identity(address, self.as_of_us), device.created_us, str(parse_address(address)), device.key
        )

    def held(self) -> dict[str, Found]:
        """Return who holds which address."""
        return {
            address: Found(device.identity(address, self.as_of_us), device.created_us, address, device.key)
            for address, device in self._by_address.items()
        }

    def by_id(self, device_id: str) -> Device | None:
        """Find a device by its stable node id or its older id."""
        return self._by_id.get(device_id)

    def holder_at(self, address: str, time_us: int) -> Holder:
        """Return who had `address` at `time_us`: the second table above."""
        device = self.at(address)
        if device is None:
            if str(parse_address(address)) in self.contested:
                return Holder(None, "several devices list this address")
            return Holder(None, "no device has this address today")
        if device.created_us is None:
            return Holder(None, f"the control API does not tell since when there is {device.name}")
        if device.created_us > time_us:
            since = EPOCH + timedelta(microseconds=device.created_us)
            return Holder(
                None, f"{device.name} has this address today, but exists only since {since:%Y-%m-%d %H:%M} UTC"
            )
        return Holder(device.identity(address, time_us))


def read_tailscale(table: Mapping[str, object]) -> Device:
    """Read a device of Tailscale's API. A field that is missing or of another type is empty."""
    never = table.get("keyExpiryDisabled") is True
    name = _text(table, "name").partition(".")[0] or _text(table, "hostname")
    return Device(
        node_id=_text(table, "nodeId") or _text(table, "id"),
        legacy_id=_text(table, "id"),
        name=name,
        hostname=_text(table, "hostname"),
        addresses=_addresses(table.get("addresses")),
        user=_text(table, "user"),
        tags=_texts(table.get("tags")),
        shared=table.get("isExternal") is True,
        online=_truth(table.get("connectedToControl")),
        last_seen_us=go_time_us(table.get("lastSeen")),
        created_us=go_time_us(table.get("created")),
        expires_us=None if never else go_time_us(table.get("expires")),
        key=_text(table, "nodeKey"),
    )


def read_headscale(table: Mapping[str, object]) -> Device:
    """Read a node of Headscale's API. Its tags are `tags` since 0.28, `forcedTags` and `validTags` before."""
    owner = table.get("user")
    owner = owner if isinstance(owner, dict) else {}
    tags = [*_texts(table.get("tags")), *_texts(table.get("forcedTags")), *_texts(table.get("validTags"))]
    return Device(
        node_id=_text(table, "id"),
        legacy_id="",
        name=_text(table, "givenName") or _text(table, "name"),
        hostname=_text(table, "name"),
        addresses=_addresses(table.get("ipAddresses")),
        user=_text(owner, "email") or _text(owner, "name") or _text(owner, "providerId"),
        tags=tuple(dict.fromkeys(tags)),
        shared=False,
        # grpc-gateway may leave out what is false; a node that says nothing is not online.
        online=table.get("online") is True,
        last_seen_us=go_time_us(table.get("lastSeen")),
        created_us=go_time_us(table.get("createdAt")),
        expires_us=go_time_us(table.get("expiry")),
        key=_text(table, "nodeKey"),
    )


def _text(table: Mapping[str, object], key: str) -> str:
    value = table.get(key)
    return printable(value) if isinstance(value, str) else ""


def _texts(value: object) -> tuple[str, ...]:
    return tuple(printable(item) for item in value if isinstance(item, str)) if isinstance(value, list) else ()


def _addresses(value: object) -> tuple[str, ...]:
    """Spell every address as Python does, so that two spellings of one meet; what is no address is left out."""
    parsed = (parse_address(text) for text in _texts(value))
    return tuple(dict.fromkeys(str(address) for address in parsed if address is not None))


def _truth(value: object) -> bool | None:
    return value if isinstance(value, bool) else None
