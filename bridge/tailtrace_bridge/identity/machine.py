"""What this machine shows of Tailscale and of containers, for `loopback`: looked at anew each time, never kept.

| a sign of Tailscale | a sign of a container |
|---|---|
| a socket of tailscaled (`loopback` looks there) | `/.dockerenv`, `/run/.containerenv` |
| a variable `TS_…` of its container image | a variable `KUBERNETES_…`, or `container` (podman, LXC, systemd-nspawn) |
| a program of Tailscale's that runs in our network | the name of an engine in process 1's cgroup |

A container whose network is its own is a machine of its own. Whether it is, its UDP sockets tell: tailscaled, and
whatever has it built in, cannot be without one, which leads to its peers. A sidecar's processes are in another process
namespace and so unseen, but their sockets are listed with ours: each must belong to a process that we see.

Source: proc_pid_net(5), proc_pid_fd(5); https://tailscale.com/kb/1282/docker has the variables.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

_TABLES = ("udp", "udp6")
_ENGINES = ("docker", "kubepods", "containerd", "libpod", "lxc", "/ecs/", "garden")
_CONTAINER_FILES = ("/.dockerenv", "/run/.containerenv")
_NOT_TAILSCALE = ("TS_NODE_", "TS_JEST_")
"""TypeScript's tools have the prefix too."""
NAME_LENGTH_MAX = 4096
"""Characters of a command line in which its program stands. Some user's may be of 2 MB."""
LOOKS_MAX = 3
"""A socket may close between two looks: only one that is seen each time without its process is another's."""


class Machine:
    """This machine. `root` is `/`, or a folder that stands for it."""

    def __init__(self, environment: Mapping[str, str], root: Path = Path("/")) -> None:
        self._environment, self._root = environment, root
        self._proc = root / "proc"

    def sign_of_tailscale(self) -> str:
        """Return what shows that a tailscaled may be near; empty: nothing does."""
        for name in sorted(self._environment):
            if name.startswith("TS_") and not name.startswith(_NOT_TAILSCALE):
                return f"the variable {name} is set"
        return "tailscaled runs here" if any(self._programs_near()) else ""

    def sign_of_container(self) -> str:
        """Return what shows that this is a container; empty: nothing does."""
        for path in _CONTAINER_FILES:
            if (self._root / path[1:]).exists():
                return f"{path} is there"
        for name in sorted(self._environment):
            if name == "container" or name.startswith("KUBERNETES_"):
                return f"the variable {name} is set"
        engine = next((engine for engine in _ENGINES if engine in self._read("1/cgroup")), "")
        return f"process 1 is in a cgroup of {engine.strip('/')}" if engine else ""

    def has_others(self) -> bool:
        """Whether somebody unseen, or Tailscale, has a UDP socket in our network; also where nobody can tell."""
        unseen = self._sockets()
        if unseen is None:
            return True
        for _ in range(LOOKS_MAX):
            for pid in self._pids():
                mine = unseen & self._sockets_of(pid)
                if mine and self._is_tailscale(pid):
                    return True
                unseen -= mine
            if not unseen:
                return False
            unseen &= self._sockets() or set()
            if not unseen:
                return False
        return True

    def _programs_near(self) -> Iterator[int]:
        """Yield the programs of Tailscale's in our network; also those of which it cannot be told."""
        try:
            ours = self._network("self")
        except OSError:
            return
        for pid in self._pids():
            if self._is_tailscale(pid):
                try:
                    is_near = self._network(str(pid)) == ours
                except PermissionError:
                    is_near = True
                except OSError:  # it has ended
                    continue
                if is_near:
                    yield pid

    def _pids(self) -> list[int]:
        try:
            return [int(entry.name) for entry in os.scandir(self._proc) if entry.name.isdigit()]
        except OSError:
            return []

    def _is_tailscale(self, pid: int) -> bool:
        first = self._read(f"{pid}/cmdline", NAME_LENGTH_MAX).partition("\0")[0].rpartition("/")[2]
        return any(
            "tailscaled" in name or name == "containerboot" for name in (self._read(f"{pid}/comm").strip(), first)
        )

    def _network(self, pid: str) -> str:
        return os.readlink(self._proc / pid / "ns" / "net")  # noqa: PTH115 - it leads nowhere

    def _sockets(self) -> set[str] | None:
        """Return the inodes of the UDP sockets of our network; None where they cannot be had."""
        found: set[str] = set()
        is_linux = False
        for table in _TABLES:
            lines = self._read(f"self/net/{table}").splitlines()
            is_linux = is_linux or bool(lines)
            found |= {fields[9] for line in lines[1:] if len(fields := line.split()) > 9}
        return found - {"0"} if is_linux else None

    def _sockets_of(self, pid: int) -> set[str]:
        found: set[str] = set()
        with suppress(OSError):  # another user's, or ended
            for entry in os.scandir(f"{self._proc}/{pid}/fd"):
                with suppress(OSError):
                    target = os.readlink(entry.path)  # noqa: PTH115
                    if target.startswith("socket:["):
                        found.add(target[8:-1])
        return found

    def _read(self, path: str, length_max: int = -1) -> str:
        try:
            # By its name: to make a Path of each took a third of a look at all processes.
            with open(f"{self._proc}/{path}", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
                return file.read(length_max)
        except OSError:
            return ""
