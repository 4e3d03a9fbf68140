"""`tailtrace import` against GoAccess on the same logs, whole programs from start to exit.

    python bench/import_goaccess.py [--lines 1000000] [--turns 3] [LOG | KIND…]

The logs are of the kinds `combined` (the real one of $TAILTRACE_SHARED_DATA/nginx-access, else ../shared/data, over
and over with later dates; or one like it), `ours`, `scanners` and `paths`, each line of which has a path of its own; or
LOG, a combined one. Both programs read it from one plain file in the page cache, in turns; the best of each counts.
GoAccess sums the log up in memory and writes a JSON report; tailtrace also keeps every row, and its three answers come
from the store. By CPU is the time of all processes together: what stays of the ratio on a machine that others use too.

The last line says how fast SQLite alone takes the finished rows of all tables, by the same statements and in
transactions of the same size: no parsing, no counting. It bounds the ratio that any reader of lines could have.
"""

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import import_logs_made

from tailtrace_bridge.store.sqlite.database import connect
from tailtrace_bridge.store.sqlite.many import insert_many
from tailtrace_bridge.store.sqlite.store import WRITER_CACHE_KIB
from tailtrace_bridge.store.sqlite.transaction import transaction
from tailtrace_bridge.transfer.importer import BATCH_ROWS

LOOK_S = 0.02
KIB = 1024


class Run(NamedTuple):
    """What one run took: wall clock and CPU, seconds, and the most memory of all its processes, MiB."""

    wall_s: float
    cpu_s: float
    memory_mib: float


def run(name: str, command: Sequence[str], environment: dict[str, str], clean: Sequence[Path]) -> Run:
    """Run a command once from a clean state."""
    for path in clean:
        path.unlink(missing_ok=True)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started_s = time.perf_counter()
    memory = 0.0
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, env=environment, stdout=said, stderr=said)
        while process.poll() is None:
            memory = max(memory, sum(map(_memory_mib, _tree(process.pid))))
            time.sleep(LOOK_S)
        wall_s = time.perf_counter() - started_s
        if process.returncode:
            said.seek(0)
            raise RuntimeError(f"{name} failed ({process.returncode}): {said.read()[-500:].decode(errors='replace')}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Run(wall_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, memory)


def _tree(pid: int) -> Iterator[int]:
    yield pid
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return
    for child in children.split():
        yield from _tree(int(child))


def _memory_mib(pid: int) -> float:
    """Return what a process holds; what it shares with others counts by its share."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:  # it has ended, or this is no Linux
        return 0.0
    return next((int(line.split()[1]) / KIB for line in lines if line.startswith("Pss:")), 0.0)


def compare(kind: str, log: Path, theirs: Sequence[str], folder: Path, turns: int) -> None:
    """Run both on a log, in turns, and print what they took."""
    with log.open("rb") as file:
        lines = sum(1 for _ in file)
    store, report = folder / "bench.db", folder / "report.json"
    stores = [store, Path(f"{store}-wal"), Path(f"{store}-shm")]
    goaccess = ["goaccess", str(log), *theirs, "--no-global-config", "--no-progress", "-o", str(report)]
    ours = [str(Path(sys.executable).with_name("tailtrace")), "import", str(log), "--json", "--max-rejected", "100"]
    environment = os.environ | {"TAILTRACE_STORE": f"sqlite:{store}"}
    they, we = [], []
    for _ in range(turns):
        they.append(run("goaccess", goaccess, environment, [report]))
        we.append(run("tailtrace import", ours, environment, stores))
    size = store.stat().st_size
    again = run("tailtrace import", ours, environment, [])
    best = Run(*map(min, zip(*we, strict=True)))
    other = Run(*map(min, zip(*they, strict=True)))
    print(f"{kind}: {lines:,} lines, the best of {turns}")
    print(f"  goaccess   {lines / other.wall_s:>9,.0f} lines/s  {other.memory_mib:>4.0f} MiB")
    print(
        f"  tailtrace  {lines / best.wall_s:>9,.0f} lines/s  {best.memory_mib:>4.0f} MiB  "
        f"{size / lines:.0f} bytes a row; "
        f"the same log again {lines / again.wall_s:,.0f} lines/s"
    )
    print(
        f"  ratio      {other.wall_s / best.wall_s:>9.2f} x the speed of GoAccess; "
        f"by CPU {other.cpu_s / best.cpu_s:.2f}"
    )
    alone = copied(store, folder)
    print(
        f"  SQLite     {lines / alone.wall_s:>9,.0f} lines/s for the finished rows alone: "
        f"{other.wall_s / alone.wall_s:.2f} x the speed of GoAccess; by CPU {other.cpu_s / alone.cpu_s:.2f}"
    )


def copied(store: Path, folder: Path) -> Run:
    """Write the rows of a store into an empty one, and return what that alone took; it is not a process."""
    empty = folder / "copy.db"
    for path in (empty, Path(f"{empty}-wal"), Path(f"{empty}-shm")):
        path.unlink(missing_ok=True)
    source, target = connect(str(store), WRITER_CACHE_KIB), connect(str(empty), WRITER_CACHE_KIB)
    wall_s = cpu_s = 0.0
    for (table,) in source.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND name <> 'meta'").fetchall():
        rows = source.execute(f"SELECT * FROM {table}")
        while batch := rows.fetchmany(BATCH_ROWS):
            absent = {at for at in range(len(batch[0])) if all(row[at] is None for row in batch)}
            marks = ", ".join("NULL" if at in absent else "?" for at in range(len(batch[0])))
            given = [tuple(value for at, value in enumerate(row) if at not in absent) for row in batch]
            started_s, before_s = time.perf_counter(), time.process_time()
            with transaction(target):
                insert_many(target, f"INSERT INTO {table}", marks, given)
            wall_s += time.perf_counter() - started_s
            cpu_s += time.process_time() - before_s
    source.close()
    target.close()
    return Run(wall_s, cpu_s, 0.0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", nargs="*", help=f"a combined log, not compressed, or some of {', '.join(KINDS)}")
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--turns", type=int, default=3)
    arguments = parser.parse_args()
    if shutil.which("goaccess") is None:
        print("skipped: GoAccess is not installed; `apt-get install -y goaccess` and run this again")
        return 0
    with tempfile.TemporaryDirectory(prefix="tailtrace-import-") as name:
        folder = Path(name)
        for kind in arguments.what or KINDS:
            log = folder / "access.log" if kind in KINDS else Path(kind)
            if kind in KINDS:
                import_logs_made.write(kind, log, arguments.lines)
            compare(kind, log, KINDS.get(kind, KINDS["combined"])[1], folder, arguments.turns)
    return 0


KINDS = import_logs_made.KINDS

if __name__ == "__main__":
    sys.exit(main())
