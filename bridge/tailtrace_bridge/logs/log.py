"""One log and its rotated files: which of them to read, in which order, from where; `tail` has the rules."""

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from tailtrace_bridge.core.errors import LogFileError
from tailtrace_bridge.logs.checkpoint import Position, TailLine
from tailtrace_bridge.logs.files import LINE_KEPT_MAX, fingerprint, if_several, unreadable
from tailtrace_bridge.logs.rotation import ROTATED_MAX, TO_THE_END, LogFile, after, index_of, list_log_files
from tailtrace_bridge.logs.source import Source, TruncatedError
from tailtrace_bridge.logs.tail_state import TailState

DRAIN_SECONDS = 10.0
LOOK_SECONDS = 1.0
"""After a change of its folder, a log is looked for this long: two changes in one tick have the same time."""
DRAINING_MAX = 8
"""Rotated files of one log that are open at once."""
DONE_MAX = 2 * ROTATED_MAX
"""Files of one log that are known to be done with; beyond it, those are forgotten that have not been seen for longest.
A look sees half as many, so that it forgets none of its own: there is nothing to count."""


class Log:
    """One log: its open files, oldest first. The last of them is the newest that has been reached."""

    def __init__(self, file: str, state: TailState, saved: tuple[Position, ...], from_start: bool) -> None:
        self.file = file
        self.sources: list[Source] = []
        self._state = state
        self._saved = saved
        self._from_start = from_start
        self._done: dict[tuple[int, int], None] = {}  # inode and fingerprint: history, or read to the end
        self._waiting: list[Position] = []  # places whose file could not be found or opened yet
        self._since_ns = 0  # what was last written before is history, also if it was not looked at
        self._is_started = False
        self._folder_seen_ns = 0
        self._look_until_s = 0.0

    def start(self, inode: int | None) -> None:
        """Find the place to read from; not before the live file, if there is one, can be read."""
        log_files = list_log_files(self.file, self._state.say, self._saved)
        if inode is not None and not (log_files and log_files[-1].live):
            return
        if self._saved:
            self._resume(self._saved, log_files)
        else:
            self._begin(log_files, self._from_start)
        self._is_started = True
        self._state.save()  # from here on a crash knows what was history

    def _resume(self, saved: tuple[Position, ...], log_files: list[LogFile]) -> None:
        self._since_ns = min(position.mtime_ns for position in saved)
        places: list[tuple[int, Position]] = []
        for position in saved:
            index = index_of(position, log_files)
            if index is not None:
                places.append((index, position))
                continue
            self._state.ledger.begin(self.file, position)
            self._state.ledger.finished(self.file, position.fingerprint)
            if position.fingerprint:
                self._waiting.append(position)
                self._state.counters.positions_lost += 1
                self._state.lose(
                    self.file,
                    f"{self.file}: the file that was read last is not in its folder any more (moved, as `olddir` does, "
                    f"emptied or removed), and what was written to it after byte {position.offset} is not read. "
                    "`tailtrace import FILE` with the rotated file, wherever it is now, puts it in; what is known "
                    "already is not stored twice.",
                )
        places.sort(key=lambda place: place[0])
        newer = after(places[-1][1] if places else saved[-1], log_files)
        self._done_with(one for one in log_files if one not in newer)
        for index, position in places:
            log_file = log_files[index]
            self._state.ledger.begin(self.file, position)
            if position.offset == TO_THE_END:
                self._done_with([log_file])
                self._state.ledger.finished(self.file, position.fingerprint)
                continue
            self._done.pop((log_file.inode, log_file.fingerprint), None)
            if not self._open(log_file, position.offset):
                self._waiting.append(position)
        self._state.ledger.written(self.file, max(position.mtime_ns for position in saved))
        self._look_until_s = self._state.clock() + LOOK_SECONDS

    def _done_with(self, log_files: Iterable[LogFile]) -> None:
        for log_file in log_files:
            self._done[log_file.inode, log_file.fingerprint] = None

    def _is_new(self, log_file: LogFile) -> bool:
        """Return whether a file has neither been read, nor is being read, nor is history.

        Under the log's name another inode is another file, even if it begins with the same line; beside it, the same
        first line means a copy, or the gzipped file.
        """
        if any(source.inode == log_file.inode for source in self.sources):
            return False  # if it was emptied since, its reader sees that first
        if (log_file.inode, log_file.fingerprint) in self._done:
            return False
        if log_file.live:
            return log_file.size > 0
        known = {seed for _, seed in self._done} | {source.fingerprint for source in self.sources}
        is_history = log_file.mtime_ns < self._since_ns and not self._offset(log_file)
        return not is_history and log_file.fingerprint not in known - {0}

    def _offset(self, log_file: LogFile) -> int:
        """Return where to begin with a new file: where a place waits for it, from there on."""
        for position in self._waiting:
            is_same = position.inode == log_file.inode or not log_file.live
            if is_same and index_of(position, [log_file]) is not None:
                return position.offset
        return 0

    def _begin(self, log_files: list[LogFile], from_start: bool) -> None:
        live = log_files[-1] if log_files and log_files[-1].live else None
        self._done_with(one for one in log_files if not one.live)
        seed = live.fingerprint if live else 0
        known = [one for one in log_files if not one.live and one.fingerprint and one.fingerprint != seed]
        anchor = Position(0, 0, 0, 0)
        if known:
            anchor = Position(known[-1].inode, known[-1].fingerprint, TO_THE_END, known[-1].mtime_ns)
        if live and seed and not from_start:
            anchor = Position(live.inode, seed, _end_of_last_line(live.path), live.mtime_ns)
            if not self._open(live, anchor.offset):
                self._waiting.append(anchor)
        self._since_ns = anchor.mtime_ns
        self._state.ledger.begin(self.file, anchor)
        if not self.sources:
            self._state.ledger.finished(self.file, anchor.fingerprint)
            if live and live.size:
                self._open(live, 0)

    def _open(self, log_file: LogFile, offset: int) -> bool:
        try:
            source = Source(log_file, offset)
        except FileNotFoundError:
            return False  # moved since it was listed; the next look finds it
        except TruncatedError:
            return False
        except OSError as error:
            self._state.say(log_file.path, str(unreadable(log_file.path, error)))
            return False
        left = [one for one in self._waiting if index_of(one, [log_file]) is None]
        if len(left) < len(self._waiting) and not left:
            self._state.found(self.file)
        self._waiting = left
        self.sources.append(source)
        self.sources.sort(key=lambda one: one.live)  # stable: an older file found late comes before the live one
        if source.fingerprint:
            self._state.ledger.begin(self.file, source.position)
        return True

    def read(self, bytes_max: int) -> tuple[list[TailLine], int, bool]:
        """Return lines, the bytes they took, and whether more waits: from the oldest source that has any."""
        try:
            status = self._live_status()
        except OSError as error:
            self._state.say(self.file, str(unreadable(self.file, error)))
            return [], 0, False
        inode = status.st_ino if status else None
        if not self._is_started:
            self.start(inode)
            if not self._is_started:
                return [], 0, False
        for source in list(self.sources):
            lines, taken = self._read_source(source, inode)
            if taken or lines:
                return lines, taken, True
        if status is None or bytes_max <= 0:
            return [], 0, False
        return [], 0, self._go_on(status.st_size)

    def _live_status(self) -> os.stat_result | None:
        """Return what stands under the log's name: looked up before reading, so that what is read is not older."""
        try:
            return os.stat(self.file)  # noqa: PTH116 - once for each poll
        except FileNotFoundError:
            if not self.sources:
                self._state.say(
                    self.file, f"{self.file}: no such file yet; it is read as soon as it appears{if_several(self.file)}"
                )
            return None

    def _read_source(self, source: Source, inode: int | None) -> tuple[list[TailLine], int]:
        known = source.fingerprint
        try:
            chunk = source.read_chunk()
        except TruncatedError:
            self._truncated(source)
            return [], 0
        except (OSError, LogFileError) as error:
            return self._broken(source, error)
        if not chunk:
            return self._quiet(source, inode)
        source.quiet_since = None
        lines = source.splitter.feed(chunk)
        if source.fingerprint and not known:
            self._state.ledger.begin(self.file, Position(source.inode, source.fingerprint, 0, source.mtime_ns))
        self._state.ledger.written(self.file, source.written_ns)
        return self._give(source, lines), len(chunk)

    def _quiet(self, source: Source, inode: int | None) -> tuple[list[TailLine], int]:
        """Its end was reached: if it is not the live file any more, close it when it has been quiet long enough."""
        if source.live:
            if inode is None or inode == source.inode:
                return [], 0
            source.live = False
            self._state.counters.rotations += 1
        if source is self.sources[-1]:
            return [], 0  # its inode or fingerprint leads to the next one
        now_s = self._state.clock()
        if source.quiet_since is None:
            source.quiet_since = now_s
        over = len(self.sources) - 1 > DRAINING_MAX and source is self.sources[0]
        if source.is_packed or over or now_s - source.quiet_since >= DRAIN_SECONDS:
            return self._finish(source), 0
        return [], 0

    def _finish(self, source: Source) -> list[TailLine]:
        rest = source.splitter.rest()
        if rest and not source.fingerprint:
            source.fingerprint = fingerprint(rest[0][0])
            self._state.ledger.begin(self.file, Position(source.inode, source.fingerprint, 0, source.mtime_ns))
        lines = self._give(source, rest)
        self._close(source)
        return lines

    def _close(self, source: Source) -> None:
        self._drop(source)
        self._done[source.inode, source.fingerprint] = None

    def _drop(self, source: Source) -> None:
        """Read no more from `source`. Its entry in the ledger stays while another one that begins alike is read."""
        self.sources.remove(source)
        source.close()
        if all(other.fingerprint != source.fingerprint for other in self.sources):
            self._state.ledger.finished(self.file, source.fingerprint)

    def _broken(self, source: Source, error: OSError | LogFileError) -> tuple[list[TailLine], int]:
        text = str(error if isinstance(error, LogFileError) else unreadable(source.path, error))
        self._state.say(source.path, text)
        if isinstance(error, LogFileError):
            self._state.counters.files_damaged += 1
            self._close(source)
        return [], 0

    def _truncated(self, source: Source) -> None:
        """Go on in the copy that was made before the file was emptied, if there is one."""
        self._state.counters.truncations += 1
        if not source.fingerprint:
            self._drop(source)
            return  # nothing of it was given: the search for the next file finds the copy
        copies = [one for one in list_log_files(self.file, self._state.say) if not one.live]
        index = index_of(source.position, copies)
        place = self.sources.index(source)
        if index is not None and self._open(copies[index], source.splitter.offset):
            self.sources.remove(source)
            source.close()
            copy = next(one for one in self.sources if one.inode == copies[index].inode)
            self.sources.remove(copy)
            self.sources.insert(place, copy)
            return
        self._drop(source)
        # No inode: what now stands under the log's name is not it, a copy that turns up later is.
        self._waiting.append(replace(source.position, inode=0))
        self._state.counters.truncations_without_copy += 1
        self._state.lose(
            self.file,
            f"{self.file}: it was emptied (copytruncate, or `> {self.file}`), and no copy of it is in its folder: what "
            f"was written after byte {source.splitter.offset} and before that is not read. If there is a copy "
            "elsewhere, `tailtrace import FILE` puts it in; what is known already is not stored twice.",
        )

    def _go_on(self, live_size: int) -> bool:
        """All sources are quiet: open the oldest new file, and say whether there was one.

        While the live file is open, only for a while after a rotation: a file may have been renamed during the look.
        """
        now_s = self._state.clock()
        has_live = bool(self.sources) and self.sources[-1].live
        if has_live and now_s > self._look_until_s:
            return False
        folder_ns = os.stat(Path(self.file).parent).st_mtime_ns  # noqa: PTH116 - as above
        if folder_ns != self._folder_seen_ns:
            self._folder_seen_ns, self._look_until_s = folder_ns, now_s + LOOK_SECONDS
        if (has_live or not live_size) and now_s > self._look_until_s:
            return False  # nothing was renamed or made since the last look, and nothing new is in the live file
        log_files = list_log_files(self.file, self._state.say)
        new = [one for one in log_files if self._is_new(one)]
        for key in [(one.inode, one.fingerprint) for one in log_files]:
            if key in self._done:
                self._done[key] = self._done.pop(key)  # seen last
        for key in list(self._done)[: max(0, len(self._done) - DONE_MAX)]:
            del self._done[key]
        return any(self._open(one, self._offset(one)) for one in new)

    def _give(self, source: Source, lines: list[tuple[bytes, int, int]]) -> list[TailLine]:
        file, seed, opened = self.file, source.fingerprint, self._state.ledger.opened
        given = [TailLine(data, file, offset, end, seed) for data, offset, end in lines]
        for line in given:
            opened(line)
            if len(line.data) >= LINE_KEPT_MAX:
                self._state.counters.lines_cut += 1
        return given

    def close(self) -> None:
        """Close its files."""
        for source in self.sources:
            source.close()
        self.sources.clear()


def _end_of_last_line(path: str) -> int:
    with Path(path).open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        start = max(0, end - LINE_KEPT_MAX)
        file.seek(start)
        newline = file.read(end - start).rfind(b"\n")
    return start + newline + 1 if newline >= 0 else end
