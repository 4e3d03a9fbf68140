"""All that a store holds, out into a file: page by page, in order, so that memory is bounded.

| format | holds | is read back by `tailtrace import` |
|---|---|---|
| `ndjson` | requests; without a window also who was ever named, and the rejected lines | yes, see `export_format` |
| `csv` | requests, one line each, the first line names the columns; RFC 4180, UTF-8 | no |
| `parquet` | requests, with typed columns; needs pyarrow | no |

A spreadsheet takes a cell for a formula by its first letter (`core.text`), and the texts are untrusted: in CSV such a
text gets an apostrophe before it (https://owasp.org/www-community/attacks/CSV_Injection).

Requests that come while an export runs may be in it or not; what is in it is told in its last line.
"""

import csv
import importlib
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, BinaryIO

from tailtrace_bridge.core.errors import BridgeError
from tailtrace_bridge.core.records import Row
from tailtrace_bridge.core.text import harmless_cell
from tailtrace_bridge.logs.times import TIME_US_MAX
from tailtrace_bridge.store.protocol import Store
from tailtrace_bridge.store.scope import Scope
from tailtrace_bridge.store.values import HOUR_US, Window
from tailtrace_bridge.transfer.format import FIELDS, NAMES, Lines, values_of

ALL_TIME = Window(0, TIME_US_MAX)
PAGE_ROWS = 5_000
"""Requests in memory at once."""
CSV_COLUMNS = ("time", *NAMES)
"""`time` is `time_us` as a person reads it: ISO 8601, UTC."""


@dataclass(frozen=True, slots=True)
class Exported:
    """How much was written."""

    requests: int
    refusals: int = 0
    """Rejected lines; the name is the one that `tailtrace export --json` prints."""
    identities: int = 0


@dataclass(frozen=True, slots=True)
class Export:
    """What to read, and whom to tell: `on_rows` is given the number of requests of each page."""

    store: Store
    origin: str
    """The store's name, as the first line tells it."""
    window: Window = ALL_TIME
    on_rows: Callable[[int], object] = lambda _: None

    def counted(self) -> int:
        """Return how many requests the store's rollups count: more than it has rows, where old rows were pruned."""
        return sum(step.requests for step in self.store.bucket_usage(Scope.everybody(), self.window, HOUR_US))

    def pages(self) -> Iterator[list[Row]]:
        """Return all requests, oldest first."""
        after: tuple[int, int] | None = None
        while page := self.store.rows(Scope.everybody(), self.window, after, PAGE_ROWS):
            yield page
            self.on_rows(len(page))
            after = page[-1].access.time_us, page[-1].access.key


def write_ndjson(export: Export, file: BinaryIO) -> Exported:
    """Write newline-delimited JSON."""
    lines, store = Lines(), export.store
    file.write(lines.first(export.origin, export.counted()))
    if export.window == ALL_TIME:
        file.writelines(lines.identity(named) for named in store.named(Scope.everybody()))
        after: tuple[str, int] | None = None
        while rejected_lines := store.rejected_lines(Scope.everybody(), after, PAGE_ROWS):
            file.writelines(map(lines.rejected_line, rejected_lines))
            after = rejected_lines[-1].file, rejected_lines[-1].offset
    file.writelines(map(lines.rows, export.pages()))
    file.write(lines.last())
    return Exported(lines.requests, lines.rejected_lines, lines.identities)


def write_csv(export: Export, file: BinaryIO) -> Exported:
    """Write CSV."""
    requests = 0
    file.write(_csv_lines([CSV_COLUMNS]))
    for page in export.pages():
        requests += len(page)
        file.write(_csv_lines([_csv_values(row) for row in page]))
    return Exported(requests)


def write_parquet(export: Export, file: BinaryIO) -> Exported:
    """Write Parquet; a row group for each page. Raises `BridgeError` where pyarrow is missing."""
    try:
        arrow, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise BridgeError(
            "export --format parquet: needs pyarrow, which is not installed: pip install 'tailtrace[parquet]'"
        ) from None
    types = {int: arrow.int64(), str: arrow.string(), bool: arrow.bool_()}
    schema = arrow.schema([arrow.field(field.name, types[field.kind]) for field in FIELDS])
    requests = 0
    with parquet.ParquetWriter(file, schema) as writer:
        for page in export.pages():
            requests += len(page)
            columns = zip(*map(values_of, page), strict=True)
            writer.write_table(arrow.table(dict(zip(NAMES, map(list, columns), strict=True)), schema=schema))
    return Exported(requests)


FORMATS: dict[str, Callable[[Export, BinaryIO], Exported]] = {
    "ndjson": write_ndjson,
    "csv": write_csv,
    "parquet": write_parquet,
}


def _csv_lines(lines: Sequence[Sequence[Any]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\r\n").writerows(lines)
    return text.getvalue().encode("utf-8", "backslashreplace")


def _csv_values(row: Row) -> list[Any]:
    values = values_of(row)
    seconds, us = divmod(row.access.time_us, 1_000_000)
    time = datetime.fromtimestamp(seconds, UTC).replace(microsecond=us).isoformat(timespec="microseconds")
    return [
        time,
        *(
            str(value).lower() if isinstance(value, bool) else harmless_cell(value) if isinstance(value, str) else value
            for value in values
        ),
    ]
