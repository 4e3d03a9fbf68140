"""`tailtrace demo --docker` in a clone that has a stack of its own: its .env, its secrets, and what a shell has set."""

import json
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

pytestmark = [pytest.mark.docker, pytest.mark.slow]

DEMO = (sys.executable, "-u", "-m", "tailtrace_api.commands.cli", "demo", "--docker")
END_S_MAX = 300
PAST_ROWS = 500
"""At least, of the week before."""
OUTCOME = re.compile(r"sent (\d+) requests, nginx wrote (\d+) lines, stored (\d+), with the app's part (\d+) of (\d+) ")


class Demo:
    """A running one, and what it has said so far."""

    def __init__(self, stack: Any) -> None:
        self._stack = stack
        self.process = subprocess.Popen(
            DEMO, cwd=stack.folder, env={**stack.engine.env, **stack.env}, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self.said = ""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said += line

    def wait_for(self, pattern: str) -> re.Match[str]:
        def look() -> re.Match[str] | None:
            assert self.process.poll() is None, self.said
            return re.search(pattern, self.said)

        found: re.Match[str] = self._stack.wait_for(look, END_S_MAX, pattern)
        return found

    def end(self, *, gently: bool = True) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT if gently else signal.SIGKILL)
        status = self.process.wait(END_S_MAX)
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()
        return status


@contextmanager
def running(stack: Any) -> Iterator[Demo]:
    demo = Demo(stack)
    try:
        yield demo
    finally:
        sys.stdout.write(demo.said)
        demo.end(gently=False)


def test_people_have_names_a_past_and_a_waterfall_and_nothing_stays(make_stack: Any) -> None:
    with make_stack() as stack, running(stack) as demo:
        api = demo.wait_for(r"the dashboard +(http\S+)/\n")[1]
        trace_id = demo.wait_for(r"a request that broke .*\?request=([0-9a-f]{32})\n")[1]

        def asked(path: str) -> Any:
            with urllib.request.urlopen(f"{api}{path}", timeout=30) as answer:
                return json.loads(answer.read())

        named = {
            (row["ip"], row["user"], row["device"])
            for row in asked("/analytics/access-logs?hours=1&limit=1000")["logs"]
        }
        assert ("127.0.0.11", "ana@factory.example", "ana-laptop") in named
        past = asked("/analytics/access-logs?hours=168&limit=1")["summary"]["total_requests"]
        assert past > PAST_ROWS
        words = demo.wait_for(r"the same in the terminal (docker .*)\n")[1].split()
        assert trace_id in words
        assert "chocolate-factory" in stack.engine.run(*words).stdout

        assert demo.end() == 0
        _, written, stored, told, proxied = (int(number) for number in OUTCOME.search(demo.said).groups())  # type: ignore[union-attr]
        assert stored == written > 0
        assert told == proxied > 0
        assert "ana@factory.example" in demo.said.partition("Who (usage)")[2], "the report"
        assert stack.engine.docker("ps", "--all", "--quiet") == ""
        assert stack.engine.docker("volume", "ls", "--quiet") == ""


def test_ctrl_c_before_all_is_up_leaves_nothing(make_stack: Any) -> None:
    with make_stack() as stack, running(stack) as demo:
        stack.wait_for(lambda: stack.engine.docker("ps", "--quiet"), END_S_MAX, "a container")
        assert demo.end() == 1
        assert "nothing is left running" in demo.said
        assert stack.engine.docker("ps", "--all", "--quiet") == ""
        assert stack.engine.docker("volume", "ls", "--quiet") == ""
