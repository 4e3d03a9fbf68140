"""The requests that a page shows, as a file: all that its filters let through, newest first, page by page.

| format | is |
|---|---|
| `json` | an array of what `/analytics/panels/requests` has, a request in a line |
| `csv` | the same columns; RFC 4180, UTF-8; a text that a spreadsheet would take for a formula begins with `'` |
| `parquet` | the same columns, typed, a row group for each page; needs pyarrow |

Columns are those of `LogLine`; tags are one text with commas. The first page is read before the answer begins, so what
the store cannot do is still told with a status.
"""

import csv
import importlib.util
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields
from itertools import chain
from typing import Any, Literal

from fastapi.responses import StreamingResponse

from tailtrace_api.answers.record import fields_of
from tailtrace_api.answers.request_records import LogLine
from tailtrace_api.http.parameters import wrong
from tailtrace_bridge.core.text import harmless_cell

Format = Literal["json", "csv", "parquet"]
Pages = Iterable[Sequence[LogLine]]
COLUMNS = tuple(field.name for field in fields(LogLine))
_MILLISECONDS = frozenset({"response_time_ms", "app_time_ms", "outside_ms"})
_WHOLE = frozenset({"status", "bytes"})
TYPES: dict[Format, str] = {
    "json": "application/json",
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
}


class Download(StreamingResponse):
    """A file of requests."""


def forms() -> list[Format]:
    """Return the formats that a file can have here."""
    return [form for form in TYPES if form != "parquet" or importlib.util.find_spec("pyarrow") is not None]


def download(pages: Pages, form: Format) -> Download:
    """Make the answer. Answers 422 where a format needs what is not installed."""
    rest = iter(pages)
    whole = chain([next(rest, ())], rest)
    headers = {"content-disposition": f'attachment; filename="requests.{form}"', "cache-control": "no-store"}
    return Download(_WRITERS[form](whole), media_type=TYPES[form], headers=headers)


def _json(pages: Pages) -> Iterator[bytes]:
    lead = "[\n"
    for page in pages:
        for line in page:
            yield (lead + json.dumps(fields_of(line), ensure_ascii=False)).encode("utf-8", "backslashreplace")
            lead = ",\n"
    yield b"[]\n" if lead == "[\n" else b"\n]\n"


def _csv(pages: Pages) -> Iterator[bytes]:
    yield _csv_lines([COLUMNS])
    for page in pages:
        yield _csv_lines([[_cell(value) for value in _values(line)] for line in page])


def _csv_lines(lines: Iterable[Sequence[object]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\r\n").writerows(lines)
    return text.getvalue().encode("utf-8", "backslashreplace")


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    return harmless_cell(value) if isinstance(value, str) else value


def _values(line: LogLine) -> list[Any]:
    return [",".join(value) if isinstance(value, tuple) else value for value in fields_of(line).values()]


def _parquet(pages: Pages) -> Iterator[bytes]:
    try:
        arrow, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError:
        said = "parquet needs pyarrow where tailtrace runs: pip install 'tailtrace[parquet]'; or ask for csv or json."
        raise wrong("format", said, "parquet", "missing_package") from None
    return _parquet_pages(pages, arrow, parquet)


def _parquet_pages(pages: Pages, arrow: Any, parquet: Any) -> Iterator[bytes]:
    schema = arrow.schema([arrow.field(name, _type(name, arrow)) for name in COLUMNS])
    sink = _Sink()
    with parquet.ParquetWriter(sink, schema) as writer:
        for page in pages:
            columns = zip(*map(_values, page), strict=True) if page else ([] for _ in COLUMNS)
            writer.write_table(arrow.table(dict(zip(COLUMNS, map(list, columns), strict=True)), schema=schema))
            yield sink.taken()
    yield sink.taken()


def _type(name: str, arrow: Any) -> Any:
    if name in _MILLISECONDS:
        return arrow.float64()
    if name in _WHOLE:
        return arrow.int64()
    return arrow.bool_() if name == "key_expired" else arrow.string()


class _Sink(io.RawIOBase):
    """Takes what is written until somebody takes it away."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._written = 0

    def writable(self) -> bool:
        """Say that it can be written to."""
        return True

    def write(self, data: Any) -> int:
        """Take bytes."""
        size = len(memoryview(data).cast("B"))
        self._held += data
        self._written += size
        return size

    def tell(self) -> int:
        """Return how many bytes were written."""
        return self._written

    def taken(self) -> bytes:
        """Take away what was written since."""
        found = bytes(self._held)
        self._held.clear()
        return found


_WRITERS: dict[Format, Callable[[Pages], Iterator[bytes]]] = {"json": _json, "csv": _csv, "parquet": _parquet}
