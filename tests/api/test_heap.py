"""The heap of a server, in a process of its own: it cannot be undone."""

import os
import platform
import subprocess
import sys

import pytest

from tailtrace_api.server.heap import share_one

OF_FOUR_THREADS = """
import ctypes, sys, threading
from tailtrace_api.server.heap import share_one
print(share_one() if sys.argv[1] == "one" else None, flush=True)
wait = threading.Barrier(4)

def work():
    kept = [bytes(1000) for _ in range(2000)]
    wait.wait()

threads = [threading.Thread(target=work) for _ in range(4)]
for one in threads: one.start()
for one in threads: one.join()
libc = ctypes.CDLL(None)
out = ctypes.c_void_p.in_dll(libc, "stdout")
libc.malloc_info(0, out)
libc.fflush(out)
"""

FREE_BETWEEN = """
import resource
from pathlib import Path
from tailtrace_api.server.heap import give_back

def held_mib():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20

kept = [bytearray(8_000) for _ in range(8_000)]
del kept[:-1]
before = held_mib()
print(give_back(), round(before - held_mib()))
"""


def heaps(how):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    command = [sys.executable, "-c", OF_FOUR_THREADS, how]
    said = subprocess.run(command, env=kept, capture_output=True, text=True, check=True, timeout=60).stdout
    return said.partition("\n")[0], said.count("<heap nr=")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_threads_share_one_heap():
    assert heaps("one") == ("True", 1)
    assert heaps("as it is")[1] > 1


@pytest.mark.parametrize("name", ["MALLOC_ARENA_MAX", "GLIBC_TUNABLES"])
def test_who_has_settings_for_the_heap_keeps_them(name):
    assert share_one({name: "4"}) is False


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_what_is_free_below_what_is_used_is_given_back():
    said = subprocess.run([sys.executable, "-c", FREE_BETWEEN], capture_output=True, text=True, check=True, timeout=60)
    was_any, mib = said.stdout.split()
    assert was_any == "True"
    assert int(mib) > 40  # of 61
