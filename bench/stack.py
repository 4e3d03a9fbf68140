"""The whole stack for a minute, and each fault for longer than the tests take: what is lost, and how soon it heals.

    python bench/stack.py
    python bench/stack.py --all        with the short variants too

Real nginx, app, collector, InfluxDB, bridge and API: the tests of `tests/stack` that `make test` leaves out as slow,
with their numbers. They need `make collector influxdb`.
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
TESTS = ("tests/stack/test_chain.py", "tests/stack/test_faults.py")
SAID = re.compile(
    r"^(?!\{).*(?:: \d+ requests|: \d+ lines|: \d+ answers|PASSED|FAILED|ERROR|SKIPPED|^E  | passed| failed).*"
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--all", action="store_true", help="the short variants too")
    arguments = parser.parse_args()
    which = [] if arguments.all else ["-m", "slow"]
    command = [sys.executable, "-m", "pytest", "-v", "-s", *which, *TESTS]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as pytest:
        assert pytest.stdout is not None
        for line in pytest.stdout:
            if SAID.match(line):
                print(line.rstrip()[:200], flush=True)
    return pytest.returncode


if __name__ == "__main__":
    sys.exit(main())
