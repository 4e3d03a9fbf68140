"""What is made of the settings, and what they are called: without the table, and so without what reads it.

`Derived` is what `table.Settings` has beside its values; `HandedSettings` has it with values that were read elsewhere.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from tailtrace_bridge.core.errors import SettingsError
from tailtrace_bridge.core.secret import Secret
from tailtrace_bridge.core.text import quoted

TAILSCALE_SOCKET = Path("/var/run/tailscale/tailscaled.sock")
SECRET_BYTES_MAX = 4096
"""Of a file that holds a secret; longer than any key."""
_SHARED = ("influxdb_", "tailscale_", "tailnet")
"""How the names of settings begin that other tools know too: these have no prefix of ours."""
_SENT_IN_HEADERS = frozenset({"api_token", "influxdb_v2_token", "tailscale_api_key"})
_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+|\[[0-9A-Fa-f:.]+(?:%[A-Za-z0-9._-]+)?\]")
_PORT = re.compile(r"[0-9]{1,5}")


def environment_name(field: str) -> str:
    """Return the environment variable of a setting."""
    return field.upper() if field.startswith(_SHARED) else f"TAILTRACE_{field.upper()}"


def unix_path(value: str) -> Path | None:
    """`unix:/run/tailtrace/api.sock` → that path; None: it is no such address."""
    return Path(value[5:]) if value.startswith("unix:/") else None


def listen_host(value: str) -> str:
    """Return the host of an address to listen on; of a unix socket, which has none, `localhost`."""
    return "localhost" if unix_path(value) is not None else split_listen(value)[0]


def split_listen(value: str) -> tuple[str, int]:
    """`127.0.0.1:8470` → its host and port; no host is all of the machine's addresses. Raises ValueError."""
    host, colon, port = value.rpartition(":")
    if not colon or (host and not _HOST.fullmatch(host)) or not _PORT.fullmatch(port) or int(port) > 65535:
        raise ValueError(f"{quoted(value)} is no HOST:PORT; write one like 127.0.0.1:8470")
    return host.strip("[]"), int(port)


class Derived:
    """What follows from the values of settings."""

    if TYPE_CHECKING:
        checkpoint: Path
        alert_state: Path | None
        timezone: str

    def secret(self, field: str) -> Secret | None:
        """Return a secret, from its setting or from the file that its `_FILE` form names. None: it is not set.

        Raises `SettingsError` where both are set, where it could not be sent, or the file cannot be read or is empty.
        """
        given, path = getattr(self, field), getattr(self, f"{field}_file")
        if path is None:
            text = (given if isinstance(given, str) or not given else given.get_secret_value()) or ""
            return _sendable(field, environment_name(field), text.strip()) if text.strip() else None
        name = environment_name(f"{field}_file")
        if given:
            raise SettingsError(f"{environment_name(field)} and {name} are both set; keep one")
        try:
            with path.open("rb") as file:
                text = file.read(SECRET_BYTES_MAX).decode("ascii", "replace").strip()
        except OSError as error:
            raise SettingsError(f"{name}: cannot read {path}: {error.strerror}; mend the path or its mode") from None
        if not text:
            raise SettingsError(f"{name}: {path} is empty; write the secret into it")
        return _sendable(field, name, text)

    @property
    def has_control_key(self) -> bool:
        """Whether any credential of the control API is set."""
        names = ("tailscale_api_key", "tailscale_oauth_client_id", "tailscale_oauth_client_secret")
        return any(getattr(self, name + suffix) for name in names for suffix in ("", "_file"))

    @property
    def alert_state_path(self) -> Path:
        """`alert_state`, also where it is not set."""
        return self.alert_state or self.checkpoint.with_name("tailtrace.alerts.json")

    @property
    def history_path(self) -> Path:
        """Where it is kept who had which address when: beside the checkpoint, each bridge's own."""
        return self.checkpoint.with_name(self.checkpoint.stem + ".history.json")

    @property
    def zone(self) -> ZoneInfo:
        """`timezone` as an object."""
        return ZoneInfo(self.timezone)


class HandedSettings(Derived):
    """The values of a `table.Settings`, by name: what asks one can ask this."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        vars(self).update(values)


def handed(settings: Derived) -> HandedSettings:
    """Return the values of settings that were read, without what read them: it can be pickled, its secrets with it."""
    return HandedSettings(
        {
            name: Secret(value.get_secret_value()) if hasattr(value, "get_secret_value") else value
            for name, value in vars(settings).items()
        }
    )


def _sendable(field: str, name: str, text: str) -> Secret:
    """Return a secret. Raises `SettingsError` for one that is sent in a header and has what none can carry."""
    if field in _SENT_IN_HEADERS and not (text.isascii() and text.isprintable()):
        raise SettingsError(f"{name}: it has a character that no HTTP header can carry")
    return Secret(text)
