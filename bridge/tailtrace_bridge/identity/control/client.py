"""Tailscale's control API.

The API gives all devices in one answer, without pages: https://tailscale.com/api#tag/devices.
A key reads them as it is; an OAuth client needs the scope `devices:core:read`.
"""

from collections.abc import Awaitable, Callable
from urllib.parse import quote

import anyio

from tailtrace_bridge.core.errors import ControlAnswerError
from tailtrace_bridge.core.secret import Secret
from tailtrace_bridge.identity.control.auth import ApiKey, OAuthClient
from tailtrace_bridge.identity.control.cache import FRESH_US
from tailtrace_bridge.identity.control.devices import Device, read_tailscale
from tailtrace_bridge.identity.control.lookups import STALE_US, LocalWhois, Lookups
from tailtrace_bridge.identity.control.transport import ATTEMPT_S, RESPONSE_BYTES_MAX, TOTAL_S, Cures, Transport

BASE_URL = "https://api.tailscale.com"
CURES = Cures(
    key="make a new one at https://login.tailscale.com/admin/settings/keys (a key lives 90 days at most, "
    "an OAuth client has no end)",
    scope="give the OAuth client the scope devices:core:read, or use a key of an admin",
    tailnet="set TAILNET to the name on https://login.tailscale.com/admin/settings/general, or to `-`, the key's own",
)
_FIELDS = {"fields": "default"}
"""All that `devices` reads; the rest (routes, endpoints, latencies) is most of the bytes."""


class TailscaleClient(Lookups):
    """Ask Tailscale. One of `api_key` and `oauth` is needed; `clock` gives microseconds since the epoch.

    `stale_us`: how old a list may be that answers while the API does not. Others as in `Transport` and `Lookups`.
    """

    def __init__(
        self,
        api_key: Secret | str | None = None,
        tailnet: str = "-",
        *,
        clock: Callable[[], int],
        oauth: OAuthClient | None = None,
        base_url: str = BASE_URL,
        local_whois: LocalWhois | None = None,
        fresh_us: int = FRESH_US,
        stale_us: int = STALE_US,
        attempt_s: float = ATTEMPT_S,
        total_s: float = TOTAL_S,
        response_bytes_max: int = RESPONSE_BYTES_MAX,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        credentials = oauth or ApiKey(api_key or "")
        transport = Transport(
            base_url,
            credentials,
            CURES,
            clock=clock,
            attempt_s=attempt_s,
            total_s=total_s,
            sleep=sleep,
            response_bytes_max=response_bytes_max,
        )
        super().__init__(transport, clock=clock, local_whois=local_whois, fresh_us=fresh_us, stale_us=stale_us)
        self._devices_path = f"/api/v2/tailnet/{quote(tailnet, safe='')}/devices"

    async def load_devices(self) -> tuple[Device, ...]:
        """Ask for all devices now. Raises `ControlApiError`."""
        answer = await self.transport.get(self._devices_path, _FIELDS)
        devices = answer.get("devices") if answer is not None else None
        if not isinstance(devices, list):
            raise ControlAnswerError(
                f"{self.transport.base_url} gave no list of devices; check that TAILSCALE_API_URL is Tailscale's"
            )
        return tuple(read_tailscale(device) for device in devices if isinstance(device, dict))

    async def load_device(self, device_id: str) -> Device | None:
        """Ask for one device now, by either of its ids. Raises `ControlApiError`."""
        path = f"/api/v2/device/{quote(device_id, safe='')}"
        answer = await self.transport.get(path, _FIELDS, absent_ok=True)
        return read_tailscale(answer) if answer is not None else None
