"""Runs code in processes of their own that need not import what all of them do: each is a fork of this one.

One JSON object a line: {"code": …, "environ": …} in, {"status": …, "stdout": …, "stderr": …} out. Nothing that reads
the environment of OpenTelemetry is imported before a fork. A fork ends as Python does, threads and `atexit` included.
"""

import json
import os
import signal
import sys
import tempfile

import fastapi.testclient  # noqa: F401 - the dear part of what each process imports

ALIVE_S_MAX = 300


def run_in_fork(code: str, environ: dict[str, str]) -> dict[str, object] | None:
    """Return what the fork said and how it ended; in the fork itself, None."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        pid = os.fork()
        if not pid:
            signal.alarm(ALIVE_S_MAX)  # ends it, and the test hears of that
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            os.environ.clear()
            os.environ.update(environ)
            exec(compile(code, "<test>", "exec"), {"__name__": "__main__"})
            return None
        _, status = os.waitpid(pid, 0)
        for file in (out, err):
            file.seek(0)
        return {
            "status": os.waitstatus_to_exitcode(status), "stdout": out.read().decode(), "stderr": err.read().decode()
        }  # fmt: skip


def main() -> None:
    for line in iter(sys.stdin.readline, ""):
        done = run_in_fork(**json.loads(line))
        if done is None:
            return
        sys.stdout.write(json.dumps(done) + "\n")
        sys.stdout.flush()


main()
