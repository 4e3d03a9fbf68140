"""Headscale's API: another path, other names for the fields, a key of its own.

`GET /api/v1/node` gives all nodes in one answer, without pages, as grpc-gateway writes JSON.
Source: https://github.com/juanfont/headscale, gen/openapiv2/headscale/v1/headscale.swagger.json.
"""

from collections.abc import Awaitable, Callable

import anyio

from tailtrace_bridge.core.errors import ControlAnswerError
from tailtrace_bridge.core.secret import Secret
from tailtrace_bridge.identity.control.auth import ApiKey
from tailtrace_bridge.identity.control.cache import FRESH_US
from tailtrace_bridge.identity.control.devices import Device, read_headscale
from tailtrace_bridge.identity.control.lookups import STALE_US, LocalWhois, Lookups
from tailtrace_bridge.identity.control.transport import ATTEMPT_S, RESPONSE_BYTES_MAX, TOTAL_S, Cures, Transport

NODES_PATH = "/api/v1/node"
CURES = Cures(
    key="make a new one with `headscale apikeys create`",
    scope="make a new key with `headscale apikeys create`, and let no proxy stand before /api",
    tailnet="set TAILSCALE_API_URL to the server_url of Headscale, version 0.23 or later",
)


class HeadscaleClient(Lookups):
    """Ask Headscale. `clock` gives microseconds since the epoch. Others as in `TailscaleClient`."""

    def __init__(
        self,
        api_key: Secret | str,
        *,
        base_url: str,
        clock: Callable[[], int],
        local_whois: LocalWhois | None = None,
        fresh_us: int = FRESH_US,
        stale_us: int = STALE_US,
        attempt_s: float = ATTEMPT_S,
        total_s: float = TOTAL_S,
        response_bytes_max: int = RESPONSE_BYTES_MAX,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        transport = Transport(
            base_url,
            ApiKey(api_key),
            CURES,
            clock=clock,
            attempt_s=attempt_s,
            total_s=total_s,
            sleep=sleep,
            response_bytes_max=response_bytes_max,
        )
        super().__init__(transport, clock=clock, local_whois=local_whois, fresh_us=fresh_us, stale_us=stale_us)

    async def load_devices(self) -> tuple[Device, ...]:
        """Ask for all nodes now. Raises `ControlApiError`."""
        answer = await self.transport.get(NODES_PATH, {})
        # grpc-gateway may leave out an empty list: no nodes is not a wrong answer.
        nodes = answer.get("nodes", []) if answer is not None else None
        if not isinstance(nodes, list):
            raise ControlAnswerError(
                f"{self.transport.base_url} gave no list of nodes; check that TAILSCALE_API_URL is Headscale's"
            )
        return tuple(read_headscale(node) for node in nodes if isinstance(node, dict))

    async def load_device(self, device_id: str) -> Device | None:
        """Find one node in a new list: what Headscale answers for an unknown id differs by version."""
        found = [device for device in await self.load_devices() if device.node_id == device_id]
        return found[0] if found else None
