"""Follow logs while nginx writes and logrotate moves them. Never blocks: `read()` gives what there is.

| what is seen | what is done |
|---|---|
| a log for the first time | read it from its start (or its end); rotated files are history, for `import` |
| a log with a saved position | read the rest of that file, then each newer one, then the live file |
| an empty live file | not opened: what it was when its first line came is then asked of the whole folder |
| another inode under the name (rename) | the new file is read; the old one too, until quiet for `DRAIN_SECONDS`: |
|  | workers of nginx write on to it until they have reopened their log |
| the file shrank or begins otherwise (copytruncate) | the rest is read from the copy, then the live file |
| a rotated file that was neither history nor read yet | read, whatever its name or time says about its order |
| a file that is open, or was read, also as a copy or gzipped | not opened again |
| a line without its newline | waits for it; it is given when its file is done with |
| a file that is missing or cannot be read | one log line, an entry in `problems()`, tried on each read |

"Begins otherwise" is looked at after a chunk was read and before its lines are given: a truncation in between cannot
mix two files.
"""

import glob
import logging
import time
from collections.abc import Callable, Iterable
from typing import Self

from tailtrace_bridge.core.errors import SettingsError
from tailtrace_bridge.logs.checkpoint import Checkpoint, TailLine
from tailtrace_bridge.logs.files import if_several
from tailtrace_bridge.logs.log import Log
from tailtrace_bridge.logs.rotation import is_rotated_name
from tailtrace_bridge.logs.tail_state import TailState

READ_BYTES_MAX = 512 * 1024
"""Bytes that one `read()` takes, over all logs."""
LOGS_MAX = 256
"""Logs that a glob may name; those beyond are counted in `logs_skipped`."""
HELD_LINES_MAX = 200_000
"""Lines given and not acknowledged, above which `read()` gives no more; counted in `reads_held`."""
_LOGGER = logging.getLogger(__name__)


class Tail:
    """Follows the logs that `pattern` names: paths and globs, comma separated.

    `read()` gives lines, `acknowledge()` takes them back when they are stored, `save()` writes the positions.
    Raises `SettingsError` for a pattern that names nothing.
    `clock` gives seconds and only measures how long a rotated file has been quiet.
    """

    def __init__(
        self,
        pattern: str,
        checkpoint: Checkpoint,
        from_start: bool = True,
        read_bytes_max: int = READ_BYTES_MAX,
        *,
        held_lines_max: int = HELD_LINES_MAX,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._state = TailState(checkpoint, clock)
        self.counters, self.ledger = self._state.counters, self._state.ledger
        self._patterns = [part.strip() for part in pattern.split(",") if part.strip()]
        if not self._patterns:
            raise SettingsError("TAILTRACE_LOG names no log: set it to nginx's access log, a path or a glob")
        self._checkpoint = checkpoint
        self._from_start = from_start
        self._read_bytes_max = read_bytes_max
        self._held_lines_max = held_lines_max
        self._logs: dict[str, Log] = {}
        self._turn = 0
        self._behind = False
        self._skipped: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def logs_forgotten(self) -> int:
        """Logs whose position was forgotten, since as many as are remembered were saved after them."""
        return self._checkpoint.logs_forgotten

    @property
    def behind(self) -> bool:
        """More is waiting than the last `read()` gave: read again at once."""
        return self._behind

    @property
    def sees_log(self) -> bool:
        """Whether there is a log that can be read."""
        return any(path not in self._state.problems for path in self._logs)

    def problems(self) -> dict[str, str]:
        """Return the files that cannot be read now, and why."""
        return dict(self._state.problems)

    def losses(self) -> dict[str, str]:
        """Return the logs of which lines were lost since the start, and what puts them in."""
        return dict(self._state.losses)

    def read(self) -> list[TailLine]:
        """Return new complete lines, at most about `read_bytes_max` bytes of them, in turn from each log."""
        if self.ledger.held_lines >= self._held_lines_max:
            self.counters.reads_held += 1
            self._behind = True
            return []
        self._find_logs()
        lines: list[TailLine] = []
        left_bytes = self._read_bytes_max
        waiting = list(self._logs.values())
        if waiting:
            self._turn = (self._turn + 1) % len(waiting)
            waiting = waiting[self._turn :] + waiting[: self._turn]
        while waiting and left_bytes > 0 and self.ledger.held_lines < self._held_lines_max:
            still: list[Log] = []
            for log in waiting:
                if left_bytes <= 0:
                    still.append(log)
                    continue
                given, taken, more = log.read(left_bytes)
                lines += given
                left_bytes -= taken
                self.counters.bytes += taken
                if more:
                    still.append(log)
            waiting = still
        self._behind = bool(waiting)
        self.counters.lines += len(lines)
        self._from_start = True  # a log that appears later is new as a whole
        self._state.settle({*self._logs, *self._patterns})
        return lines

    def acknowledge(self, lines: Iterable[TailLine]) -> None:
        """Take back lines that are stored, in whatever order: a restart need not read them again."""
        done = self.ledger.done
        for line in lines:
            done(line)

    def save(self) -> None:
        """Save the positions. Raises `LogFileError` where that fails; nothing is lost by it."""
        self._state.save()

    def close(self) -> None:
        """Close the files. Does not save."""
        for log in self._logs.values():
            log.close()

    def _find_logs(self) -> None:
        found: list[str] = []
        for pattern in self._patterns:
            paths = sorted(glob.glob(pattern)) if glob.has_magic(pattern) else [pattern]  # noqa: PTH207 - any root
            if not paths:
                said = f"{pattern}: names no file yet; logs are read as soon as they appear{if_several(pattern)}"
                self._state.say(pattern, said)
            found += paths
        new = [path for path in dict.fromkeys(found) if path not in self._logs]
        for path in new:
            if any(path != other and is_rotated_name(path, other) for other in found) or path in self._skipped:
                continue
            if len(self._logs) >= LOGS_MAX:
                self._skipped.add(path)
                self.counters.logs_skipped += 1
                _LOGGER.warning(
                    "%s is not read: there are %d logs already. Name fewer in TAILTRACE_LOG", path, LOGS_MAX
                )
                continue
            self._logs[path] = Log(path, self._state, self._checkpoint.positions.get(path, ()), self._from_start)
