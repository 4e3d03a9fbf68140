"""Makes, of the settings, the client of the control API, and the provider that keeps its list of devices."""

from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tailtrace_bridge.core.errors import ControlApiError, SettingsError
from tailtrace_bridge.identity.control.auth import OAuthClient
from tailtrace_bridge.identity.control.client import TailscaleClient
from tailtrace_bridge.identity.control.headscale import HeadscaleClient
from tailtrace_bridge.identity.control.provider import DeviceIndexProvider

if TYPE_CHECKING:
    from tailtrace_bridge.settings.table import Settings


def make_client(settings: "Settings", clock: Callable[[], int]) -> TailscaleClient | HeadscaleClient | None:
    """Make the client that the settings name; None: they name no key. Raises `SettingsError` or `BadKeyError`.

    Where `TAILTRACE_CONTROL` is empty, it is Headscale if the URL is not Tailscale's and the key does not look like
    Tailscale's (`tskey-…`).
    """
    key = settings.secret("tailscale_api_key")
    secret = settings.secret("tailscale_oauth_client_secret")
    client_id_secret = settings.secret("tailscale_oauth_client_id")
    client_id = client_id_secret.get_secret_value() if client_id_secret is not None else ""
    if bool(secret) != bool(client_id):
        raise SettingsError("TAILSCALE_OAUTH_CLIENT_ID and TAILSCALE_OAUTH_CLIENT_SECRET go together; set both")
    if key and secret:
        raise SettingsError("TAILSCALE_API_KEY and an OAuth client are both set; keep one")
    url, stale_us = settings.tailscale_api_url, settings.control_stale_s * 1_000_000
    if not key and not secret:
        return None
    foreign = not (urlsplit(url).hostname or "").endswith("tailscale.com")
    looks_foreign = foreign and key is not None and not key.get_secret_value().startswith("tskey-")
    if settings.control == "headscale" or (not settings.control and looks_foreign):
        if key is None or not foreign:
            raise SettingsError("Headscale needs its URL in TAILSCALE_API_URL and its key in TAILSCALE_API_KEY")
        return HeadscaleClient(key, base_url=url, clock=clock, stale_us=stale_us)
    oauth = OAuthClient(client_id, secret, clock=clock) if secret else None
    return TailscaleClient(key, settings.tailnet, oauth=oauth, base_url=url, clock=clock, stale_us=stale_us)


def make_device_provider(settings: "Settings", clock: Callable[[], int]) -> DeviceIndexProvider | None:
    """Make the provider that the settings ask for, not started yet; None: they name no key.

    `clock` gives microseconds since the epoch. Raises `SettingsError` where the settings contradict each other.
    """
    try:
        client = make_client(settings, clock)
    except ControlApiError as error:
        raise SettingsError(str(error)) from None
    if client is None:
        return None
    return DeviceIndexProvider(
        lambda: client,
        clock=clock,
        stale_us=settings.control_stale_s * 1_000_000,
        client_counts=client.transport.counts,
    )
