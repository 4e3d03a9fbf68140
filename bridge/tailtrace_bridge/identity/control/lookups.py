"""What both clients answer, out of one list of devices that is kept for five minutes.

`whois(address)`, in this order; the first that knows has the word:

| who is asked | user, device, kind, tags | online, last seen |
|---|---|---|
| LocalAPI, where the caller gives it | LocalAPI's | the list's, if one is at hand: no call is made for it |
| the list of devices, by address | the list's | the list's |

An old list is used for as long as the cache lets it, and each answer made of it is `stale` and has its age.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Protocol, Self

import anyio.to_thread

from tailtrace_bridge.core.errors import ControlApiError
from tailtrace_bridge.core.text import parse_address
from tailtrace_bridge.identity.chain import Answer, Found
from tailtrace_bridge.identity.control.cache import FRESH_US, Aged, Cache
from tailtrace_bridge.identity.control.devices import PROVIDER, Device, DeviceIndex
from tailtrace_bridge.identity.control.transport import Transport

STALE_US = 3_600_000_000
EXPIRY_SOON_US = 7 * 86_400_000_000

LocalWhois = Callable[[str], Answer]
"""`LocalApi.whois`: it may block, and is called in a thread."""


@dataclass(frozen=True, slots=True)
class Whois:
    """Who is behind an address, and who said so."""

    address: str
    kind: str
    user: str
    device: str
    node_id: str
    tags: str
    online: bool | None
    last_seen_us: int | None
    provider: str
    """`localapi` or `control`."""
    stale: bool = False
    age_us: int = 0
    reason: str = ""
    """Why it is stale."""


@dataclass(frozen=True, slots=True)
class ControlStatus:
    """The tailnet in numbers, and how we know."""

    api_reachable: bool
    """Whether the last call gave an answer."""
    devices_total: int
    devices_online: int
    keys_expired: tuple[str, ...]
    """Names of devices whose node key has ended."""
    keys_expiring_soon: tuple[str, ...]
    """Names of devices whose node key ends within `EXPIRY_SOON_US`."""
    stale: bool
    age_us: int
    problem: str
    """What is wrong and what to do, or empty."""


class DeviceSource(Protocol):
    """Something that gives a tailnet's devices: a client, or a fake of one."""

    async def load_devices(self) -> tuple[Device, ...]:
        """Ask the API now. Raises `ControlApiError`."""

    async def aclose(self) -> None:
        """Close the connections."""


class Lookups:
    """The half that the two clients share; each adds how devices are loaded."""

    def __init__(
        self,
        transport: Transport,
        *,
        clock: Callable[[], int],
        local_whois: LocalWhois | None = None,
        fresh_us: int = FRESH_US,
        stale_us: int = STALE_US,
    ) -> None:
        self.transport = transport
        self._clock = clock
        self._local_whois = local_whois
        self._cache: Cache[DeviceIndex] = Cache(self._load_index, clock=clock, fresh_us=fresh_us, stale_us=stale_us)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.transport.base_url!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self.transport.aclose()

    async def load_devices(self) -> tuple[Device, ...]:
        """Ask the API now, whatever the cache holds. Raises `ControlApiError`."""
        raise NotImplementedError

    async def load_device(self, device_id: str) -> Device | None:
        """Ask the API for one device now; None: there is none. Raises `ControlApiError`."""
        raise NotImplementedError

    async def list_devices(self) -> DeviceIndex:
        """Return all devices; the list says how old it is and whether it is stale. Raises `ControlApiError`."""
        return _index(await self._cache.get())

    async def get_device_by_ip(self, address: str) -> Device | None:
        """Find who has an IPv4 or IPv6 address; None: no device, or several. Raises `ControlApiError`."""
        return _dated((await self.list_devices()), lambda devices: devices.at(address))

    async def get_device(self, device_id: str) -> Device | None:
        """Find a device by its stable node id or its older id: in the list, else by a call of its own."""
        device = _dated(await self.list_devices(), lambda devices: devices.by_id(device_id))
        return device if device is not None or not device_id else await self.load_device(device_id)

    async def get_status(self) -> ControlStatus:
        """Sum up the tailnet. Never raises `ControlApiError`: what is wrong is in `problem`."""
        try:
            devices = await self.list_devices()
        except ControlApiError as error:
            return ControlStatus(False, 0, 0, (), (), stale=False, age_us=0, problem=str(error))
        now_us = self._clock()
        ends = [(device.name, device.expires_us - now_us) for device in devices if device.expires_us is not None]
        return ControlStatus(
            api_reachable=not devices.stale,
            devices_total=len(devices),
            devices_online=sum(device.online is True for device in devices),
            keys_expired=tuple(name for name, left_us in ends if left_us <= 0),
            keys_expiring_soon=tuple(name for name, left_us in ends if 0 < left_us <= EXPIRY_SOON_US),
            stale=devices.stale,
            age_us=devices.age_us,
            problem=devices.reason,
        )

    async def whois(self, address: str) -> Whois | None:
        """Return who is behind `address`; None: nobody that we know of. Raises `ControlApiError`."""
        if parse_address(address) is None:
            return None
        if self._local_whois is not None:
            answer = await anyio.to_thread.run_sync(self._local_whois, address)
            if isinstance(answer, Found):
                return self._of_local(answer)
        devices = await self.list_devices()
        device = devices.at(address)
        if device is None:
            return None
        identity = device.identity(address, devices.as_of_us)
        return Whois(
            address,
            identity.kind,
            identity.user,
            identity.device,
            identity.node_id,
            identity.tags,
            device.online,
            device.last_seen_us,
            PROVIDER,
            devices.stale,
            devices.age_us,
            devices.reason,
        )

    def _of_local(self, answer: Found) -> Whois:
        said = answer.identity
        at_hand = self._cache.peek()
        device = at_hand.value.by_id(said.node_id) if at_hand is not None else None
        online, last_seen_us = (device.online, device.last_seen_us) if device is not None else (None, None)
        return Whois(
            said.address,
            said.kind,
            said.user,
            said.device,
            said.node_id,
            said.tags,
            online,
            last_seen_us,
            said.provider,
        )

    async def _load_index(self) -> DeviceIndex:
        return DeviceIndex(await self.load_devices(), as_of_us=self._clock())


def _index(answer: Aged[DeviceIndex]) -> DeviceIndex:
    return answer.value.aged(answer.age_us, stale=answer.stale, reason=answer.reason)


def _dated(devices: DeviceIndex, find: Callable[[DeviceIndex], Device | None]) -> Device | None:
    device = find(devices)
    return replace(device, stale=devices.stale, age_us=devices.age_us) if device is not None else None
