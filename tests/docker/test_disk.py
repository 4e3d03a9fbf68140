"""InfluxDB's disk is full, then has room again, and InfluxDB starts anew: what it answered with an error is stored.

It shows in its answers what it could not put on its disk, and forgets that when it starts: so this disk is really full.
"""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.docker, pytest.mark.slow]

DISK_MIB = 64
FULL_S = 10
TOLD_S_MAX = 300
HEAL_S_MAX = 300


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, which stays while no container uses it."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", disk], check=True)
    yield disk
    subprocess.run(["umount", disk], check=True)


@pytest.fixture
def small(make_stack: Any, disk: Path) -> Iterator[Any]:
    with make_stack() as stack:
        (stack.folder / "disk.yml").write_text(
            "volumes:\n  influxdb-data:\n    driver: local\n"
            f"    driver_opts: {{type: none, o: bind, device: {disk}}}\n",
            encoding="utf-8",
        )
        stack.env["COMPOSE_FILE"] += ":disk.yml"
        stack.up()
        yield stack


def fill(disk: Path) -> Path:
    """Leave no byte."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                continue
    return ballast


@pytest.mark.parametrize("bridge_dies", [False, True])
def test_rows_that_a_full_disk_refused_are_stored_once_it_has_room(small: Any, disk: Path, bridge_dies: bool) -> None:
    """Who knew what was refused may be gone: its successor finds it in InfluxDB's memory, and must not believe it."""
    traffic = small.traffic(71 if bridge_dies else 70)

    def is_told() -> bool:
        return bool(small.containers()["bridge"]["State"]["Health"]["Status"] == "unhealthy")

    traffic.send(10)
    traffic.assert_stored()
    with traffic.flowing():
        time.sleep(2)
        ballast = fill(disk)
        small.wait_for(is_told, TOLD_S_MAX, "the bridge says that InfluxDB takes nothing")
        time.sleep(FULL_S)
        if bridge_dies:
            small.crash("bridge")
            small.wait_for(is_told, TOLD_S_MAX, "the next one says so too")
            time.sleep(FULL_S)
        ballast.unlink()
        if bridge_dies:
            time.sleep(2 * FULL_S)  # it asks, and may believe what it finds
        small.compose("restart", "influxdb")
        small.wait_for(small.is_whole, HEAL_S_MAX, "whole again")
        time.sleep(1)
    traffic.assert_stored()
