"""The tailnet as this machine knows it: devices, who is online, who has an address. Read only.

| tailscaled runs here | a key of the control API | devices come from | `online` from |
|---|---|---|---|
| yes | no | tailscaled's status | it |
| yes | yes | the control API | tailscaled, where it knows the node |
| no | yes | the control API | the control API |
| no | no | nowhere: the answer says what to do | |

A list of the control API is kept for `FRESH_US`; while the API does not answer, the old one is used for `stale_us`, and
says so. Who has an address is what the bridge's providers say (LocalAPI, status, the identities file), then the list.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from tailtrace_api.answers.record import Record, record
from tailtrace_api.answers.requests import iso
from tailtrace_bridge.core.errors import BridgeError
from tailtrace_bridge.core.records import Identity
from tailtrace_bridge.core.text import parse_address
from tailtrace_bridge.core.times import go_time_us
from tailtrace_bridge.identity.chain import Identities, Unavailable, describe
from tailtrace_bridge.identity.control.devices import Device
from tailtrace_bridge.identity.local_api import LocalApi
from tailtrace_bridge.identity.nodes import TAGGED_LOGIN, table_of, tags_of, text_of

FRESH_US = 300_000_000
STATUS_TTL_US = 5_000_000
EXPIRY_SOON_US = 7 * 86_400_000_000

LoadDevices = Callable[[], Awaitable[tuple[Device, ...]]]


class TailnetError(BridgeError):
    """There is nobody to ask about the tailnet; the message says what to do."""


@record
class DeviceRow(Record):
    """A device. `user` is None for a tagged one; `last_seen_seconds` is how long ago that was."""

    id: str
    name: str
    hostname: str
    user: str | None
    kind: str
    tags: tuple[str, ...]
    addresses: tuple[str, ...]
    online: bool | None
    last_seen: str | None
    last_seen_seconds: int | None
    key_expires: str | None


@record
class Devices(Record):
    """Devices, those online first. `source` has the list; `problem` says why it is not the newest."""

    devices: tuple[DeviceRow, ...]
    total: int
    online: int
    source: str
    problem: str | None


@record
class FoundDevice(Record):
    """The first device that was meant, how many were, and the names of all."""

    device: DeviceRow | None
    matches: int
    names: tuple[str, ...]


@record
class TailnetStatus(Record):
    """The tailnet in short. `control_api` is None where no key for it is set."""

    running: bool
    backend_state: str | None
    tailnet: str | None
    this_device: str | None
    devices_total: int
    devices_online: int
    keys_expired: tuple[str, ...]
    keys_expiring_soon: tuple[str, ...]
    source: str
    control_api: str | None
    problems: tuple[str, ...]


@record
class Whois(Record):
    """Who the bridge would take an address for."""

    address: str
    found: bool
    user: str | None
    device: str | None
    kind: str
    tags: tuple[str, ...]
    node_id: str | None
    via: str | None
    key_expired: bool
    identified_by: str | None
    reason: str | None
    description: str


class Tailnet:
    """Asks tailscaled and the control API. `clock` gives µs since the epoch. Safe to share between threads."""

    def __init__(
        self,
        local_api: LocalApi,
        identities: Identities,
        *,
        clock: Callable[[], int],
        load_devices: LoadDevices | None = None,
        stale_us: int = 3_600_000_000,
    ) -> None:
        self._local_api = local_api
        self._identities = identities
        self._clock = clock
        self._load_devices = load_devices
        self._stale_us = stale_us
        self._lock = threading.Lock()
        self._status: Mapping[str, object] | Unavailable = Unavailable("not asked yet")
        self._status_us: int | None = None
        self._devices: tuple[Device, ...] = ()
        self._devices_us: int | None = None
        self._problem = ""

    def online(self) -> dict[str, bool]:
        """Return for each node that tailscaled knows whether it is online: stable node id → online."""
        with self._lock:
            return {device.node_id: device.online for device in self._local_devices() if device.online is not None}

    def devices(self, *, user: str | None = None) -> Devices:
        """Answer `GET /tailnet/devices`. Raises `TailnetError`."""
        with self._lock:
            devices, source = self._known()
            rows = [self._row(device) for device in devices if user is None or device.user == user]
            rows.sort(key=lambda row: (not row.online, row.name, row.id))
            return Devices(
                devices=tuple(rows),
                total=len(rows),
                online=sum(row.online is True for row in rows),
                source=source,
                problem=self._problem or None,
            )

    def device(self, name: str, *, user: str | None = None) -> FoundDevice:
        """Answer `GET /tailnet/devices/{device}`: by name, host name, address or node id. Raises `TailnetError`."""
        address = str(parse_address(name) or "")
        wanted = name.strip().rstrip(".").lower()
        rows = self.devices(user=user).devices
        found = [
            row
            for row in rows
            if wanted in {row.id.lower(), row.name.lower(), row.hostname.lower()}
            or (address and address in row.addresses)
        ]
        return FoundDevice(
            device=found[0] if found else None, matches=len(found), names=tuple(row.name for row in rows)
        )

    def status(self, *, user: str | None = None) -> TailnetStatus:
        """Answer `GET /tailnet/status`. What does not answer is in `problems`; of keys, those of `user` are named."""
        with self._lock:
            asked = self._local_status()
            status: Mapping[str, object] = {} if isinstance(asked, Unavailable) else asked
            problems = [asked.reason] if isinstance(asked, Unavailable) else []
            try:
                devices, source = self._known()
            except TailnetError:
                devices, source = (), "none"
            problems += [self._problem] if self._problem else []
            now_us = self._clock()
            ends = [
                (one.name, one.expires_us - now_us)
                for one in devices
                if one.expires_us is not None and user in {None, one.user}
            ]
            return TailnetStatus(
                running=text_of(status, "BackendState") == "Running",
                backend_state=text_of(status, "BackendState") or None,
                tailnet=text_of(table_of(status, "CurrentTailnet"), "Name") or None,
                this_device=text_of(table_of(status, "Self"), "HostName") or None,
                devices_total=len(devices),
                devices_online=sum(one.online is True for one in devices),
                keys_expired=tuple(sorted(name for name, left_us in ends if left_us <= 0)),
                keys_expiring_soon=tuple(sorted(name for name, left_us in ends if 0 < left_us <= EXPIRY_SOON_US)),
                source=source,
                control_api=None if self._load_devices is None else ("problem" if self._problem else "ok"),
                problems=tuple(problems),
            )

    def whois(self, address: str, *, user: str | None = None) -> Whois:
        """Answer `GET /tailnet/whois/{address}`: who the bridge would take the address for now."""
        with self._lock:
            identity = self._identities.identify(address)
            if not identity.user and not identity.device:
                try:
                    device = next(one for one in self._known()[0] if str(parse_address(address)) in one.addresses)
                    identity = device.identity(address, self._clock())
                except (StopIteration, TailnetError):
                    pass
            hidden = user is not None and identity.user != user
            if hidden:
                identity = Identity(address)  # every field stays, as the schema promises, and says nothing
            return Whois(
                address=address,
                found=bool(identity.user or identity.device),
                user=identity.user or None,
                device=identity.device or None,
                kind=identity.kind,
                tags=tuple(identity.tags.split(",")) if identity.tags else (),
                node_id=identity.node_id or None,
                via=identity.via or None,
                key_expired=identity.expired,
                identified_by=identity.provider or None,
                reason=identity.reason or None,
                description="not yours to see" if hidden else describe(identity),
            )

    # How it is done: all of it under the lock.

    def _row(self, device: Device) -> DeviceRow:
        return DeviceRow(
            id=device.node_id,
            name=device.name,
            hostname=device.hostname,
            user=None if device.kind == "tagged" else device.user or None,
            kind=device.kind,
            tags=device.tags,
            addresses=device.addresses,
            online=device.online,
            last_seen=iso(device.last_seen_us) if device.last_seen_us is not None else None,
            last_seen_seconds=None
            if device.last_seen_us is None
            else max(0, (self._clock() - device.last_seen_us) // 1_000_000),
            key_expires=iso(device.expires_us) if device.expires_us is not None else None,
        )

    def _known(self) -> tuple[tuple[Device, ...], str]:
        local = self._local_devices()
        if self._load_devices is not None:
            devices = self._control_devices()
            if devices is not None:
                seen = {device.node_id: device.online for device in local}
                return tuple(
                    replace(one, online=seen[one.node_id]) if seen.get(one.node_id) is not None else one
                    for one in devices
                ), "control"
        if local:
            return local, "tailscaled"
        status = self._status
        why = status.reason if isinstance(status, Unavailable) else "tailscaled is not Running; run tailscale up"
        raise TailnetError(
            f"no list of devices: {why}"
            + (f"; the control API: {self._problem}" if self._problem else "; or set TAILSCALE_API_KEY")
        )

    def _control_devices(self) -> tuple[Device, ...] | None:
        assert self._load_devices is not None
        now_us = self._clock()
        if self._devices_us is None or now_us - self._devices_us >= FRESH_US:
            try:
                self._devices, self._devices_us = asyncio.run(_awaited(self._load_devices)), now_us
                self._problem = ""
            except BridgeError as error:
                self._problem = str(error)
        if self._devices_us is None or now_us - self._devices_us > FRESH_US + self._stale_us:
            return None
        return self._devices

    def _local_status(self) -> Mapping[str, object] | Unavailable:
        now_us = self._clock()
        if self._status_us is None or not 0 <= now_us - self._status_us < STATUS_TTL_US:
            self._status, self._status_us = self._local_api.status_with_peers(), now_us
        return self._status

    def _local_devices(self) -> tuple[Device, ...]:
        status = self._local_status()
        if isinstance(status, Unavailable) or text_of(status, "BackendState") != "Running":
            return ()
        users = table_of(status, "User")
        peers = [table_of(status, "Self"), *table_of(status, "Peer").values()]
        return tuple(read_peer(peer, users) for peer in peers if isinstance(peer, dict) and text_of(peer, "ID"))


async def _awaited(load: LoadDevices) -> tuple[Device, ...]:
    return await load()


def read_peer(peer: Mapping[str, object], users: Mapping[str, object]) -> Device:
    """Read a node of tailscaled's status: https://pkg.go.dev/tailscale.com/ipn/ipnstate#PeerStatus."""
    login = text_of(table_of(users, str(peer.get("UserID"))), "LoginName")
    addresses = peer.get("TailscaleIPs")
    parsed = [parse_address(one) for one in addresses if isinstance(one, str)] if isinstance(addresses, list) else []
    tags = tags_of(peer)
    online = peer.get("Online")
    return Device(
        node_id=text_of(peer, "ID"),
        legacy_id="",
        name=text_of(peer, "DNSName").partition(".")[0] or text_of(peer, "HostName"),
        hostname=text_of(peer, "HostName"),
        addresses=tuple(str(one) for one in parsed if one is not None),
        user=TAGGED_LOGIN if tags else login,
        tags=tuple(tags.split(",")) if tags else (),
        shared=bool(peer.get("AltSharerUserID")) or peer.get("ShareeNode") is True,
        online=online if isinstance(online, bool) else None,
        last_seen_us=go_time_us(peer.get("LastSeen")),
        created_us=go_time_us(peer.get("Created")),
        expires_us=go_time_us(peer.get("KeyExpiry")),
    )
