"""`tailtrace whois` with a file of many identities: how much longer it takes and how much more memory than without.

    python bench/identity_file.py [--identities 100000]

Seconds are of the fastest of five runs, from the start of the process to its end; MiB are the peak of its resident set.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RUNS = 5


def write(path: Path, count: int, form: str, between: str, around: tuple[str, str]) -> None:
    """Write `count` people of 100.64.0.0/10, one after another: the peak of this process would count as the child's."""
    with path.open("w") as file:
        file.write(around[0])
        for n in range(count):
            address = f"100.{64 + n // 65536}.{n // 256 % 256}.{n % 256}"
            file.write((between if n else "") + form % (address, f"person{n}@example.com", f"laptop-{n}"))
        file.write(around[1])


def whois(folder: Path, options: list[str]) -> tuple[float, float]:
    """Ask for one address; return seconds and MiB."""
    command = [sys.executable, "-m", "tailtrace_api.main", "whois", "100.64.0.7", *options]
    environment = os.environ | {"TAILTRACE_LOG": str(folder / "access.log")}
    begun_s = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, used = os.wait4(process.pid, 0)
    spent_s = time.perf_counter() - begun_s
    if status:
        raise SystemExit(f"whois ended with {os.waitstatus_to_exitcode(status)}")
    return spent_s, used.ru_maxrss / 1024


def main() -> None:
    """Measure JSON and TOML against no file, and print one line for each."""
    options = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    options.add_argument("--identities", type=int, default=100_000)
    count = options.parse_args().identities
    with tempfile.TemporaryDirectory(prefix="tailtrace-identities-") as name:
        folder = Path(name)
        (folder / "access.log").touch()
        write(folder / "i.json", count, '"%s": {"user": "%s", "device": "%s"}', ",\n", ("{", "}"))
        write(folder / "i.toml", count, '"%s" = { user = "%s", device = "%s" }', "\n", ("", "\n"))
        alone_s, alone_mib = min(whois(folder, []) for _ in range(RUNS))
        print(f"no file  {alone_s:.2f} s  {alone_mib:.0f} MiB")
        for file in ("i.json", "i.toml"):
            spent_s, mib = min(whois(folder, ["--identities", file]) for _ in range(RUNS))
            print(
                f"{file}   {spent_s:.2f} s  {mib:.0f} MiB, {mib - alone_mib:+.0f} MiB, {spent_s / alone_s:.1f} x alone"
            )


if __name__ == "__main__":
    main()
