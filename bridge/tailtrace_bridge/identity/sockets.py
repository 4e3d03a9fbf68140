"""Where tailscaled's socket is, by how Tailscale was installed.

| installed as | its socket |
|---|---|
| a package of Linux or FreeBSD; the add-on of Home Assistant | `/var/run/tailscale/tailscaled.sock` |
| Tailscale's container image, where nothing else is said | `/tmp/tailscaled.sock` |
| a snap | `/var/snap/tailscale/common/socket/tailscaled.sock` |
| Synology's package, DSM 7 and DSM 6 | `/var/packages/Tailscale/var/tailscaled.sock`, `…/etc/tailscaled.sock` |
| QNAP's package | `/tmp/tailscale/tailscaled.sock` |
| Homebrew on macOS (`brew services start tailscale`) | `/var/run/tailscaled.socket` |
| the macOS app | none: it lets nobody but its own programs ask |

Sources: `paths.DefaultTailscaledSocket` of tailscale.com v1.102.5, `TS_SOCKET` of its `cmd/containerboot`, and
https://github.com/canonical/tailscale-snap
"""

import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

DEFAULT = "/var/run/tailscale/tailscaled.sock"
PLACES = (
    DEFAULT,
    "/tmp/tailscaled.sock",  # noqa: S108 - theirs, and read only
    "/var/snap/tailscale/common/socket/tailscaled.sock",
    "/var/packages/Tailscale/var/tailscaled.sock",
    "/var/packages/Tailscale/etc/tailscaled.sock",
    "/tmp/tailscale/tailscaled.sock",  # noqa: S108
    "/var/run/tailscaled.socket",
)
MACOS_APP = Path("/Applications/Tailscale.app")

Signature = tuple[int, int, int]
"""What a socket's file is known by: device, inode, µs of its last change. A tailscaled that starts makes a new one."""


def signature(path: str) -> Signature | None:
    """Return the signature of a socket; None: there is none that this user can see."""
    try:
        found = os.stat(path)  # noqa: PTH116 - the places are texts
    except OSError:
        return None
    return (found.st_dev, found.st_ino, found.st_ctime_ns) if stat.S_ISSOCK(found.st_mode) else None


def find_socket(setting: str, is_there: Callable[[str], object] = signature, places: Sequence[str] = PLACES) -> str:
    """Return the socket to ask: the setting's, but where that is the default and not there, the first known place."""
    if setting != DEFAULT or is_there(setting):
        return setting
    return next((place for place in places if is_there(place)), setting)
