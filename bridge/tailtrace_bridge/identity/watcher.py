"""Watches tailscaled in a thread of its own: what its bus tells goes into the history and the snapshot as it happens.

| tailscaled | the watcher |
|---|---|
| has the bus, and says nothing for `QUIET_S` | notes that nothing has changed until now |
| tells of a change | enters it |
| tells that something has changed, not what (`bus.Resync`) | asks for the status, and enters that |
| has no bus for us (403, 404) | asks for the status every `POLL_S`, or where it is slow a twentieth of the time |
| is away, or not Running | says so, and tries again after `RETRY_S_MIN`, twice as long each time up to `RETRY_S_MAX` |

Which lines wait for it (`waits`), so that none is named before it is known whose it is:

| the line's address | it is looked at | tailscaled is not there yet, or not any more | it has not been for longer |
|---|---|---|---|
| of the tailnet, or private (a subnet's) | waits until what was seen is past the line's end | waits | goes on |
| loopback: userspace-networking makes everybody that | goes on | waits | goes on |
| public, a unix socket, or none | goes on | goes on | goes on |
| any that the file of identities names | as above | goes on | goes on |
| any, and nothing shows that there is a tailscaled here | goes on | goes on | goes on |

"Longer" is `START_HOLD_US` where tailtrace began before tailscaled, and `AWAY_HOLD_US` where tailscaled went away.
A line from the future (`FUTURE_US`) is of another clock, and waits for nothing.
"""

import logging
import select
import socket
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tailtrace_bridge.core.records import Access
from tailtrace_bridge.core.text import parse_address, printable
from tailtrace_bridge.identity.bus import MASK, Away, BusError, Change, Lines, Resync, Some, Table
from tailtrace_bridge.identity.chain import Unavailable, kind_of
from tailtrace_bridge.identity.history import History, times_of
from tailtrace_bridge.identity.history_file import HistoryFile
from tailtrace_bridge.identity.local_api import HOST, LocalApi
from tailtrace_bridge.identity.nodes import text_of
from tailtrace_bridge.identity.snapshot import Snapshot

if TYPE_CHECKING:
    from tailtrace_bridge.identity.control.devices import DeviceIndex

QUIET_S = 0.05
CONNECT_S = 1.0
READ_BYTES = 1024 * 1024
HEAD_BYTES_MAX = 16 * 1024
RETRY_S_MIN = 0.1
RETRY_S_MAX = 1.0
POLL_S = 5.0
POLL_SHARE = 20
RESYNC_SHARE = 3
"""The time between two statuses that the bus makes us ask for is at least so many times what one takes."""
SAVE_S = 60.0
"""How often the last look is written down."""
SAVE_CHANGE_S = 1.0
"""How soon a change is."""
START_HOLD_US = 60_000_000
AWAY_HOLD_US = 8_000_000
FUTURE_US = 5_000_000
LOOK_US = 50_000
"""How long it counts whether the socket was there: to look for it at each line took a third of a fast log's time."""
INSTALLED = Path("/var/lib/tailscale")
"""Where tailscaled keeps its state: a sign that it will be there."""
STOP_S = 2.0
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class WatcherCounters:
    """What happened so far."""

    connects: int = 0
    """Times that the bus was there."""
    reconnects: int = 0
    """Times that it was lost and had to be found again."""
    messages: int = 0
    resyncs: int = 0
    """Times that the status was asked for because the bus did not say it all."""
    polls: int = 0
    """Times that the status was asked for because there is no bus."""


class _NoBusError(Exception):
    """This tailscaled has no bus for us; the reason."""


class _AwayError(Exception):
    """tailscaled cannot tell now; the reason."""


class Watcher:
    """The thread, and what it knows. `wall` gives µs since the epoch, `clock` µs that never go back.

    `named_by_file`: whether the file of identities names an address. `is_here`: whether anything shows that there is a
    tailscaled on this machine.
    """

    def __init__(
        self,
        socket_path: Path,
        local_api: LocalApi,
        snapshot: Snapshot,
        history: History,
        file: HistoryFile,
        *,
        wall: Callable[[], int],
        clock: Callable[[], int],
        named_by_file: Callable[[str], bool] = lambda _address: False,
        is_expected: bool = False,
    ) -> None:
        self.counters = WatcherCounters()
        self.history = history
        self._path = str(socket_path)
        self._local_api = local_api
        self._snapshot = snapshot
        self._file = file
        self._wall = wall
        self._clock = clock
        self._named_by_file = named_by_file
        self._is_expected = is_expected
        self._hold_until_us = clock() + START_HOLD_US
        self._look_at_us = clock()
        self._has_socket = False
        self._table = Table()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._saved_us = 0
        self._is_watching = False
        self._said = ""

    def start(self) -> None:
        """Begin to watch, in a thread that does not keep the program alive."""
        self._hold_until_us = self._clock() + START_HOLD_US
        self._thread = threading.Thread(target=self._run, name="tailscaled-watcher", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread, and write down what it saw."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(STOP_S)
        self._file.save(self._wall())

    def waits(self, access: Access, now_us: int) -> bool:
        """Whether a line is to wait: the second table above. `now_us` is the wall clock's."""
        need = _need(access.address)
        if not need:
            return False
        if self._is_watching:
            _, end_us = times_of(access)
            return need > 1 and end_us <= now_us + FUTURE_US and not self.history.is_settled(end_us)
        return self._clock() < self._hold_until_us and self._is_here() and not self._named_by_file(access.address)

    def observe_devices(self, index: "DeviceIndex") -> None:
        """Take what the control API says, where no tailscaled was ever seen; it tells of each change minutes later."""
        if self.counters.connects or self.counters.polls:
            return
        self.history.observe(index.held(), self._wall())

    def settle(self, timeout_s: float = 1.0) -> None:
        """Wait until lines that end now are settled, if somebody looks; for the end of a bridge."""
        until_us, now_us = self._clock() + int(timeout_s * 1_000_000), self._wall()
        while self._is_watching and not self.history.is_settled(now_us) and self._clock() < until_us:
            self._stop.wait(QUIET_S)

    def _is_here(self) -> bool:
        now_us = self._clock()
        if now_us >= self._look_at_us:
            self._look_at_us = now_us + LOOK_US
            self._has_socket = Path(self._path).exists()
        return self._is_expected or self._has_socket

    def _run(self) -> None:
        retry_s = RETRY_S_MIN
        while not self._stop.is_set():
            try:
                try:
                    self._watch_bus()
                except _NoBusError as why:
                    self._say(f"tailscaled's bus cannot be watched ({why}): changes of hands are seen after seconds")
                    self._poll()
            except (_AwayError, BusError, OSError) as error:
                problem = str(error) if isinstance(error, _AwayError) else self._failure(error)
                retry_s = RETRY_S_MIN if self._is_watching else min(RETRY_S_MAX, retry_s * 2)
                self._lost(problem)
            except Exception:  # noqa: BLE001 - the thread must outlive what it did not foresee
                retry_s = RETRY_S_MAX
                self._lost("a defect of tailtrace stopped the watch of tailscaled; it begins again, please report it")
                _log.exception("a defect in the watch of tailscaled; beginning again")
            self._save_if_due()
            self._stop.wait(retry_s)

    def _watch_bus(self) -> None:
        lines = Lines()
        with closing(self._connect()) as connection:
            rest = self._read_head(connection)
            self._enter_all(lines, rest)
            while not self._stop.is_set():
                select.select([connection], [], [], QUIET_S)
                # The clock first: after a stop of this process the wait above may be over though something came.
                now_us = self._wall()
                if select.select([connection], [], [], 0)[0]:
                    data = connection.recv(READ_BYTES)
                    if not data:
                        raise _AwayError("tailscaled closed its bus; is it being started again?")
                    self._enter_all(lines, data)
                elif lines.is_whole and self._is_watching:
                    self.history.confirm(now_us)
                self._save_if_due()

    def _connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(CONNECT_S)
            connection.connect(self._path)
            # HTTP/1.0: the answer comes as it is, not in chunks.
            head = f"GET /localapi/v0/watch-ipn-bus?mask={MASK} HTTP/1.0\r\nHost: {HOST}\r\n\r\n"
            connection.sendall(head.encode())
        except BaseException:
            connection.close()
            raise
        return connection

    def _read_head(self, connection: socket.socket) -> bytes:
        """Read the head of the answer, and return what came behind it."""
        data = b""
        while b"\r\n\r\n" not in data:
            more = connection.recv(READ_BYTES)
            data += more
            if not more or len(data) > HEAD_BYTES_MAX + READ_BYTES:
                raise _AwayError(f"no answer of a bus at {self._path}; check that TAILSCALE_SOCKET is tailscaled's")
        head, _, rest = data.partition(b"\r\n\r\n")
        status = head.split(b" ", 2)[1:2]
        if status != [b"200"]:
            raise _NoBusError(printable(head.split(b"\r\n")[0].decode("ascii", "replace")))
        self.counters.connects += 1
        if self.counters.connects > 1:
            self.counters.reconnects += 1
        return rest

    def _enter_all(self, lines: Lines, data: bytes) -> None:
        for message in lines.feed(data):
            self.counters.messages += 1
            change = self._table.apply(message)
            if change is not None:
                self._enter(change)

    def _enter(self, change: Change) -> None:
        match change:
            case Away(state):
                raise _AwayError(f"tailscaled is in state {state}, not Running; run `tailscale up`")
            case Resync():
                self.counters.resyncs += 1
                took_us = self._ask_status()
                self._stop.wait(RESYNC_SHARE * took_us / 1_000_000)
            case Some(holders):
                self.history.change(holders, self._wall())
                self._snapshot.feed(self._table.peers)
            case _:
                self.history.observe(change.holders, self._wall())
                self._snapshot.feed(self._table.peers)
                self._is_watching, self._said = True, ""

    def _ask_status(self) -> int:
        """Ask for the status and enter it; return how long that took in µs."""
        start_us = self._clock()
        document = self._local_api.status_with_peers()
        if isinstance(document, Unavailable):
            raise _AwayError(document.reason)
        state = text_of(document, "BackendState")
        if state != "Running":
            raise _AwayError(f"tailscaled is in state {state or 'none'}, not Running; run `tailscale up`")
        self._enter(self._table.reset(document))
        return self._clock() - start_us

    def _poll(self) -> None:
        while not self._stop.is_set():
            self.counters.polls += 1
            took_us = self._ask_status()
            self._save_if_due()
            self._stop.wait(max(POLL_S, POLL_SHARE * took_us / 1_000_000))

    def _lost(self, problem: str) -> None:
        if self._is_watching:
            self._hold_until_us = self._clock() + AWAY_HOLD_US
            self._is_watching = False
            self.history.lose()
        self._snapshot.lost(problem)
        if self._is_here():
            self._say(f"tailscaled cannot be watched: {problem}")

    def _say(self, problem: str) -> None:
        if problem != self._said:
            self._said = problem
            _log.warning("identity: %s", problem)

    def _failure(self, error: Exception) -> str:
        match error:
            case FileNotFoundError():
                return f"no socket at {self._path}; start tailscaled, or set TAILSCALE_SOCKET"
            case PermissionError():
                return f"no permission to open {self._path}; run as a user that may"
            case ConnectionRefusedError():
                return f"nobody listens at {self._path}; start tailscaled again"
            case _:
                return f"{type(error).__name__} at {self._path} ({printable(str(error))}); see tailscaled's log"

    def _save_if_due(self) -> None:
        waited_s = (self._clock() - self._saved_us) / 1_000_000
        if self._saved_us and waited_s < (SAVE_CHANGE_S if self._file.has_changes() else SAVE_S):
            return
        if self.history.seen_us:
            self._saved_us = self._clock()
            self._file.save(self._wall())


def _need(address: str) -> int:
    """2: only a look past its end tells whose it is; 1: tailscaled must have answered; 0: nobody is needed."""
    kind, parsed = kind_of(address), parse_address(address)
    if parsed is None or kind == "external":
        return 0
    return 2 if kind == "unknown" else 1
