"""The demo's ports."""

import socket

from tailtrace_api.demo.stack import HOST, free_ports


def test_many_free_ports_are_all_different():
    found = free_ports((0,) * 300, print)
    assert len(set(found)) == 300


def test_a_taken_port_is_told_and_another_one_used():
    said: list[str] = []
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen(1)
        port = taken.getsockname()[1]
        found = free_ports((port, *(0,) * 50), said.append)
    assert len({port, *found}) == 52
    assert said == [f"port {port} is taken (Address already in use); using {found[0]}"]
