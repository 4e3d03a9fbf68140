"""`tailtrace import` against GoAccess on the same log, whole programs from start to exit.

    python bench/import_goaccess.py [LOG]

The log is LOG, or the real ones in $TAILTRACE_SHARED_DATA/nginx-access (else ../shared/data), or a generated one. Both
read it from one plain file in the page cache, in turns; the best of each counts. GoAccess sums the log up in memory
and writes a JSON report; tailtrace also keeps every row, and its three answers come from the store.
"""

import argparse
import gzip
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

GENERATED_LINES = 200_000
TURNS = 3


def real_logs() -> list[Path]:
    """Return the real logs of this machine, if there are any."""
    shared = os.environ.get("TAILTRACE_SHARED_DATA", str(Path(__file__).parents[2] / "shared" / "data"))
    return sorted(Path(shared, "nginx-access").glob("*.gz"))


def generate(path: Path) -> None:
    """Write a combined log: 2000 addresses, 300 paths, 200 agents."""
    dice = random.Random(7)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    with path.open("w") as file:
        for n in range(GENERATED_LINES):
            when = (start + timedelta(seconds=n)).strftime("%d/%b/%Y:%H:%M:%S +0000")
            number = dice.randrange(2000)
            file.write(
                f'100.64.{number // 250}.{number % 250} - - [{when}] "GET /area{dice.randrange(6)}/thing'
                f'{dice.randrange(50)} HTTP/1.1" {dice.choice((200, 200, 200, 304, 404, 500))} {dice.randrange(9999)} '
                f'"https://example.com/" "Mozilla/5.0 (X11; Linux x86_64) Chrome/{dice.randrange(200)}.0"\n'
            )


def run_s(name: str, command: Sequence[str], environment: dict[str, str], clean: Sequence[Path]) -> float:
    """Run a command once from a clean state; give its wall-clock seconds."""
    for path in clean:
        path.unlink(missing_ok=True)
    started_s = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{name} failed ({done.returncode}): {done.stderr.decode(errors='replace')[-500:]}")
    return time.perf_counter() - started_s


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("log", nargs="?", type=Path, help="an access log in the combined format, not compressed")
    arguments = parser.parse_args()
    goaccess = shutil.which("goaccess")
    if goaccess is None:
        print("skipped: GoAccess is not installed; `apt-get install -y goaccess` and run this again")
        return 0
    with tempfile.TemporaryDirectory(prefix="tailtrace-import-") as folder:
        log, source = Path(folder, "access.log"), "generated"
        if arguments.log is not None:
            log, source = arguments.log, str(arguments.log)
        elif logs := real_logs():
            source = f"real, {len(logs)} files"
            with log.open("wb") as whole:
                for path in logs:
                    with gzip.open(path) as part:
                        shutil.copyfileobj(part, whole)
        else:
            generate(log)
        with log.open("rb") as file:
            lines = sum(1 for _ in file)
        store = Path(folder, "bench.db")
        stores = [store, Path(f"{store}-wal"), Path(f"{store}-shm")]
        report = Path(folder, "report.json")
        tailtrace = str(Path(sys.executable).with_name("tailtrace"))
        ours = [tailtrace, "import", str(log), "--json"]
        theirs = [goaccess, str(log), "--log-format=COMBINED", "--no-global-config", "--no-progress", "-o", str(report)]
        environment = os.environ | {"TAILTRACE_STORE": f"sqlite:{store}"}
        ours_s, again_s, theirs_s = [], [], []
        for _ in range(TURNS):
            theirs_s.append(run_s("goaccess", theirs, environment, [report]))
            ours_s.append(run_s("tailtrace import", ours, environment, stores))
            again_s.append(run_s("tailtrace import", ours, environment, []))
    print(f"log             {lines} lines ({source}), best of {TURNS}")
    print(f"goaccess        {lines / min(theirs_s):,.0f} lines/s")
    print(f"tailtrace       {lines / min(ours_s):,.0f} lines/s; the same log again {lines / min(again_s):,.0f} lines/s")
    print(f"ratio           {min(theirs_s) / min(ours_s):.2f} x the speed of GoAccess")
    return 0


if __name__ == "__main__":
    sys.exit(main())
