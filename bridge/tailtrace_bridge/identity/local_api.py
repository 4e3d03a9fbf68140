"""Ask the machine's own tailscaled who a tailnet address is: LocalAPI whois over its unix socket.

| tailscaled says | answer |
|---|---|
| nothing asked: the address is outside Tailscale's ranges | not found: no node can have it |
| 200 | found: what `nodes` makes of `Node` and `UserProfile` |
| 200 with `Node.Expired` | the same, marked: an expired key is still that person's |
| 404, and after it `/status` says `Running` and has a node without a login there | found, see below |
| 404, and after it `/status` says `Running` and has none | not found, and certain: no node can reach us from there |
| 404, and after it any other state | unavailable: logged out or just starting, tailscaled answers 404 to everything |
| anything else, or nothing within `TIMEOUT_S` (all peers: `STATUS_TIMEOUT_S`) | unavailable, with what to do |

whois is silent about a node whose user has no profile, as Headscale 0.28 sends its tagged nodes; the status has it.

The address is asked without a port: with one, tailscaled waits a third of a second for a connection it might know.
Source: https://pkg.go.dev/tailscale.com/client/local#Client.WhoIs and https://pkg.go.dev/tailscale.com/tailcfg#Node
"""

import json
import socket
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, IncompleteRead
from urllib.parse import urlencode, urlsplit

from tailtrace_bridge.core.text import parse_address, printable
from tailtrace_bridge.core.times import go_time_us
from tailtrace_bridge.identity.chain import Answer, Found, NotFound, Unavailable, is_tailnet
from tailtrace_bridge.identity.nodes import Peers, identity_of, read_peers, renamed, table_of, text_of
from tailtrace_bridge.identity.sockets import DEFAULT

HOST = "local-tailscaled.sock"
"""tailscaled answers 403 to any other Host."""
TIMEOUT_S = 0.25
"""For a whois, and for a status without peers."""
STATUS_TIMEOUT_S = 5.0
"""For a status with all peers: 10,000 take two thirds of a second of tailscaled, more where it is busy."""
RESPONSE_BYTES_MAX = 1024 * 1024
STATUS_BYTES_MAX = 64 * 1024 * 1024
"""Of a status with all peers: a peer takes about a kilobyte."""
PEERS_SHARE = 20
"""The time between two such statuses, asked because whois knew nobody, is at least so many times what one takes."""
STATUS_TTL_US = 3_000_000
"""How long our own node's id is believed."""
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

    def __init__(
        self,
        socket_path: str = DEFAULT,
        *,
        clock: Callable[[], int],
        timeout_s: float = TIMEOUT_S,
        status_timeout_s: float = STATUS_TIMEOUT_S,
    ) -> None:
        self.requests = 0
        self.oversized = 0
        """Answers that were longer than `RESPONSE_BYTES_MAX`, or a status with peers than `STATUS_BYTES_MAX`."""
        self._socket = socket_path
        self._clock = clock
        self._timeout_us = int(timeout_s * 1_000_000)
        self._status: BackendStatus | None = None
        self._status_us = 0
        self._status_timeout_us = int(status_timeout_s * 1_000_000)
        self._peers: Peers | None = None
        self._peers_due_us = 0
        self.live_peers: Callable[[], Peers | None] = lambda: None
        """Who is told of each change has the nodes of now at hand; None: they are asked for."""

    def whois(self, address: str) -> Answer:
        """Return which node has `address`."""
        return self.whois_with_capabilities(address)[0]

    def whois_with_capabilities(self, address: str) -> tuple[Answer, frozenset[str]]:
        """Return which node has `address`, and which capabilities the ACL grants it towards this node (`CapMap`)."""
        parsed = parse_address(address)
        if parsed is None or not is_tailnet(parsed):
            return NotFound(), frozenset()
        try:
            code, answer = self._get("/whois", {"addr": str(parsed)}, accept=(200, 404))
            if code == 404:
                return self._not_found(address), frozenset()
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
            return self._ask_peers()
        except _CannotTellError as why:
            return Unavailable(str(why))

    def _ask_peers(self) -> Mapping[str, object]:
        return self._get("/status", {}, accept=(200,), bytes_max=STATUS_BYTES_MAX, timeout_us=self._status_timeout_us)[
            1
        ]

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

    def _not_found(self, address: str) -> Answer:
        # Asked anew and after the 404: a status from before it may be that of a tailscaled that has restarted since.
        state = self._ask_status().state
        if state != "Running":
            return Unavailable(f"tailscaled is in state {state}, not Running; run `tailscale up`")
        parsed = parse_address(address)
        found = self._peers_of_now().nodes.get(str(parsed))
        # One with a login has a profile, so whois would have told of it: it went while we asked.
        return NotFound(is_certain=True) if found is None or found.identity.user else renamed(found, address)

    def _peers_of_now(self) -> Peers:
        live = self.live_peers()
        if live is not None:
            return live
        start_us = self._clock()
        if self._peers is None or start_us >= self._peers_due_us:
            self._peers = read_peers(self._ask_peers())
            now_us = self._clock()
            self._peers_due_us = now_us + PEERS_SHARE * (now_us - start_us)
        return self._peers

    def _get(
        self,
        path: str,
        params: Mapping[str, str],
        accept: tuple[int, ...],
        bytes_max: int = RESPONSE_BYTES_MAX,
        timeout_us: int = 0,
    ) -> tuple[int, Mapping[str, object]]:
        """Return the status and, of a 200, the JSON object. Raises `_CannotTellError`."""
        timeout_us = timeout_us or self._timeout_us
        try:
            code, body = self._exchange(f"/localapi/v0{path}?{urlencode(params)}", bytes_max, timeout_us)
        except TimeoutError:
            raise _CannotTellError(self._slow(timeout_us)) from None
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

    def _exchange(self, target: str, bytes_max: int, timeout_us: int) -> tuple[int, bytes]:
        """Return the status and the body, cut after one byte too many. Raises what sockets and `http.client` raise."""
        self.requests += 1
        deadline_us = self._clock() + timeout_us
        body = bytearray()
        # A connection for each request: it takes 0.05 ms, and none can be stale after tailscaled was started again.
        with closing(_UnixConnection(self._socket, timeout_us / 1_000_000)) as connection:
            connection.request("GET", target)
            with connection.getresponse() as response:
                while len(body) <= bytes_max and (chunk := response.read1(bytes_max)):
                    body += chunk
                    if self._clock() > deadline_us:  # the socket's limit is for each read, not for their sum
                        raise TimeoutError
                if response.length and len(body) <= bytes_max:
                    raise IncompleteRead(bytes(body), response.length)
        return response.status, bytes(body)

    def _slow(self, timeout_us: int) -> str:
        limit_ms = timeout_us // 1000
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
    profile, is_own = table_of(answer, "UserProfile"), node_id == own_node_id
    identity = identity_of(node, address, profile, is_own=is_own, provider=LocalApi.name)
    return Found(identity, go_time_us(node.get("Created")), str(parse_address(address)))


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
