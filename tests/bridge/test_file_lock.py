"""One holder at a time, across processes and however they end."""

import os
import signal
import subprocess
import sys

import pytest

from tailtrace_bridge.core.files.lock import FileLock, FileLockedError

HOLD = (
    "import sys; from pathlib import Path; from tailtrace_bridge.core.files.lock import FileLock\n"
    "lock = FileLock(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()\n"
)


def test_the_second_one_learns_who_is_first(tmp_path):
    path = tmp_path / "c.lock"
    first = FileLock(path)
    with pytest.raises(FileLockedError) as refused:
        FileLock(path)
    assert refused.value.holder == str(os.getpid())
    first.release()
    FileLock(path).release()
    assert path.exists(), "the file stays"


@pytest.mark.parametrize("mode", [None, 0o644, 0o666])
def test_nobody_else_may_read_the_file_and_so_lock_it(tmp_path, mode):
    path = tmp_path / "c.lock"
    if mode is not None:
        path.touch()
        path.chmod(mode)
    FileLock(path).release()
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_stands_in_the_file_is_not_believed_to_be_a_process(tmp_path):
    path = tmp_path / "c.lock"
    first = FileLock(path)
    path.write_bytes(b"\x1b[31m\xff" * 100)
    with pytest.raises(FileLockedError) as refused:
        FileLock(path)
    assert refused.value.holder == ""
    first.release()


def test_a_full_disk_lets_the_first_one_in(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    first = FileLock(tmp_path / "c.lock")
    with pytest.raises(FileLockedError):
        FileLock(tmp_path / "c.lock")
    first.release()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_it_ends_with_its_process(tmp_path, number):
    path = tmp_path / "c.lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(FileLockedError) as refused:
            FileLock(path)
        assert refused.value.holder == str(process.pid)
        process.send_signal(number)
        process.wait(10)
    FileLock(path).release()
