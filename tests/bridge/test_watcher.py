"""What of the watcher needs no tailscaled; `tests/tailnet` and `tests/bridge/test_history.py` have the rest."""

from tailtrace_bridge.core.records import Access
from tailtrace_bridge.identity.history import History
from tailtrace_bridge.identity.history_file import HistoryFile
from tailtrace_bridge.identity.local_api import LocalApi
from tailtrace_bridge.identity.snapshot import Snapshot
from tailtrace_bridge.identity.watcher import LOOK_US, START_HOLD_US, Watcher


def test_the_socket_is_looked_for_from_time_to_time_and_not_at_each_line(tmp_path):
    now_us, socket = [0], tmp_path / "tailscaled.sock"

    def clock():
        return now_us[0]

    history = History()
    local_api = LocalApi(str(socket), clock=clock)
    file = HistoryFile(tmp_path / "history", history)
    watcher = Watcher(socket, local_api, Snapshot(local_api, clock=clock), history, file, wall=clock, clock=clock)
    line = Access(0, 0, "100.64.0.7", "GET", "/", 200, None, None, False, 0, "", "", "", "", "")

    def waits_after(moved_us):
        now_us[0] += moved_us
        return watcher.waits(line, now_us[0])

    assert not waits_after(0)  # nothing shows that there is a tailscaled here
    socket.touch()
    assert not waits_after(LOOK_US - 1)
    assert waits_after(1)
    socket.unlink()
    assert waits_after(LOOK_US - 1)
    assert not waits_after(1)
    socket.touch()
    assert waits_after(LOOK_US)
    assert not waits_after(START_HOLD_US)
