"""Whole logs into the store: the history that was there before tailtrace. Importing a log again changes nothing.

A file that cannot be read to its end is reported after what could be read is stored.
"""

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tailtrace_bridge.access_log import LineParser
from tailtrace_bridge.enrich import Enricher
from tailtrace_bridge.errors import LogFileError
from tailtrace_bridge.log_file import read_lines
from tailtrace_bridge.records import Access, Refusal, Row
from tailtrace_bridge.store.protocol import Store

BATCH_ROWS = 20_000


@dataclass(slots=True)
class Imported:
    """What became of the lines: lines = stored + duplicate + refused."""

    lines: int = 0
    stored: int = 0
    duplicate: int = 0
    refused: int = 0
    refused_by_reason: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    """Files that could not be read, or not to their end."""


def import_logs(
    paths: Sequence[Path],
    *,
    make_parser: Callable[[], LineParser],
    enricher: Enricher,
    store: Store,
    on_bytes: Callable[[int], None] | None = None,
) -> Imported:
    """Import every line of `paths`. `on_bytes` is told how many bytes of the files were read."""
    total = Imported()
    with _no_cycle_search():
        for path in paths:
            _import_log(path, make_parser().parse, enricher.row, _Batch(store, total), on_bytes)
    return total


def _import_log(
    path: Path,
    parse: Callable[[bytes, str, int, int], Access | Refusal],
    row: Callable[[Access], Row],
    batch: "_Batch",
    on_bytes: Callable[[int], None] | None,
) -> None:
    # Only the offset and the content name a line, so that a log's key is the same under its next name.
    name = str(path)
    rows, refusals = batch.rows, batch.refusals
    try:
        for line, offset, seed in read_lines(path, on_bytes=on_bytes):
            record = parse(line, name, offset, seed)
            if isinstance(record, Refusal):
                refusals.append(record)
            else:
                rows.append(row(record))
            if len(rows) >= BATCH_ROWS or len(refusals) >= BATCH_ROWS:
                batch.write()
    except LogFileError as error:
        batch.total.problems.append(str(error))
    batch.write()


@contextmanager
def _no_cycle_search() -> Iterator[None]:
    """Spare the collector its walks over each batch: records hold no cycles."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class _Batch:
    def __init__(self, store: Store, total: Imported) -> None:
        self.rows: list[Row] = []
        self.refusals: list[Refusal] = []
        self._store = store
        self.total = total

    def write(self) -> None:
        written = self._store.write(self.rows, self.refusals)
        total = self.total
        total.lines += len(self.rows) + len(self.refusals)
        total.stored += written.stored
        total.duplicate += written.duplicate
        total.refused += len(self.refusals)
        for refusal in self.refusals:
            total.refused_by_reason[refusal.reason] = total.refused_by_reason.get(refusal.reason, 0) + 1
        self.rows.clear()
        self.refusals.clear()
