"""Real files, really renamed, copied, truncated and gzipped: every line comes out once."""

import contextlib
import gzip
import logging
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tailtrace_bridge.core.errors import SettingsError
from tailtrace_bridge.logs.checkpoint import Checkpoint
from tailtrace_bridge.logs.files import fingerprint, read_lines
from tailtrace_bridge.logs.log import DRAIN_SECONDS
from tailtrace_bridge.logs.rejected import LINE_LENGTH_MAX
from tailtrace_bridge.logs.rotation import is_rotated_name
from tailtrace_bridge.logs.tail import Tail


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def log(tmp_path) -> Path:
    return tmp_path / "access.log"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def start(tmp_path, log, clock):
    with contextlib.ExitStack() as stack:

        def make(pattern=None, **options):
            checkpoint = Checkpoint(tmp_path / "positions.json")
            return stack.enter_context(Tail(str(pattern or log), checkpoint, clock=clock, **options))

        yield make


def append(path: Path, text: bytes) -> None:
    with path.open("ab") as file:
        file.write(text)


def append_at(path: Path, second: int, text: bytes) -> None:
    """Append as if at that second: two writes within one tick of the kernel's clock cannot be told apart."""
    append(path, text)
    os.utime(path, (second, second))


def texts(tail: Tail) -> list[bytes]:
    """What comes until nothing more is waiting, acknowledged."""
    lines = tail.read()
    while tail.behind:
        lines += tail.read()
    tail.acknowledge(lines)
    return [line.data for line in lines]


def rotate(log: Path, *, pack: bool = False) -> None:
    """What logrotate does before it makes the new file: shift, then rename."""
    for number in range(20, 0, -1):
        for suffix in ("", ".gz"):
            old = log.with_name(f"{log.name}.{number}{suffix}")
            if old.exists():
                old.rename(log.with_name(f"{log.name}.{number + 1}{suffix}"))
    first = log.with_name(f"{log.name}.1")
    log.rename(first)
    if pack:
        gzip_file(first)


def gzip_file(path: Path) -> None:
    packed = path.with_name(path.name + ".gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    status = path.stat()
    os.utime(packed, ns=(status.st_atime_ns, status.st_mtime_ns))
    path.unlink()


def copy_truncate(log: Path) -> None:
    copy = log.with_name(f"{log.name}.kept")
    shutil.copyfile(log, copy)
    for number in range(20, 0, -1):
        for suffix in ("", ".gz"):
            old = log.with_name(f"{log.name}.{number}{suffix}")
            if old.exists():
                old.rename(log.with_name(f"{log.name}.{number + 1}{suffix}"))
    copy.rename(log.with_name(f"{log.name}.1"))
    os.truncate(log, 0)


def test_lines_come_with_their_places(log, start):
    log.write_bytes(b"one\ntwo\n")
    tail = start()
    seed = fingerprint(b"one")
    assert tail.read() == [(b"one", str(log), 0, 4, seed), (b"two", str(log), 4, 8, seed)]
    assert tail.read() == []
    append(log, b"three\n")
    assert tail.read() == [(b"three", str(log), 8, 14, seed)]
    assert (tail.counters.lines, tail.counters.bytes) == (3, 14)


def test_a_partial_line_waits_for_its_newline(log, start):
    log.write_bytes(b"on")
    tail = start()
    assert texts(tail) == []
    append(log, b"e\ntw")
    assert texts(tail) == [b"one"]
    append(log, b"o\n")
    assert [(line.data, line.offset, line.seed) for line in tail.read()] == [(b"two", 4, fingerprint(b"one"))]


def test_from_the_end_only_what_comes_later(log, start):
    log.write_bytes(b"old\npart")
    tail = start(from_start=False)
    assert texts(tail) == []
    append(log, b"ial\nnew\n")
    assert texts(tail) == [b"partial", b"new"]


def test_a_rename_finishes_the_old_file_with_what_is_written_late(log, start, clock):
    log.write_bytes(b"1\n")
    tail = start()
    assert texts(tail) == [b"1"]
    with log.open("ab", buffering=0) as worker:
        worker.write(b"2\n")
        rotate(log)
        worker.write(b"3\n")
        assert texts(tail) == [b"2", b"3"]
        log.write_bytes(b"5\n")
        assert texts(tail) == [b"5"]
        worker.write(b"4\npart")
        assert texts(tail) == [b"4"]
        assert texts(tail) == []
    clock.now_s += DRAIN_SECONDS
    assert texts(tail) == [b"part"]
    assert tail.counters.rotations == 1


def test_late_lines_of_the_old_file_survive_a_restart(log, start):
    log.write_bytes(b"1\n")
    tail = start()
    assert texts(tail) == [b"1"]
    rotate(log)
    log.write_bytes(b"5\n")
    assert texts(tail) == [b"5"]
    tail.save()
    tail.close()
    append(log.with_name("access.log.1"), b"2\n")
    gzip_file(log.with_name("access.log.1"))
    append(log, b"6\n")
    assert texts(start()) == [b"2", b"6"]


def test_copytruncate_reads_the_rest_from_the_copy(log, start):
    log.write_bytes(b"1\n")
    tail = start()
    assert texts(tail) == [b"1"]
    append(log, b"2\n")
    copy_truncate(log)
    append(log, b"3\n4, longer than all that was there before\n")
    assert texts(tail) == [b"2", b"3", b"4, longer than all that was there before"]
    assert tail.counters.truncations == 1


def test_copytruncate_before_the_first_whole_line(log, start):
    log.write_bytes(b"pa")
    tail = start()
    assert texts(tail) == []
    append(log, b"rt\n2\n")
    copy_truncate(log)
    assert texts(tail) == [b"part", b"2"]
    append(log, b"3\n")
    assert texts(tail) == [b"3"]


def test_emptied_without_a_copy_it_starts_over(log, start):
    log.write_bytes(b"1\n2\n")
    tail = start()
    assert texts(tail) == [b"1", b"2"]
    log.write_bytes(b"3\n")
    assert texts(tail) == [b"3"]
    assert tail.counters.truncations_without_copy == 1


@pytest.mark.parametrize("pack", [False, True])
def test_several_rotations_while_down(log, start, pack):
    log.write_bytes(b"old\n")
    rotate(log)
    log.write_bytes(b"1\n2\n")
    tail = start()
    assert texts(tail) == [b"1", b"2"]
    tail.save()
    tail.close()
    append(log, b"3\n")
    rotate(log, pack=pack)
    log.write_bytes(b"4\n")
    copy_truncate(log)
    append(log, b"5\n")
    rotate(log, pack=pack)
    log.write_bytes(b"6\n")
    tail = start()
    assert texts(tail) == [b"3", b"4", b"5", b"6"]
    assert texts(tail) == []


def test_dated_names_while_down(log, start):
    log.write_bytes(b"1\n")
    tail = start()
    assert texts(tail) == [b"1"]
    tail.save()
    tail.close()
    append(log, b"2\n")
    log.rename(log.with_name("access.log-20250131"))
    gzip_file(log.with_name("access.log-20250131"))
    log.write_bytes(b"3\n")
    log.rename(log.with_name("access.log-20250201"))
    log.write_bytes(b"4\n")
    assert texts(start()) == [b"2", b"3", b"4"]


@pytest.mark.parametrize("restart_after", [None, 1, 2, 3, 4, 5])
def test_numbers_that_rise_with_time(log, start, clock, restart_after):
    """`mv log log.1`, `mv log log.2` and so on: the higher number is the newer, against what logrotate does."""
    log.touch()
    tail = start()
    seen = texts(tail)
    for number in range(1, 7):
        append_at(log, number, b"%d a\n%d b\n" % (number, number))
        clock.now_s += 0.7
        seen += texts(tail)
        log.rename(log.with_name(f"access.log.{number}"))
        log.touch()
        clock.now_s += 0.7
        seen += texts(tail)
        if number == restart_after:
            tail.save()
            tail.close()
            tail = start()
    for _ in range(3):
        clock.now_s += DRAIN_SECONDS
        seen += texts(tail)
    assert seen == [b"%d %c" % (number, letter) for number in range(1, 7) for letter in b"ab"]


def test_numbers_that_rise_while_down(log, start):
    append_at(log, 0, b"history\n")
    log.rename(log.with_name("access.log.1"))
    append_at(log, 1, b"1\n")
    tail = start()
    assert texts(tail) == [b"1"]
    tail.save()
    tail.close()
    for number in (2, 3, 4):
        log.rename(log.with_name(f"access.log.{number}"))
        append_at(log, number, b"%d\n" % number)
    assert texts(start()) == [b"2", b"3", b"4"]


def test_a_late_line_in_a_file_does_not_hide_the_next_one(log, start):
    append_at(log, 1, b"1\n")
    tail = start()
    assert texts(tail) == [b"1"]
    tail.save()
    tail.close()
    rotate(log)
    append_at(log, 2, b"2\n")
    rotate(log)
    append_at(log.with_name("access.log.2"), 3, b"late\n")
    append_at(log, 4, b"4\n")
    assert sorted(texts(start())) == [b"2", b"4", b"late"]


def test_two_files_that_begin_alike_are_read_both(log, start, clock):
    log.write_bytes(b"start\n1\n")
    tail = start()
    assert texts(tail) == [b"start", b"1"]
    with log.open("ab", buffering=0) as worker:
        rotate(log)
        log.write_bytes(b"start\n22\n")
        assert texts(tail) == [b"start", b"22"]
        clock.now_s += DRAIN_SECONDS
        assert texts(tail) == []
        worker.write(b"too late\n")
    with log.open("ab", buffering=0) as worker:
        rotate(log)
        log.write_bytes(b"3\n")
        assert texts(tail) == [b"3"]
        worker.write(b"late\n")
        assert texts(tail) == [b"late"]


@pytest.mark.parametrize(
    ("name", "is_rotated"),
    [
        ("access.log.1", True),
        ("access.log-20251008.gz", True),
        ("access-20251008.log", True),
        ("access-20251008.log.gz", True),
        ("access-2025-10-08.log", True),
        ("access_20251008.log", True),
        ("access-2025100814.log", True),
        ("access.log-20251008.zst", True),
        ("access.log_2025-10-08", True),
        ("access.1.log", True),
        ("access.12.log.gz", True),
        ("access-2.log", False),  # may be another log
        ("access-api.log", False),
        ("access-20251008.txt", False),
        ("access.log", False),
    ],
)
def test_names_of_rotated_files(name, is_rotated):
    assert is_rotated_name(name, "access.log") is is_rotated


def test_a_date_before_the_extension(log, start, clock):
    log.write_bytes(b"1\n")
    tail = start(f"{log.parent}/*.log")
    assert texts(tail) == [b"1"]
    append(log, b"2\n")
    log.rename(log.with_name("access-20251008.log"))
    log.write_bytes(b"3\n")
    assert texts(tail) == [b"2", b"3"]
    clock.now_s += DRAIN_SECONDS
    assert texts(tail) == []


@pytest.mark.parametrize("name", ["access.log.bak.gz", "archive/access.log.1.gz", "2024/03/access.log.gz"])
def test_a_log_that_was_moved_and_compressed_while_nobody_read_it_is_found(log, start, name):
    log.write_bytes(b"1\n")
    first = start()
    assert texts(first) == [b"1"]
    first.save()
    append(log, b"2\n")
    moved = log.parent / name.removesuffix(".gz")
    moved.parent.mkdir(parents=True, exist_ok=True)
    log.rename(moved)
    gzip_file(moved)
    log.write_bytes(b"3\n")
    assert texts(start()) == [b"2", b"3"]


@pytest.mark.parametrize("pattern", ["", " , "])
def test_no_log_named(tmp_path, pattern):
    with pytest.raises(SettingsError, match="TAILTRACE_LOG names no log: set it to nginx's access log"):
        Tail(pattern, Checkpoint(tmp_path / "p.json"))


def test_history_is_not_read(log, start):
    log.write_bytes(b"old\n")
    rotate(log, pack=True)
    log.write_bytes(b"new\n")
    assert texts(start(f"{log}*")) == [b"new"]


def test_a_crash_before_the_first_save_and_a_rotation_lose_nothing(log, start):
    log.write_bytes(b"old\n")
    rotate(log)
    log.write_bytes(b"1\n")
    tail = start()
    assert [line.data for line in tail.read()] == [b"1"]
    tail.close()
    rotate(log, pack=True)
    log.write_bytes(b"2\n")
    assert texts(start()) == [b"1", b"2"]


def test_a_reread_line_has_the_same_place_also_gzipped(log, start):
    log.write_bytes(b"1\n2\n3\n")
    tail = start()
    before = tail.read()
    tail.acknowledge([before[0], before[2]])
    tail.save()
    tail.close()
    rotate(log, pack=True)
    log.write_bytes(b"4\n")
    again = start().read()
    assert again[:2] == before[1:]
    assert list(read_lines(log.with_name("access.log.1.gz")))[1:] == [
        (line.data, line.offset, line.seed) for line in again[:2]
    ]


def test_a_file_that_appears_later(log, start, caplog):
    tail = start()
    with caplog.at_level(logging.INFO):
        assert texts(tail) == texts(tail) == []
        assert tail.problems() == {str(log): f"{log}: no such file yet; it is read as soon as it appears"}
        log.write_bytes(b"1\n")
        assert texts(tail) == [b"1"]
    assert tail.problems() == {}
    assert [record.message.partition(": ")[2] for record in caplog.records] == [
        "no such file yet; it is read as soon as it appears",
        "can be read again",
    ]


@pytest.mark.parametrize(
    ("name", "commas"),
    [
        ("a.log b.log", "a.log,b.log"),
        ("a.log;  b.log", "a.log,b.log"),
        ("shop*.log blog*.log", "shop*.log,blog*.log"),
    ],
)
def test_names_without_commas_are_told_where_no_such_file_is_there(name, commas, log, start):
    tail = start(str(log.with_name(name)))
    tail.read()
    (said,) = tail.problems().values()
    assert said.endswith(f"(read as one name; several are written with commas: {log.with_name(commas)})")


def test_a_name_with_a_blank_is_one_log(log, start):
    log.with_name("my app.log").write_bytes(b"1\n")
    tail = start(str(log.with_name("my app.log")))
    assert (texts(tail), tail.problems()) == ([b"1"], {})


def test_a_folder_is_no_log_until_it_is_mended(log, start):
    log.mkdir()
    tail = start()
    assert texts(tail) == []
    assert "is a folder, not a log. Name a file in it" in tail.problems()[str(log)]
    log.rmdir()
    log.write_bytes(b"1\n")
    assert texts(tail) == [b"1"]
    assert tail.problems() == {}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user: run as root")
def test_an_unreadable_file_names_owner_mode_and_remedy(log):
    log.write_bytes(b"1\n")
    os.chown(log, 0, 4)
    log.chmod(0o640)
    for folder in list(log.parents)[:4]:  # one more below pytest-xdist
        if folder.owner() == "root" and str(folder).startswith("/tmp/"):
            folder.chmod(0o755)
    program = (
        "import os, sys; from pathlib import Path\n"
        "from tailtrace_bridge.logs.checkpoint import Checkpoint; from tailtrace_bridge.logs.tail import Tail\n"
        "tail = Tail(sys.argv[1], Checkpoint(Path(sys.argv[2])))\n"
        "os.seteuid(65534)\n"
        "print(tail.read(), *tail.problems().values())\n"
        "os.seteuid(0); os.chmod(sys.argv[1], 0o644); os.seteuid(65534)\n"
        "Path(sys.argv[2]).parent.exists()\n"
        "print([line.data for line in tail.read()], tail.problems())\n"
    )
    state = log.parent / "state"
    state.mkdir()
    state.chmod(0o777)
    done = subprocess.run(
        [sys.executable, "-c", program, str(log), str(state / "p.json")], capture_output=True, text=True, check=True
    )
    first, second = done.stdout.splitlines()
    assert f"{log}: permission denied: {log} (owner root:adm, mode 0640)" in first
    assert "sudo usermod -aG adm nobody" in first
    assert second == "[b'1'] {}"


def test_long_lines_are_cut_and_what_follows_is_read(log, start):
    log.write_bytes(b"1\n" + b"x" * 1_000_000)
    tail = start()
    assert texts(tail) == [b"1"]
    append(log, b"x\n2\n")
    assert [(len(line.data), line.offset, line.end) for line in tail.read()] == [
        (LINE_LENGTH_MAX + 1, 2, 1_000_004),
        (1, 1_000_004, 1_000_006),
    ]
    assert tail.counters.lines_cut == 1


def test_a_call_is_bounded_and_fair(tmp_path, start):
    for name in ("a.log", "b.log"):
        (tmp_path / name).write_bytes(b"0123456\n" * 40_000)
    tail = start(f"{tmp_path}/a.log, {tmp_path}/b*.log", read_bytes_max=131_072)
    lines = tail.read()
    assert tail.behind
    assert len(lines) == 16_384
    assert {Path(line.file).name for line in lines} == {"a.log", "b.log"}
    tail.acknowledge(lines)
    assert len(texts(tail)) == 80_000 - 16_384
    assert not tail.behind


def test_unacknowledged_lines_are_bounded(log, start):
    log.write_bytes(b"0123456\n" * 40_000)
    tail = start(held_lines_max=100)
    lines = tail.read()
    assert len(lines) == 8_192
    assert tail.read() == []
    assert (tail.behind, tail.counters.reads_held) == (True, 1)
    tail.acknowledge(lines)
    assert tail.read()[0].offset == lines[-1].end


def test_logs_of_a_glob_are_bounded(tmp_path, start, monkeypatch):
    monkeypatch.setattr("tailtrace_bridge.logs.tail.LOGS_MAX", 2)
    for name in "abc":
        (tmp_path / f"{name}.log").write_bytes(name.encode() + b"\n")
    tail = start(f"{tmp_path}/*.log")
    assert sorted(texts(tail)) == [b"a", b"b"]
    assert texts(tail) == []
    assert tail.counters.logs_skipped == 1


def test_a_damaged_gzip_loses_only_what_is_damaged(log, start):
    log.write_bytes(b"1\n")
    tail = start()
    assert texts(tail) == [b"1"]
    tail.save()
    tail.close()
    append(log, b"".join(b"%s\n" % os.urandom(20).hex().encode() for _ in range(5000)))
    rotate(log, pack=True)
    packed = log.with_name("access.log.1.gz")
    os.truncate(packed, packed.stat().st_size - 5000)
    log.write_bytes(b"last\n")
    tail = start()
    lines = texts(tail)
    assert len(lines) > 3000
    assert lines[-1] == b"last"
    assert tail.counters.files_damaged == 1
    assert "damaged gzip: it ends too early" in tail.problems()[str(packed)]


@pytest.mark.parametrize("seed", range(60))
def test_any_order_of_writes_rotations_and_restarts(log, start, clock, seed):  # noqa: C901, PLR0912, PLR0915 - a story
    """Every line once with saved restarts; after crashes at least once and under the same place."""
    chance = random.Random(seed)
    crashes = seed % 2 == 1
    log.touch()
    written: list[bytes] = []
    places: dict[bytes, set[tuple[int, int]]] = {}
    count: dict[bytes, int] = {}
    held: list = []
    tail = start(read_bytes_max=chance.choice([100, 100_000]))
    assert tail.read() == []  # what rotates before this is history

    def write(path: Path) -> None:
        for _ in range(chance.randint(1, 4)):
            line = b"%d %s" % (len(written), b"x" * chance.randint(0, 40))
            written.append(line)
            append(path, line + b"\n")

    def read() -> None:
        lines = tail.read()
        for line in lines:
            places.setdefault(line.data, set()).add((line.seed, line.offset))
            count[line.data] = count.get(line.data, 0) + 1
        held.extend(lines)
        chance.shuffle(held)
        keep = chance.randint(0, len(held)) if crashes else 0
        tail.acknowledge(held[keep:])
        del held[keep:]

    for _ in range(60):
        action = chance.choice(["write", "write", "read", "read", "rename", "copy", "late", "gzip", "restart", "time"])
        if action == "write":
            write(log)
        elif action == "read":
            read()
        elif action == "rename":
            rotate(log)
            log.touch()
        elif action == "copy":
            copy_truncate(log)
        elif action == "late":
            rotate(log)
            write(log.with_name("access.log.1"))
            log.touch()
        elif action == "gzip":
            oldest = max(log.parent.glob("access.log.[0-9]"), default=None)
            if oldest:
                gzip_file(oldest)
        elif action == "time":
            clock.now_s += DRAIN_SECONDS
        else:
            if not crashes or chance.random() < 0.5:
                tail.save()
            tail.close()
            held.clear()
            tail = start()
    for _ in range(50):
        read()
        clock.now_s += DRAIN_SECONDS
    missing = [line for line in written if line not in count]
    assert missing == []
    assert set(count) == set(written)
    assert all(len(place) == 1 for place in places.values())
    if not crashes:
        assert set(count.values()) == {1}


@pytest.mark.parametrize("seed", range(16))
@pytest.mark.parametrize("scheme", ["rising", "shifting", "dated", "inside", "mixed"])
def test_any_naming_with_quick_rotations(log, start, clock, scheme, seed):  # noqa: C901 - a story
    """Rotations follow each other while old files drain, workers write late, and there are restarts: each line once."""
    chance = random.Random(seed)
    written: list[bytes] = []
    read: list[bytes] = []
    worker_path: Path | None = None
    rotations = 0
    append_at(log, 0, b"")
    tail = start()
    read += texts(tail)

    def write(path: Path) -> None:
        for _ in range(chance.randint(1, 5)):
            written.append(b"%d %s" % (len(written), b"x" * chance.randint(0, 40)))
            append_at(path, len(written), written[-1] + b"\n")

    def rotate_somehow() -> Path:
        name = chance.choice(["rising", "shifting"]) if scheme == "mixed" else scheme
        if name == "shifting":
            rotate(log)
            return log.with_name("access.log.1")
        taken = [int(path.suffix[1:]) for path in log.parent.glob("access.log.[0-9]*")]
        target = {
            "rising": f"access.log.{max(taken, default=0) + 1}",
            "dated": f"access.log-{20250101 + rotations}",
            "inside": f"access-{20250101 + rotations}.log",
        }[name]
        log.rename(log.with_name(target))
        return log.with_name(target)

    for _ in range(60):
        action = chance.choice(["write", "write", "read", "rotate", "late", "time", "restart"])
        if action == "write":
            write(log)
        elif action == "read":
            read += texts(tail)
            worker_path = worker_path if chance.random() < 0.5 else None
        elif action == "rotate" and rotations < 18:
            worker_path = rotate_somehow()
            rotations += 1
            append_at(log, len(written), b"")
        elif action == "late" and worker_path:
            write(worker_path)
        elif action == "time":
            read += texts(tail)
            clock.now_s += chance.choice([0.7, DRAIN_SECONDS])
            worker_path = None
        elif action == "restart":
            read += texts(tail)
            tail.save()
            tail.close()
            tail = start()
            worker_path = None
    for _ in range(20):
        read += texts(tail)
        clock.now_s += DRAIN_SECONDS
    assert sorted(read) == sorted(written)
    assert tail.counters.positions_lost == 0
