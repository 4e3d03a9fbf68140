"""A store that cannot be written, read by the commands: on a folder that is really mounted read-only, and by modes.

A command runs in a mount namespace of its own, where `here/` is read-only: for all others it can be written, and nothing
stays mounted. Where modes are the matter, it gives up root's capability to pass over them.
"""

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from mcp import Client, StdioServerParameters

from tailtrace_bridge.core.records import Access, Identity, Row, Traffic
from tailtrace_bridge.store.sqlite.store import SqliteStore

TAILTRACE = str(Path(sys.executable).with_name("tailtrace"))
ANA = Identity("100.64.0.7", "user", "ana@example.com", "ana-laptop", "n1", "", "localapi", "u1")
T0 = 1_759_924_800_000_000  # 2025-10-08T12:00:00Z
AT = ["--at", "2025-10-08T15:00:00Z"]
READERS = (
    ["report", *AT],
    ["report", "--month", "2025-10"],
    ["export"],
    ["export", "--user", ANA.user],
    ["alert"],
)

pytestmark = [pytest.mark.mount, pytest.mark.usefixtures("own_folder")]


def row(number, at_us=T0):
    access = Access(at_us + number, number, ANA.address, "GET", "/a", 200, 5000, None, True, 10, "", "", "", "curl", "")
    return Row(access, ANA, "/a", Traffic.APP, None, "")


@pytest.fixture
def here(tmp_path):
    folder = tmp_path / "here"
    folder.mkdir()
    store = SqliteStore(folder / "t.db")
    store.write([row(number) for number in range(5)])
    store.close()
    assert [path.name for path in folder.iterdir()] == ["t.db"]
    return folder


def mounted(*words):
    """The command line that runs a command for which `here/` is mounted read-only."""
    script = 'mount --bind here here && mount -o remount,ro,bind here && exec "$0" "$@"'
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, TAILTRACE, *words]


def without_capabilities(*words):
    """The command line that runs a command to which modes apply."""
    return ["setpriv", "--bounding-set=-all", "--inh-caps=-all", TAILTRACE, *words]


def run(words):
    environment = {**os.environ, "TAILTRACE_STORE": "sqlite:here/t.db"}
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=False, timeout=60)


def plain(*words):
    return run([TAILTRACE, *words])


@pytest.mark.parametrize("words", READERS, ids=" ".join)
def test_what_reads_reads_the_same_and_makes_nothing(here, words):
    expected = plain(*words)
    before = (here / "t.db").read_bytes()
    done = run(mounted(*words))
    assert (done.returncode, done.stdout) == (0, expected.stdout)
    assert [path.name for path in here.iterdir()] == ["t.db"]
    assert (here / "t.db").read_bytes() == before


def test_the_doctor_opens_it_and_says_what_cannot_be(here):
    checks = {one["name"]: one for one in json.loads(run(mounted("doctor", "--json")).stdout)["checks"]}
    assert (checks["store"]["status"], checks["store folder"]["status"]) == ("ok", "failure")
    assert checks["store"]["message"] == f"{here}/t.db opens and holds rows"
    assert "this user may not write" in checks["store folder"]["message"]


@pytest.mark.parametrize(
    "words",
    [["erase", "--user", ANA.user, "--yes"], ["import", str(Path(__file__).parents[1] / "samples/combined.log")]],
)
def test_what_writes_says_that_it_cannot(here, words):
    done = run(mounted(*words))
    assert done.returncode == 1
    assert "store sqlite:here/t.db: " in done.stderr
    assert "may this user write" in done.stderr
    assert "Traceback" not in done.stderr


def test_rows_that_wait_in_the_wal_are_read_while_a_bridge_writes_and_after_it_was_killed(here):
    kept = [f"{name}.copy" for name in ("t.db", "t.db-wal", "t.db-shm")]
    store = SqliteStore(here / "t.db")
    try:
        for number in range(5, 8):
            store.write([row(number)])
            answer = json.loads(run(mounted("report", "--json", *AT)).stdout)
            assert answer["access_logs"]["summary"]["total_requests"] == number + 1
        for name in kept:  # as a process leaves them that was killed
            shutil.copyfile(here / name.removesuffix(".copy"), here / name)
    finally:
        store.close()
    for name in kept:
        (here / name).rename(here / name.removesuffix(".copy"))
    answer = json.loads(run(mounted("report", "--json", *AT)).stdout)
    assert answer["access_logs"]["summary"]["total_requests"] == 8
    (here / "t.db-shm").unlink()
    refused = run(mounted("report", "--json", *AT))
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == (
        "tailtrace: store sqlite:here/t.db: its newest rows are in here/t.db-wal, which SQLite reads only with a "
        "here/t.db-shm, and that cannot be made here; run `tailtrace report` once where the folder can be written, or "
        "copy both files to such a folder\n"
    )
    assert plain("report", *AT).returncode == 0  # as it says
    answer = json.loads(run(mounted("report", "--json", *AT)).stdout)
    assert answer["access_logs"]["summary"]["total_requests"] == 8


def test_the_api_follows_what_is_written_elsewhere(here):
    with socket.create_server(("127.0.0.1", 0)) as held:
        address = f"127.0.0.1:{held.getsockname()[1]}"
    environment = {**os.environ, "TAILTRACE_STORE": "sqlite:here/t.db", "TAILTRACE_LISTEN": address}
    process = subprocess.Popen(mounted("api"), env=environment, stderr=subprocess.PIPE, text=True)

    def requests():
        with urllib.request.urlopen(f"http://{address}/analytics/access-logs?hours=24", timeout=5) as reply:
            return json.loads(reply.read())["summary"]["total_requests"]

    try:
        for _ in range(100):
            try:
                assert requests() == 0  # those of the fixture are old
                break
            except OSError:
                time.sleep(0.1)
        else:
            pytest.fail("the API did not start")
        now_us = time.time_ns() // 1000 - 60_000_000
        store = SqliteStore(here / "t.db")
        store.write([row(100, now_us)])
        assert requests() == 1  # from the -wal
        store.close()
        assert requests() == 1  # from the file
        store = SqliteStore(here / "t.db")
        store.write([row(101, now_us), row(102, now_us)])
        store.close()
        assert requests() == 3
    finally:
        process.terminate()
        _, said = process.communicate(timeout=20)
    assert "Traceback" not in said


def test_an_assistant_is_answered(here):
    command, *words = mounted("mcp", "--store", "sqlite:here/t.db")
    server = StdioServerParameters(command=command, args=words, env=dict(os.environ))

    async def talk():
        async with Client(server, read_timeout_seconds=30) as client:
            return await client.call_tool("get_usage_stats", {"days": 30})

    assert not asyncio.run(talk()).is_error


@pytest.mark.parametrize(
    ("file_mode", "folder_mode"), [(0o444, 0o755), (0o644, 0o555), (0o444, 0o555)], ids=["file", "folder", "both"]
)
def test_by_modes(here, file_mode, folder_mode):
    (here / "t.db").chmod(file_mode)
    here.chmod(folder_mode)
    done = run(without_capabilities("report", "--json", *AT))
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["access_logs"]["summary"]["total_requests"] == 5
    assert [path.name for path in here.iterdir()] == ["t.db"]


@pytest.mark.parametrize(
    ("file_mode", "folder_mode", "says"),
    [
        (0o000, 0o755, "store sqlite:here/t.db: this user may not read it; run tailtrace as its owner, or `chmod` it"),
        (
            0o644,
            0o000,
            "store sqlite:here/t.db: this user may not look into here; run tailtrace as its owner, or `chmod` it",
        ),
    ],
)
def test_what_may_not_be_read_is_said(here, file_mode, folder_mode, says):
    (here / "t.db").chmod(file_mode)
    here.chmod(folder_mode)
    try:
        done = run(without_capabilities("report", *AT))
    finally:
        here.chmod(0o755)
    assert (done.returncode, done.stdout) == (1, "")
    assert says in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["import", "locked/a.log"], "locked/a.log: permission denied: locked (owner"),
        (["import", "unreadable.log"], "unreadable.log"),
        (
            ["doctor", "--nginx-conf", "locked/nginx.conf"],
            "locked/nginx.conf: Permission denied; run tailtrace as a user",
        ),
        (
            ["import", "plain.log", "--store", "sqlite:locked/t.db"],
            "store sqlite:locked/t.db: unable to open database file",
        ),
    ],
)
def test_a_folder_that_may_not_be_looked_into_is_no_traceback(here, tmp_path, words, says):
    (tmp_path / "unreadable.log").touch(0o000)
    (tmp_path / "plain.log").write_text(
        '100.64.0.7 - - [10/Oct/2025:13:55:36 +0000] "GET /a HTTP/1.1" 200 12 "-" "curl/8"\n'
    )
    (tmp_path / "locked").mkdir(0o000)
    done = run(without_capabilities(*words))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert says in done.stderr
