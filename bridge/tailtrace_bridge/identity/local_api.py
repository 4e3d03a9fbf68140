"""Ask the machine's own tailscaled who a tailnet address is: LocalAPI whois over its unix socket.

| tailscaled says | answer |
|---|---|
| nothing asked: the address is outside Tailscale's ranges | not found: no node can have it |
| 200, `Node.StableID` is our own | found, kind self, no user: what runs on this machine is no person |
| 200 with `Node.Tags`, or login `tagged-devices` | found, kind tagged, no user: a service is no person |
| 200 with `Node.Expired` | the same, marked: an expired key is still that person's |
| 200 with `Node.Sharer` or `Node.Hostinfo.ShareeNode` | found, kind shared: a node of another tailnet, and its user |
| 200 with a login | found, kind user |
| 200 without a login | found, kind unknown: a device without a name for its owner |
| 404, and after it `/status` says `Running` | not found, and certain: no node that can reach us has the address |
| 404, and after it any other state | unavailable: logged out or just starting, tailscaled answers 404 to everything |
| anything else, or nothing within `TIMEOUT_S` | unavailable, with what to do |

The address is asked without a port: with one, tailscaled waits a third of a second for a connection it might know.
Source: https://pkg.go.dev/tailscale.com/client/local#Client.WhoIs and https://pkg.go.dev/tailscale.com/tailcfg#Node
"""

import json
import socket
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection, HTTPException, IncompleteRead
from urllib.parse import urlencode, urlsplit

from tailtrace_bridge.core.records import Identity
from tailtrace_bridge.core.text import parse_address, printable
from tailtrace_bridge.identity.chain import NO_OWNER, Answer, Found, NotFound, Unavailable, is_tailnet
from tailtrace_bridge.identity.sockets import DEFAULT

HOST = "local-tailscaled.sock"
"""tailscaled answers 403 to any other Host."""
TIMEOUT_S = 0.25
"""For each of the at most two requests of an answer."""
RESPONSE_BYTES_MAX = 1024 * 1024
STATUS_BYTES_MAX = 32 * 1024 * 1024
"""Of a status with all peers: a peer takes about a kilobyte."""
STATUS_TTL_US = 3_000_000
"""How long our own node's id is believed."""
TAGGED_LOGIN = "tagged-devices"
"""The login that Tailscale gives to every device without a person."""


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CHECK_SOCKET = "check that TAILSCALE_SOCKET is tailscaled's socket"


class _CannotTellError(Exception):
    """Why there is no answer; becomes `Unavailable`."""


@dataclass(frozen=True, slots=True)
class BackendStatus:
    """What `/status` says of this machine."""

    state: str
    """`Running`, `NeedsLogin`, `NoState`, `Stopped` …"""
    node_id: str
    has_tun: bool | None = None
    """False: userspace networking, where each peer of the tailnet comes as 127.0.0.1. None: it does not say."""


class LocalApi:
    """The provider `localapi`. `clock` gives microseconds and never goes back."""

    name = "localapi"

    def __init__(self, socket_path: str = DEFAULT, *, clock: Callable[[], int], timeout_s: float = TIMEOUT_S) -> None:
        self.requests = 0
        self.oversized = 0
        """Answers that were longer than `RESPONSE_BYTES_MAX`, or a status with peers than `STATUS_BYTES_MAX`."""
        self._socket = socket_path
        self._clock = clock
        self._timeout_us = int(timeout_s * 1_000_000)
        self._status: BackendStatus | None = None
        self._status_us = 0

    def whois(self, address: str) -> Answer:
        """Say which node has `address`."""
        return self.whois_with_capabilities(address)[0]

    def whois_with_capabilities(self, address: str) -> tuple[Answer, frozenset[str]]:
        """Say which node has `address`, and which capabilities the ACL grants it towards this node (`CapMap`)."""
        parsed = parse_address(address)
        if parsed is None or not is_tailnet(parsed):
            return NotFound(), frozenset()
        try:
            code, answer = self._get("/whois", {"addr": str(parsed)}, accept=(200, 404))
            if code == 404:
                return self._not_found(), frozenset()
            return read_whois(answer, address, self._own_node_id()), frozenset(table_of(answer, "CapMap"))
        except _CannotTellError as why:
            return Unavailable(str(why)), frozenset()

    def status(self) -> BackendStatus | Unavailable:
        """Ask for the state of tailscaled and who we are."""
        try:
            return self._ask_status()
        except _CannotTellError as why:
            return Unavailable(str(why))

    def serves_loopback(self) -> bool:
        """Whether `tailscale serve` hands on to a TCP port of 127.0.0.1; False where nobody can tell."""
        try:
            config = self._get("/serve-config", {}, accept=(200,))[1]
        except _CannotTellError:
            return False
        return any(is_loopback_target(target) for target in targets_of(config))

    def status_with_peers(self) -> Mapping[str, object] | Unavailable:
        """Ask for the whole status: https://pkg.go.dev/tailscale.com/ipn/ipnstate#Status."""
        try:
            return self._get("/status", {}, accept=(200,), bytes_max=STATUS_BYTES_MAX)[1]
        except _CannotTellError as why:
            return Unavailable(str(why))

    def _ask_status(self) -> BackendStatus:
        _, answer = self._get("/status", {"peers": "false"}, accept=(200,))
        tun = answer.get("TUN")
        status = BackendStatus(
            text_of(answer, "BackendState"),
            text_of(table_of(answer, "Self"), "ID"),
            tun if isinstance(tun, bool) else None,
        )
        if not status.state:
            raise _CannotTellError(f"/status gave no BackendState at {self._socket}; {_CHECK_SOCKET}")
        self._status, self._status_us = status, self._clock()
        return status

    def _own_node_id(self) -> str:
        if self._status is not None and self._clock() - self._status_us < STATUS_TTL_US:
            return self._status.node_id
        return self._ask_status().node_id

    def _not_found(self) -> NotFound | Unavailable:
        # Asked anew and after the 404: a status from before it may be that of a tailscaled that has restarted since.
        state = self._ask_status().state
        if state == "Running":
            return NotFound(is_certain=True)
        return Unavailable(f"tailscaled is in state {state}, not Running; run `tailscale up`")

    def _get(
        self, path: str, params: Mapping[str, str], accept: tuple[int, ...], bytes_max: int = RESPONSE_BYTES_MAX
    ) -> tuple[int, Mapping[str, object]]:
        """Return the status and, of a 200, the JSON object. Raises `_CannotTellError`."""
        try:
            code, body = self._exchange(f"/localapi/v0{path}?{urlencode(params)}", bytes_max)
        except TimeoutError:
            raise _CannotTellError(self._slow()) from None
        except (OSError, HTTPException) as error:
            raise _CannotTellError(self._failure(error)) from error
        if len(body) > bytes_max:
            self.oversized += 1
            raise _CannotTellError(f"{path} gave more than {bytes_max} bytes at {self._socket}; {_CHECK_SOCKET}")
        if code not in accept:
            said = printable(body[:200].decode("utf-8", "replace").strip())
            todo = "run as a user that may ask tailscaled" if code == 403 else "see tailscaled's log"
            raise _CannotTellError(f"tailscaled answered {code} ({said}) at {self._socket}; {todo}")
        if code != 200:
            return code, {}
        try:
            answer = json.loads(body)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise _CannotTellError(f"{path} gave no JSON object at {self._socket}; {_CHECK_SOCKET}")
        return code, answer

    def _exchange(self, target: str, bytes_max: int) -> tuple[int, bytes]:
        """Return the status and the body, cut after one byte too many. Raises what sockets and `http.client` raise."""
        self.requests += 1
        deadline_us = self._clock() + self._timeout_us
        body = bytearray()
        # A connection for each request: it takes 0.05 ms, and none can be stale after tailscaled was started again.
        with closing(_UnixConnection(self._socket, self._timeout_us / 1_000_000)) as connection:
            connection.request("GET", target)
            with connection.getresponse() as response:
                while len(body) <= bytes_max and (chunk := response.read1(bytes_max)):
                    body += chunk
                    if self._clock() > deadline_us:  # the socket's limit is for each read, not for their sum
                        raise TimeoutError
                if response.length and len(body) <= bytes_max:
                    raise IncompleteRead(bytes(body), response.length)
        return response.status, bytes(body)

    def _slow(self) -> str:
        limit_ms = self._timeout_us // 1000
        return f"tailscaled did not answer within {limit_ms} ms at {self._socket}; see `tailscale status`"

    def _failure(self, error: OSError | HTTPException) -> str:
        match error:
            case FileNotFoundError():
                return f"no socket at {self._socket}; start tailscaled, or set TAILSCALE_SOCKET"
            case PermissionError():
                return (
                    f"no permission to open {self._socket}; run as a user that may, or mount it readable and writable"
                )
            case ConnectionRefusedError():
                return f"nobody listens at {self._socket}; start tailscaled again"
            case _:
                return f"{type(error).__name__} at {self._socket} ({printable(str(error))}); see tailscaled's log"


class _UnixConnection(HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__(HOST, timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def read_whois(answer: Mapping[str, object], address: str, own_node_id: str) -> Found:
    """Make an identity of whois's answer by the table above. Raises `_CannotTellError` where it names no node."""
    node = table_of(answer, "Node")
    node_id = text_of(node, "StableID")
    if not node_id:
        raise _CannotTellError(f"whois gave no Node.StableID; {_CHECK_SOCKET}")
    identity = node_identity(
        address,
        node_id=node_id,
        device=text_of(node, "ComputedName") or text_of(node, "Name").partition(".")[0],
        tags=tags_of(node),
        profile=table_of(answer, "UserProfile"),
        is_own=node_id == own_node_id,
        is_shared=bool(node.get("Sharer")) or table_of(node, "Hostinfo").get("ShareeNode") is True,
        is_expired=node.get("Expired") is True,
        provider=LocalApi.name,
    )
    return Found(identity, time_us_of(node, "Created"))


def node_identity(
    address: str,
    *,
    node_id: str,
    device: str,
    tags: str,
    profile: Mapping[str, object],
    is_own: bool,
    is_shared: bool,
    is_expired: bool,
    provider: str,
) -> Identity:
    """Decide the kind of a node, and whether it stands for a person; `profile` is its user's `UserProfile`."""
    login = text_of(profile, "LoginName")
    if is_own:
        kind = "self"
    elif tags or login == TAGGED_LOGIN:
        kind = "tagged"
    elif is_shared:
        kind = "shared"
    else:
        kind = "user" if login else "unknown"
    has_person = kind in {"user", "shared"}
    number = profile.get("ID")
    return Identity(
        address,
        kind,
        login if has_person else "",
        device,
        node_id,
        tags,
        provider,
        user_id=str(number) if has_person and isinstance(number, int) and number > 0 else "",
        reason=NO_OWNER if kind == "unknown" else "",
        expired=is_expired,
    )


def targets_of(config: Mapping[str, object]) -> list[str]:
    """Return where `tailscale serve` hands on to: https://pkg.go.dev/tailscale.com/ipn#ServeConfig."""
    tables = [config, *(one for one in table_of(config, "Foreground").values() if isinstance(one, dict))]
    found = []
    for one in tables:
        ports = [port for port in table_of(one, "TCP").values() if isinstance(port, dict)]
        hosts = [host for host in table_of(one, "Web").values() if isinstance(host, dict)]
        handlers = [handler for host in hosts for handler in table_of(host, "Handlers").values()]
        found += [text_of(port, "TCPForward") for port in ports]
        found += [text_of(handler, "Proxy") for handler in handlers if isinstance(handler, dict)]
    return [target for target in found if target]


def is_loopback_target(target: str) -> bool:
    """Whether a target of `tailscale serve` is a TCP port of this machine's loopback."""
    if target.startswith("unix:"):
        return False
    host = urlsplit(target if "://" in target else f"//{target}").hostname or ""
    address = parse_address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def table_of(parent: Mapping[str, object], key: str) -> Mapping[str, object]:
    """Return a member that is an object; an empty one where it is none."""
    value = parent.get(key)
    return value if isinstance(value, dict) else {}


def text_of(parent: Mapping[str, object], key: str) -> str:
    """Return a member that is text, made printable; an empty one where it is none."""
    value = parent.get(key)
    return printable(value) if isinstance(value, str) else ""


def tags_of(node: Mapping[str, object]) -> str:
    """Return the member `Tags` as `tag:a,tag:b`."""
    tags = node.get("Tags")
    return printable(",".join(tag for tag in tags if isinstance(tag, str))) if isinstance(tags, list) else ""


def time_us_of(parent: Mapping[str, object], key: str) -> int | None:
    """Read an RFC 3339 time, µs since the epoch; None where there is none, or Go's zero time of the year 1."""
    try:
        time = datetime.fromisoformat(text_of(parent, key))
    except ValueError:
        return None
    if time.tzinfo is None or time.year < _EPOCH.year:
        return None
    return (time - _EPOCH) // timedelta(microseconds=1)
