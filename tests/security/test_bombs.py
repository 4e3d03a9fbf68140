"""What is small on the wire or disk and large in memory, and files that never end: measured in a process of its own."""

import json
import os
import random
import re
import subprocess
import sys
import time
import zlib
from pathlib import Path

import pytest

from tailtrace_bridge.logs.checkpoint import Checkpoint
from tailtrace_bridge.logs.tail import Tail

MIB = 1024 * 1024


def bomb(of_bytes, piece):
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join(packer.compress(piece * (MIB // len(piece))) for _ in range(of_bytes // MIB)) + packer.flush()


def grown_mib(program, *words):
    """Run a program that ends by printing; give what it printed, and by how many MiB its memory grew at most."""
    whole = (
        "import re, sys\n"
        "def peak(): return int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]) // 1024\n"
        f"{program}\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", whole, *map(str, words)], capture_output=True, text=True, timeout=60, check=True
    )
    said, grown = done.stdout.split()
    return said, int(grown)


READ = """
from tailtrace_bridge.logs.files import read_lines
before = peak()
print(sum(1 for _ in read_lines(sys.argv[1])), peak() - before)
"""


@pytest.mark.parametrize(
    ("name", "content", "lines"),
    [
        ("zeros.log.gz", lambda: bomb(100 * MIB, b"\0"), "0"),  # a hole in a file is no line
        ("newlines.log.gz", lambda: bomb(4 * MIB, b"\n"), str(4 * MIB)),
        ("long.log", lambda: b"a" * 100 * MIB, "1"),
    ],
)
def test_a_log_that_is_a_bomb(tmp_path, name, content, lines):
    (tmp_path / name).write_bytes(content())
    said, grown = grown_mib(READ, tmp_path / name)
    assert (said, grown < 70) == (lines, True)


UNPACK = """
from tailtrace_bridge.core.errors import OtlpError
from tailtrace_bridge.spans.otlp import unpack
body = open(sys.argv[1], "rb").read()
before = peak()
try:
    unpack(body, "gzip")
except OtlpError as error:
    print(error.status, peak() - before)
"""


def test_a_body_that_is_a_bomb(tmp_path):
    (tmp_path / "body").write_bytes(bomb(400 * MIB, b"\0"))
    said, grown = grown_mib(UNPACK, tmp_path / "body")
    assert (said, grown < 50) == ("413", True)


def test_what_grew_would_be_seen(tmp_path):
    (tmp_path / "body").write_bytes(bomb(100 * MIB, b"\0"))
    program = "import gzip\nbefore = peak()\nprint(len(gzip.open(sys.argv[1]).read()), peak() - before)"
    said, grown = grown_mib(program, tmp_path / "body")
    assert (said, grown >= 90) == (str(100 * MIB), True)


def held_mib(pid):
    """Give what a process and its children hold now; pages that they share count by their share."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:  # it has just ended
        return 0
    own = re.search(r"^Pss:\s+(\d+) kB", rollup, re.MULTILINE)
    return (int(own[1]) // 1024 if own else 0) + sum(map(held_mib, children))


@pytest.mark.long
def test_a_log_whose_every_line_names_something_new(tmp_path):
    """Paths, addresses and user agents, as long as they may be chosen: what is cached and batched has an end."""
    dice, lines = random.Random(3), 60_000
    with (tmp_path / "access.log").open("w") as log:
        for number in range(lines):
            address = ".".join(str(dice.randrange(1, 250)) for _ in range(4))
            when = f"01/Jan/2026:{number // 3600 % 24:02}:{number // 60 % 60:02}:{number % 60:02} +0000"
            path = "".join(
                f"/part-{dice.randrange(10_000_000)}" for _ in range(14)
            )  # no token: that would be taken out
            agent = f"{dice.getrandbits(700):x}"
            log.write(f'{address} - - [{when}] "GET {path} HTTP/1.1" 200 5 "-" "Mozilla/5.0 ({agent})"\n')
    environ = {"TAILTRACE_STORE": f"sqlite:{tmp_path / 'tailtrace.db'}", "TAILTRACE_DISTINCT_MAX": "20000"}
    command = [Path(sys.executable).with_name("tailtrace"), "import", "--json", tmp_path / "access.log"]
    peak_mib = 0
    with (tmp_path / "said.json").open("w") as said:
        process = subprocess.Popen(command, env=os.environ | environ, cwd=tmp_path, stdout=said)
        while process.poll() is None:
            peak_mib = max(peak_mib, held_mib(process.pid))
            time.sleep(0.05)
    done = json.loads((tmp_path / "said.json").read_text())
    assert (done["lines"], done["stored"], done["refused"]) == (lines, lines, 0)
    folded = re.search(r"(\d+) addresses without a name and (\d+) user agents", " ".join(done["notes"]))
    assert folded is not None
    assert int(folded[1]) > 30_000
    assert int(folded[2]) > 30_000
    assert 50 < peak_mib < 150


def test_a_pipe_in_place_of_the_log_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "access.log")
    os.mkfifo(tmp_path / "access.log.1")
    program = (
        "import sys; from pathlib import Path\n"
        "from tailtrace_bridge.logs.checkpoint import Checkpoint; from tailtrace_bridge.logs.tail import Tail\n"
        "print(Tail(sys.argv[1], Checkpoint(Path(sys.argv[2]))).read())"
    )
    words = [sys.executable, "-c", program, str(tmp_path / "access.log"), str(tmp_path / "c.json")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=20, check=True)
    assert done.stdout == "[]\n"


def test_a_log_that_is_a_link_is_read(tmp_path):
    """What the test above passes over is not everything."""
    (tmp_path / "real.log").write_bytes(b"1\n")
    (tmp_path / "access.log").symlink_to(tmp_path / "real.log")
    with Tail(str(tmp_path / "access.log"), Checkpoint(tmp_path / "c.json")) as tail:
        assert [line.data for line in tail.read()] == [b"1"]
