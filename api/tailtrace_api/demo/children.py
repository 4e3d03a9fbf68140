"""The demo's child processes: started in groups of their own, watched, and none left behind.

| what happens | what is done |
|---|---|
| a child ends before it is told to | `ChildDied`, with the end of its log |
| a child is not ready within `READY_S_MAX` | `ChildDied`, the same |
| the demo ends, however it ends | SIGTERM to each group, in the order of start; SIGKILL after `STOP_S_MAX` |

A child's output goes to a file, never to a pipe that could fill. A group of its own keeps the terminal's Ctrl-C from
the children: they end when the demo has read the last of what they know.
"""

import asyncio
import os
import signal
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

READY_S_MAX = 20.0
READY_POLL_S = 0.05
STOP_S_MAX = 5.0
LOG_TAIL_LINES = 20


class ChildDied(Exception):  # noqa: N818 - what happened, as in KeyboardInterrupt
    """A process that the demo needs is gone or never came up; the message ends with the end of its log."""


@dataclass(frozen=True, slots=True)
class Child:
    """A running child and where its output goes."""

    name: str
    process: asyncio.subprocess.Process
    log: Path

    def problem(self, what: str) -> ChildDied:
        """Make the error that tells `what` and shows the end of the log."""
        with self.log.open(encoding="utf-8", errors="replace") as file:
            tail = "".join(deque(file, LOG_TAIL_LINES)).rstrip()
        return ChildDied(f"{self.name} {what}; the end of {self.log}:\n{tail or '(empty)'}")


class Children:
    """An async context manager: all children end with it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._children: list[Child] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        ready: Callable[[], Awaitable[bool]],
    ) -> Child:
        """Start a child in our folder and wait until `ready` says that it is. Raises `ChildDied`."""
        log = self._folder / f"{name}.log"
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self._folder,
                env=child_environment(environment),
                start_new_session=True,
            )
        child = Child(name, process, log)
        self._children.append(child)
        try:
            async with asyncio.timeout(READY_S_MAX):
                while not await ready():
                    if process.returncode is not None:
                        raise child.problem(f"ended at once with status {process.returncode}")
                    await asyncio.sleep(READY_POLL_S)
        except TimeoutError:
            raise child.problem(f"was not ready within {READY_S_MAX:.0f} s") from None
        return child

    async def watch(self) -> None:
        """Wait until a child ends, and raise `ChildDied`. Never returns; cancel it."""
        waits = {asyncio.create_task(child.process.wait()): child for child in self._children}
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        child = waits[done.pop()]
        raise child.problem(f"ended with status {child.process.returncode}")

    async def stop(self) -> None:
        """End all children in the order of start. Safe to call twice."""
        try:
            while self._children:
                await _end(self._children[0])
                self._children.pop(0)
        finally:
            # Only when the stop itself is cut short.
            for child in self._children:
                _signal_group(child, signal.SIGKILL)


def child_environment(added: Mapping[str, str]) -> dict[str, str]:
    """Return ours, with what is added, without what a user has set for a tailtrace or an app of their own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TAILTRACE_", "OTEL_"))}
    return {**kept, **added}


async def _end(child: Child) -> None:
    _signal_group(child, signal.SIGTERM)
    try:
        async with asyncio.timeout(STOP_S_MAX):
            await child.process.wait()
    except TimeoutError:
        pass
    finally:
        # Also when the child itself has ended: whoever is left of its group ends here.
        _signal_group(child, signal.SIGKILL)
        await child.process.wait()


def _signal_group(child: Child, number: signal.Signals) -> None:
    try:
        os.killpg(child.process.pid, number)
    except ProcessLookupError:
        return
