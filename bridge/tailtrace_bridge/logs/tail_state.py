"""What all logs of one tail share: its ledger, its clock, what it counts, and what went wrong."""

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from tailtrace_bridge.logs.checkpoint import Checkpoint, Ledger

_LOGGER = logging.getLogger(__name__)


@dataclass(slots=True)
class TailCounters:
    """What happened since the start."""

    lines: int = 0
    bytes: int = 0
    """Uncompressed."""
    lines_cut: int = 0
    """Lines of more than `LINE_LENGTH_MAX` bytes: their ends were skipped."""
    rotations: int = 0
    truncations: int = 0
    truncations_without_copy: int = 0
    """The rest of the old content was nowhere to be found."""
    positions_lost: int = 0
    """Saved places whose file is gone."""
    logs_skipped: int = 0
    reads_held: int = 0
    files_damaged: int = 0


class TailState:
    """Of one tail. `clock` gives seconds and only measures how long a file has been quiet."""

    def __init__(self, checkpoint: Checkpoint, clock: Callable[[], float]) -> None:
        self.counters = TailCounters()
        self.ledger = Ledger()
        self.clock = clock
        self.problems: dict[str, str] = {}
        """Files that cannot be read now, and why."""
        self.losses: dict[str, str] = {}
        """Logs of which lines were lost since the start, and what puts them in."""
        self._checkpoint = checkpoint
        self._seen_now: dict[str, str] = {}

    def save(self) -> None:
        """Save the positions. Raises `LogFileError` where that fails; nothing is lost by it."""
        self._checkpoint.save(self.ledger.positions())

    def lose(self, path: str, what: str) -> None:
        """Note lines that were not read and will not be."""
        self.losses[path] = what
        _LOGGER.warning("%s", what)

    def found(self, path: str) -> None:
        """Take a loss back: the file turned up."""
        if self.losses.pop(path, None) is not None:
            _LOGGER.info("%s: the file that was missing is read after all", path)

    def say(self, path: str, problem: str) -> None:
        """Note a problem of a file, for the log if it is a new one."""
        self._seen_now[path] = problem
        if self.problems.get(path) != problem:
            self.problems[path] = problem
            _LOGGER.warning("%s", problem)

    def settle(self, logs: Collection[str]) -> None:
        """Let go of the problems that were not seen since the last call. `logs` are followed, or to be found."""
        for path in [path for path in self.problems if path not in self._seen_now]:
            if path not in logs and Path(path).exists():
                continue  # a rotated file is not looked at on each read; it stays damaged until it is removed
            del self.problems[path]
            _LOGGER.info("%s: can be read again", path)
        self._seen_now.clear()
