"""Look at the control API: is there a key, does it work, may it read devices.

| the key | status |
|---|---|
| none set | skipped: LocalAPI is enough where tailscaled runs |
| settings that contradict each other, or the API refuses it | failure, with what to do |
| the API is out of reach, slow or asks for fewer calls | warning |
| gives the list of devices | ok: it has the scope `devices:core:read` |
"""

import asyncio
from collections.abc import Callable, Sequence

from tailtrace_api.doctor.checks import Check, make_check
from tailtrace_bridge.core.errors import ControlApiError, SettingsError
from tailtrace_bridge.identity.control.devices import Device
from tailtrace_bridge.identity.control.lookups import DeviceSource
from tailtrace_bridge.settings.table import Settings
from tailtrace_bridge.wiring.devices import make_client

TIMEOUT_S = 10.0
_NAME = "control API"


def check_control(settings: Settings, clock: Callable[[], int]) -> list[Check]:
    """Ask for the list of devices. `clock` gives microseconds since the epoch."""
    try:
        client = make_client(settings, clock)
        if client is None:
            why = "no key set (TAILSCALE_API_KEY or an OAuth client): names come from tailscaled and files alone"
            return [make_check(_NAME, "skipped", why)]
        devices = asyncio.run(_devices(client))
    except TimeoutError:
        words = f"{settings.tailscale_api_url} did not answer within {TIMEOUT_S:.0f} s"
        return [make_check(_NAME, "warning", words, "check the way to it, and TAILSCALE_API_URL")]
    except (ControlApiError, SettingsError) as error:
        words, _, cure = str(error).partition("; ")
        passes = isinstance(error, ControlApiError) and error.fault in {"network", "load"}
        cure = cure or "correct the settings of the control API (docs/settings.md)"
        return [make_check(_NAME, "warning" if passes else "failure", words, cure)]
    told = f"the key works and may read devices (devices:core:read): {len(devices)} devices"
    return [make_check(_NAME, "ok", told)]


async def _devices(client: DeviceSource) -> Sequence[Device]:
    try:
        async with asyncio.timeout(TIMEOUT_S):
            return await client.load_devices()
    finally:
        await client.aclose()
