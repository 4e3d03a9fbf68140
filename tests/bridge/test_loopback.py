"""What loopback is: what tailscaled and the machine show, and the verdict, side by side."""

import tracemalloc

import pytest

from tailtrace_bridge.identity.chain import Unavailable
from tailtrace_bridge.identity.local_api import BackendStatus
from tailtrace_bridge.identity.loopback import KEPT_US, Loopback
from tailtrace_bridge.identity.machine import Machine
from tailtrace_bridge.identity.sockets import DEFAULT, PLACES, find_socket
from tailtrace_bridge.testing import FakeClock

OURS, OTHER = "/run/ours.sock", PLACES[1]


class Place:
    """A machine: its sockets and what their tailscaleds say of TUN (None: no answer), and its signs."""

    def __init__(self, sockets=(), *, tailscale="", container="", strangers=False, trusted=False):
        self.sockets = {path: (1, number, 1) for number, path in enumerate(dict(sockets))}
        self.says, self.asked, self.looks, self.searches = dict(sockets), 0, 0, 0
        self.tailscale, self.container, self.strangers = tailscale, container, strangers
        self.clock = FakeClock(0)
        self.loopback = Loopback(
            (OURS, *PLACES), ask=self.ask, signature=self.sockets.get, signs=self, clock=self.clock, is_trusted=trusted
        )

    def ask(self, path):
        self.asked += 1
        tun = self.says[path]
        return Unavailable("no answer") if tun is None else BackendStatus("Running", "nSELF", tun)

    def sign_of_tailscale(self):
        self.searches += 1
        return self.tailscale

    def sign_of_container(self):
        return self.container

    def has_others(self):
        self.looks += 1
        return self.strangers


@pytest.mark.parametrize(
    ("place", "is_this_machine", "word"),
    [
        (Place(), True, ""),
        (Place({OURS: True}), True, ""),
        (Place({OURS: True}, container="/.dockerenv", strangers=True, tailscale="TS_SOCKET"), True, ""),
        (Place({OURS: False}), False, "without TUN"),
        (Place({OURS: False}, trusted=True), False, "without TUN"),
        (Place({OURS: None}), False, "TAILTRACE_TRUST_LOOPBACK=true"),
        (Place({OURS: None}, trusted=True), True, ""),
        (Place({OTHER: True}), True, ""),
        (Place({OTHER: False}), False, "without TUN"),
        (Place({OTHER: None}), False, OTHER),
        (Place({OURS: True, OTHER: False}), False, "without TUN"),
        (Place(tailscale="the variable TS_USERSPACE is set"), False, "TS_USERSPACE"),
        (Place(tailscale="the variable TS_USERSPACE is set", trusted=True), True, ""),
        (Place(container="/.dockerenv is there"), True, ""),
        (Place(container="/.dockerenv is there", strangers=True), False, "/.dockerenv"),
        (Place(container="/.dockerenv is there", strangers=True, trusted=True), True, ""),
    ],
)
def test_what_loopback_is(place, is_this_machine, word):
    verdict = place.loopback.look()
    assert (verdict.is_this_machine, word in verdict.why) == (is_this_machine, True)
    assert bool(verdict.why) is not is_this_machine


def test_what_a_tailscaled_said_holds_for_its_socket_and_silence_for_nothing():
    place = Place({OURS: None})
    assert [place.loopback.look().is_this_machine for _ in range(2)] == [False, False]
    place.says[OURS] = True
    assert place.loopback.look().is_this_machine
    asked, place.says[OURS] = place.asked, None  # killed, or frozen: its socket is still that one
    assert (place.loopback.look().is_this_machine, place.asked) == (True, asked)
    place.sockets[OURS] = (1, 99, 1)  # another one has started
    assert not place.loopback.look().is_this_machine
    place.says[OURS] = False
    assert place.loopback.look().is_userspace


def test_a_network_of_our_own_is_looked_at_again_and_again():
    place = Place(container="/.dockerenv is there")
    assert [place.loopback.look().is_this_machine for _ in range(3)] == [True] * 3
    assert place.looks == 1
    place.clock.now_us += KEPT_US
    place.strangers = True
    assert [place.loopback.look().is_this_machine for _ in range(3)] == [False] * 3
    assert place.looks == 4, "that somebody is there is not kept"
    place.strangers = False
    assert place.loopback.look().is_this_machine


def test_no_request_is_worth_a_look_at_each_process_of_the_machine():
    place = Place()
    assert [place.loopback.look().is_this_machine for _ in range(99)] == [True] * 99
    assert place.searches == 1
    place.clock.now_us += KEPT_US
    place.tailscale = "process 7 is tailscaled"
    assert [place.loopback.look().is_this_machine for _ in range(3)] == [False] * 3
    assert place.searches == 4, "that somebody is there is not kept"
    place.tailscale = ""
    assert place.loopback.look().is_this_machine


@pytest.mark.parametrize(
    ("environment", "files", "tailscale", "container"),
    [
        ({}, {}, "", ""),
        ({"TS_NODE_PROJECT": "x", "TSX": "1"}, {}, "", ""),
        ({"TS_USERSPACE": "true"}, {}, "the variable TS_USERSPACE is set", ""),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, {}, "", "the variable KUBERNETES_SERVICE_HOST is set"),
        ({"container": "podman"}, {}, "", "the variable container is set"),
        ({}, {".dockerenv": ""}, "", "/.dockerenv is there"),
        ({}, {"run/.containerenv": ""}, "", "/run/.containerenv is there"),
        ({}, {"proc/1/cgroup": "0::/kubepods.slice/pod7\n"}, "", "process 1 is in a cgroup of kubepods"),
        ({}, {"proc/1/cgroup": "0::/init.scope\n"}, "", ""),
    ],
)
def test_the_signs(tmp_path, environment, files, tailscale, container):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    machine = Machine(environment, tmp_path)
    assert (machine.sign_of_tailscale(), machine.sign_of_container()) == (tailscale, container)


HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"


def proc(tmp_path, *, sockets=(), processes=()):
    """A `/proc` with sockets of our network, by inode, and processes: pid, name, network, their sockets."""
    (tmp_path / "proc/self/net").mkdir(parents=True)
    (tmp_path / "proc/self/ns").mkdir()
    (tmp_path / "proc/self/ns/net").symlink_to("net:[1]")
    lines = [f"   0: 0100007F:1F90 00000000:0000 0A 0:0 00:0 0 0 0 {inode} 1\n" for inode in sockets]
    (tmp_path / "proc/self/net/udp").write_text(HEAD + "".join(lines))
    for pid, name, network, own in processes:
        folder = tmp_path / "proc" / str(pid)
        (folder / "ns").mkdir(parents=True)
        (folder / "fd").mkdir()
        (folder / "comm").write_text(f"{name}\n")
        (folder / "cmdline").write_text(f"/usr/bin/{name}\0--x")
        (folder / "ns/net").symlink_to(f"net:[{network}]")
        for number, inode in enumerate(own):
            (folder / "fd" / str(number)).symlink_to(f"socket:[{inode}]")
    return Machine({}, tmp_path)


@pytest.mark.parametrize(
    ("sockets", "processes", "has_others", "is_near"),
    [
        ((), (), False, False),
        ((7, 8), ((1, "sh", 1, (7,)), (2, "nginx", 1, (8,))), False, False),
        ((7, 8), ((1, "sh", 1, (7,)),), True, False),  # a sidecar's
        ((7,), ((1, "tailscaled", 1, (7,)),), True, True),
        ((7,), ((1, "tailscaled", 2, (9,)), (2, "sh", 1, (7,))), False, False),  # in a network of its own
        ((7,), ((1, "containerboot", 1, (7,)),), True, True),
    ],
)
def test_who_is_in_our_network(tmp_path, sockets, processes, has_others, is_near):
    machine = proc(tmp_path, sockets=sockets, processes=processes)
    assert (machine.has_others(), bool(machine.sign_of_tailscale())) == (has_others, is_near)


def test_of_a_long_command_line_only_its_program_is_read(tmp_path):
    machine = proc(tmp_path, processes=((1, "sh", 1, ()), (2, "sh", 1, ())))
    (tmp_path / "proc/1/cmdline").write_text("/usr/bin/sh\0" + "x" * 2_000_000)
    (tmp_path / "proc/2/comm").write_text("linker\n")
    (tmp_path / "proc/2/cmdline").write_text("/opt/tailscaled\0" + "x" * 2_000_000)
    tracemalloc.start()
    try:
        assert machine.sign_of_tailscale()
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_where_there_is_no_proc_nobody_can_tell(tmp_path):
    assert Machine({}, tmp_path).has_others()


def test_the_socket_is_looked_for_where_the_setting_is_the_default():
    there = {"/tmp/tailscaled.sock", OURS}
    assert find_socket(OURS, there.__contains__) == OURS
    assert find_socket("/run/none.sock", there.__contains__) == "/run/none.sock"
    assert find_socket(DEFAULT, there.__contains__) == "/tmp/tailscaled.sock"
    assert find_socket(DEFAULT, {DEFAULT, *there}.__contains__) == DEFAULT
    assert find_socket(DEFAULT, set().__contains__) == DEFAULT
