"""Whole logs into the store: the history that was there before tailtrace. Importing a log again changes nothing.

Two halves, with chunks between them: `read_chunks` reads, parses and enriches, `store_chunks` stores. A small import
runs both in turns; for a large one `import_worker` runs the first half in a process of its own.

Of `auto`, the first lines of each log say which formats it has (`logs.recognise`); they are kept until then, so that no
file is read twice and standard input can be one. Where a piece of the log ends in a line that has none of them, it is
looked at before it is read. What was understood is in the chunk that begins so.

The last line of a plain file is no line before its newline is there: it is left out and told; the same log imported
later has it. Only where the file has not been written for a day, and the line is whole by the format of the others, it
is taken.

A file that begins as an export of ours does is read by `export_format`, whatever the log format is said to be.

A file that cannot be read to its end is reported after what could be read is stored.
"""

import gc
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import tzinfo
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tailtrace_bridge.core.columns import Columns, columns_of
from tailtrace_bridge.core.errors import LogFileError
from tailtrace_bridge.core.records import RejectedLine, Row
from tailtrace_bridge.identity.chain import Found, Identities, IdentityProvider
from tailtrace_bridge.identity.proxies import Proxies
from tailtrace_bridge.identity.pseudonyms import Pseudonyms
from tailtrace_bridge.identity.sockets import DEFAULT
from tailtrace_bridge.identity.static_file import IdentityFile
from tailtrace_bridge.logs.block import BlockReader
from tailtrace_bridge.logs.files import Piece, lines_of, read_pieces, texts_of, with_next
from tailtrace_bridge.logs.parser import LineParser, make_parser, make_parser_of
from tailtrace_bridge.logs.recognise import SAMPLE_LINES_MAX
from tailtrace_bridge.logs.rejected import reject
from tailtrace_bridge.logs.understood import Understood, understand, understand_next
from tailtrace_bridge.rows.enricher import Enricher
from tailtrace_bridge.rows.routes import Routes
from tailtrace_bridge.store.protocol import Store
from tailtrace_bridge.store.tally import Tally
from tailtrace_bridge.store.values import DAY_US, Window, may_fail
from tailtrace_bridge.transfer.format import ExportReader, is_export

if TYPE_CHECKING:  # what asks Tailscale is loaded only where it is asked
    from tailtrace_bridge.identity.control.devices import DeviceIndex

PLACES_MAX = 100_000
"""Rejected lines of a log, above which those of an earlier import are not told from those of this one."""
SAMPLE_BYTES_MAX = 8 * 1024 * 1024
BATCH_ROWS = 10_000
"""Lines of a chunk: it bounds the memory, and is stored in one transaction."""
BATCH_BYTES = 1536 * 1024
"""Bytes of them: long lines, which may all be different, make smaller chunks."""
FIRST_BATCH_ROWS = 1_000
"""A log begins with a small chunk, and each is twice the last: until the first is there, the store has no work."""
HELD_US = DAY_US
"""A log is of the past: who has an address now is asked once, however long the import takes."""


@dataclass(slots=True)
class Imported:
    """What became of the lines: lines = stored + duplicate + rejected."""

    lines: int = 0
    stored: int = 0
    duplicate: int = 0
    rejected: int = 0
    rejected_by_reason: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    """Files that could not be read, or not to their end."""
    first_rejected: dict[str, RejectedLine] = field(default_factory=dict, compare=False)
    """An example of each reason; the store's own rejected lines have none."""
    first_rejected_line: dict[str, int] = field(default_factory=dict, compare=False)
    """The number of that line in its file, from 1."""
    notes: list[str] = field(default_factory=list, compare=False)
    """What was left out on purpose."""
    understood: list[Understood] = field(default_factory=list, compare=False)
    """What each log was read as."""
    spans_exported: int = field(default=0, compare=False)
    failed_within: Window | None = field(default=None, compare=False)
    """A time that holds all requests that may have failed; None: none did."""


class Chunk(NamedTuple):
    """What comes of the next lines of a log."""

    columns: Columns
    rejected_lines: list[RejectedLine]
    read_bytes: int
    """Bytes of the file that were read for it: compressed ones, where it is."""
    problem: str
    """Why the log ends here too early, or empty."""
    numbers: dict[str, int] = {}  # noqa: RUF012 - never changed
    """By reason, the number of the first line of the log that was rejected for it, from 1."""
    note: str = ""
    """What was left out of the log on purpose, or empty."""
    understood: Sequence[Understood] = ()
    """In the first chunk of a log: what it is read as. In another: what its lines are read as from there on, too."""
    settled: tuple[str, tuple[int, ...]] | None = None
    """In the last chunk of a log that was read to its end: its name, and the places of all that was rejected."""
    counted: Tally | None = None
    """The tally of `columns`, where there was time to make it; else the store does."""
    rows: Sequence[Row] = ()
    """Of a log, where somebody wants them beside the columns."""


@dataclass(frozen=True, slots=True)
class ImportJob:
    """What is to be read, and how.

    An old line is named by the file, or by who was seen to have its address then: `history` is what a bridge has seen,
    and today's holder, by the snapshot and the device index, is one look more, as `identity.history` says.
    """

    paths: tuple[Path, ...]
    log_format: str
    zone: tzinfo
    identities: Path | None
    routes: Routes
    health_paths: frozenset[str]
    tailscale_socket: Path | None = None
    """Where to ask for a snapshot; None: nowhere."""
    devices: "DeviceIndex | None" = None
    serve: tuple[str, ...] = ()
    """The proxies whose serve headers are believed."""
    has_serve: bool = False
    trust_loopback: bool = False
    pseudonyms_key: str = ""
    """Empty: names are stored."""
    history: Path | None = None
    """The history of the bridge with the same checkpoint; it is only read."""
    formats: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Log and `log_format`s of logs whose formats nginx.conf says."""
    recalled: tuple[Sequence[str], Sequence[tuple[str, str]], Sequence[str]] = ((), (), ())
    """The endpoints that the store has already, the (service, route) of those that apps told, and the services."""
    static_paths: tuple[str, ...] = ()

    def chunks(self, *, with_rows: bool = False) -> Iterator[Chunk]:
        """Read it, in this process. Raises `FormatError` and `IdentityError` before the first chunk."""
        from tailtrace_bridge.identity.history import History  # noqa: PLC0415
        from tailtrace_bridge.identity.history_file import read  # noqa: PLC0415

        pseudonyms = Pseudonyms(self.pseudonyms_key) if self.pseudonyms_key else None
        history = History(pseudonyms=pseudonyms)
        if self.history is not None:
            history.restore(*read(self.history))
        providers: list[IdentityProvider] = []
        held: dict[str, Found] = {}
        if self.tailscale_socket is not None:
            from tailtrace_bridge.identity.local_api import LocalApi  # noqa: PLC0415
            from tailtrace_bridge.identity.snapshot import Snapshot  # noqa: PLC0415

            local_api = LocalApi(str(self.tailscale_socket), clock=_monotonic_us)
            snapshot = Snapshot(local_api, clock=_monotonic_us, has_serve=self.has_serve)
            providers.append(snapshot)
            held = snapshot.held()
        if self.devices is not None:
            providers.append(self.devices)
            held = held or self.devices.held()
        if held:
            history.observe(held, _wall_us())
        if self.identities is not None:
            providers.append(IdentityFile(self.identities, clock=_monotonic_us))
        if self.tailscale_socket is not None or self.has_serve:
            from tailtrace_bridge.identity.local_api import LocalApi  # noqa: PLC0415
            from tailtrace_bridge.identity.near import Near, make_loopback  # noqa: PLC0415

            socket = str(self.tailscale_socket or DEFAULT)
            loopback = make_loopback(socket, _monotonic_us, is_trusted=self.trust_loopback)
            serves = LocalApi(socket, clock=_monotonic_us).serves_loopback
            providers.append(Near(loopback.look, serves, has_serve=self.has_serve))
        identities = Identities(
            providers,
            clock=_monotonic_us,
            wall=_wall_us,
            history=history,
            ttl_us=HELD_US,
            watched_ttl_us=HELD_US,
            not_found_ttl_us=HELD_US,
        )
        enricher = Enricher(
            identities.holder,
            self.routes,
            self.health_paths,
            static_paths=self.static_paths,
            serve=Proxies(self.serve),
            pseudonyms=pseudonyms,
        )
        enricher.recall(*self.recalled)
        known = {path: make_parser_of(texts, self.zone) for path, texts in self.formats}
        return read_chunks(
            self.paths,
            lambda: make_parser(self.log_format, self.zone),
            enricher,
            parser_of=lambda path: known.get(str(path)),
            with_rows=with_rows,
        )


def import_logs(
    paths: Sequence[Path],
    *,
    make_parser: Callable[[], LineParser],
    enricher: Enricher,
    store: Store,
    on_bytes: Callable[[int], None] | None = None,
) -> Imported:
    """Import every line of `paths`. `on_bytes` is told how many bytes of the files were read."""
    return store_chunks(read_chunks(paths, make_parser, enricher), store, on_bytes)


def store_chunks(
    chunks: Iterable[Chunk],
    store: Store,
    on_bytes: Callable[[int], None] | None = None,
    on_stored: Callable[[Sequence[Row]], None] = lambda _: None,
) -> Imported:
    """Store what `read_chunks` gives, and count it. `on_stored` gets the rows of a chunk that has them."""
    total = Imported()
    with no_cycle_search():
        for columns, rejected_lines, read_bytes, problem, numbers, note, understood, settled, counted, rows in chunks:
            written = store.write_columns(columns, rejected_lines, counted)
            on_stored(rows)
            total.failed_within = _with_failed(total.failed_within, columns)
            total.lines += len(columns.key) + len(rejected_lines)
            total.stored += written.stored
            total.duplicate += written.duplicate
            total.rejected += len(rejected_lines) + written.rejected
            if written.rejected:
                total.rejected_by_reason["store"] = total.rejected_by_reason.get("store", 0) + written.rejected
            for one in rejected_lines:
                total.rejected_by_reason[one.reason] = total.rejected_by_reason.get(one.reason, 0) + 1
                if one.reason not in total.first_rejected:
                    total.first_rejected[one.reason] = one
                    total.first_rejected_line[one.reason] = numbers.get(one.reason, 0)
            if note:
                total.notes.append(note)
            total.understood += understood
            if settled is not None:
                store.settle_rejected(*settled)
            if problem:
                total.problems.append(problem)
            if on_bytes is not None:
                on_bytes(read_bytes)
    return total


def _with_failed(known: Window | None, columns: Columns) -> Window | None:
    if not columns.time_us or not any(may_fail(one.status) for one in columns.requests):
        return known
    start_us, end_us = min(columns.time_us), max(columns.time_us) + 1
    return (
        Window(start_us, end_us) if known is None else Window(min(known.start_us, start_us), max(known.end_us, end_us))
    )


def read_chunks(
    paths: Sequence[Path],
    make_parser: Callable[[], LineParser],
    enricher: Enricher,
    *,
    parser_of: Callable[[Path], LineParser | None] = lambda _: None,
    clock_s: Callable[[], float] = time.time,
    with_rows: bool = False,
) -> Iterator[Chunk]:
    """Return every line of `paths`, about `BATCH_ROWS` in a chunk; a log's last chunk says how the log ended.

    `parser_of` has the parser of a log whose format is known otherwise.
    """
    for path in paths:
        yield from _LogReader(path, parser_of(path) or make_parser(), enricher, with_rows).chunks(clock_s())


class _LogReader:
    """Reads one log, or one export."""

    def __init__(self, path: Path, parser: LineParser, enricher: Enricher, with_rows: bool) -> None:
        # Only the offset and the content name a line, so that a log's key is the same under its next name.
        self._path, self._name = path, str(path)
        self._parser, self._enricher = parser, enricher
        self._with_rows = with_rows
        self._lines: BlockReader | _ExportLines
        self._folded_before = enricher.folded
        self._services_before = enricher.services_over_limit
        self._read_bytes: list[int] = []
        self._numbers: dict[str, int] = {}
        self._cut: list[tuple[bytes, int, int, bool]] = []
        self._places: list[int] = []
        """Of the lines that were rejected."""
        self._understood: list[Understood] = []
        self._formats: set[str] = set()
        """All that were understood."""

    def chunks(self, now_s: float) -> Iterator[Chunk]:
        """Return its lines."""
        problem = ""
        self._lines = BlockReader(self._parser, self._name)
        rows_max = min(FIRST_BATCH_ROWS, BATCH_ROWS)
        read = read_pieces(
            self._path, on_bytes=self._read_bytes.append, on_cut=lambda *cut: self._cut.append(cut), now_s=now_s
        )
        try:
            pieces, first, failed = first_pieces(read)
            if first and is_export(first[0]):
                self._lines = _ExportLines(self._name, self._enricher)
            elif first:
                self._parser, found = understand(self._parser, self._name, first)
                self._note_understood(found)
                self._lines = BlockReader(self._parser, self._name)
            size = 0
            for piece, after in with_next(chain(pieces, read)):
                self._look_again(piece, after)
                self._lines.read(piece)
                size += len(piece.block) or sum(len(line) for line, _ in piece.lines)
                if max(len(self._lines.lines), len(self._lines.rejected)) >= rows_max or size >= BATCH_BYTES:
                    yield self._chunk("")
                    rows_max, size = min(2 * rows_max, BATCH_ROWS), 0
            if self._cut and not self._cut[0][-1]:
                self._read_cut()
            if failed is not None:
                raise failed
        except LogFileError as error:
            problem = str(error)
        if isinstance(self._lines, _ExportLines):
            yield self._chunk(problem or self._lines.export.problem(self._name))
            return
        last = self._chunk(problem)
        # What was rejected of this log before, and is not now, was stored.
        is_settled = not problem and len(self._places) <= PLACES_MAX
        yield last._replace(note=self._note(), settled=(self._name, tuple(self._places)) if is_settled else None)

    def _note_understood(self, found: Understood) -> None:
        self._understood.append(found)
        self._formats |= {one.source for one in found.formats}

    def _look_again(self, piece: Piece, after: Piece | None) -> None:
        """Find out whether the log goes on in another format than it had so far."""
        if not isinstance(self._lines, BlockReader):
            return
        self._parser, found = understand_next(self._parser, self._name, piece, after, self._lines.count + 1)
        if found is not None:
            self._note_understood(found)
            self._lines.read_on(self._parser)

    def _read_cut(self) -> None:
        """Read the last line, which has no newline, of a file that grows no more: it is whole, or rejected."""
        line, offset, seed, _ = self._cut.pop()
        if isinstance(self._lines, BlockReader) and is_shortened(line, self._parser, self._formats):
            self._lines.rejected.append((reject("cut", line, self._name, offset), self._lines.count))
            self._lines.count += 1
        else:
            self._lines.read_lines([(line, offset)], seed)

    def _chunk(self, problem: str) -> Chunk:
        rejected, self._lines.rejected = self._lines.rejected, []
        for one, number in rejected:
            self._numbers.setdefault(one.reason, number + 1)
            if len(self._places) <= PLACES_MAX:
                self._places.append(one.offset)
        read_bytes, understood = sum(self._read_bytes), self._understood
        self._read_bytes.clear()
        self._understood = []
        rows: list[Row] = []
        if isinstance(self._lines, _ExportLines):
            columns = self._lines.columns()
        elif self._with_rows:
            rows = [self._enricher.row(access) for access in self._lines.take().accesses()]
            columns = columns_of(rows)
        else:
            columns = self._enricher.lines(self._lines.take())
        rejected_lines = [self._enricher.rejected_line(one) for one, _ in rejected]
        return Chunk(
            columns,
            rejected_lines,
            read_bytes,
            problem,
            dict(self._numbers),
            "",
            understood,
            None,
            None,
            rows,
        )

    def _note(self) -> str:
        notes = [self._cut_note()] if self._cut else []
        if self._parser.has_begun:
            notes.append(
                f"{self._name}: the last line comes in parts, and the last of them is not there, so it is not whole; "
                "import the log again when it is, and it counts once"
            )
        if folded := self._enricher.folded - self._folded_before:
            notes.append(
                f"{self._name}: {folded} requests count under __other__, since more endpoints or cards came than are "
                "kept apart (docs/definitions.md); with TAILTRACE_OPENAPI the app's own routes are known"
            )
        if services := self._enricher.services_over_limit - self._services_before:
            notes.append(
                f"{self._name}: {services} requests are of the service __other__, since more hosts came than are kept "
                "apart (docs/definitions.md): clients choose $host; $server_name is one of nginx's"
            )
        return "; ".join(notes)

    def _cut_note(self) -> str:
        return (
            f"{self._name}: the last line has no newline yet ({len(self._cut[0][0])} bytes), so it is not whole; "
            "import the log again when nginx has written on, and it counts once"
        )


class _ExportLines:
    """Reads the lines of an export, as `BlockReader` those of a log."""

    def __init__(self, file: str, enricher: Enricher) -> None:
        self.export = ExportReader()
        self.lines: list[Any] = []
        self.rejected: list[tuple[RejectedLine, int]] = []
        self._file, self._count = file, 0
        self._make = enricher.moved(self.export.columns)

    def read(self, piece: Piece) -> None:
        """Read the next piece of the file."""
        self.read_lines(piece.lines or lines_of(piece.block, piece.offset), piece.seed)

    def read_lines(self, lines: Sequence[tuple[bytes, int]], seed: int) -> None:
        """Read lines, each with its offset."""
        for line, offset in lines:
            record = self.export.parse(line, self._file, offset, seed)
            if isinstance(record, RejectedLine):
                self.rejected.append((record, self._count))
            elif record is not None:
                self.lines.append(record)
            self._count += 1

    def columns(self) -> Columns:
        """Return what was read since the last time."""
        lines, self.lines = self.lines, []
        return self._make(lines)


def is_shortened(line: bytes, parser: LineParser, formats: set[str]) -> bool:
    """Return whether a log's last line, which was cut, fits a shorter format than those of its log.

    Such a line ends in what may be half a number.
    """
    fmt = parser.format_of(line)
    return fmt is not None and bool(formats) and fmt.source not in formats


def first_pieces(read: Iterator[Piece]) -> tuple[list[Piece], list[bytes], LogFileError | None]:
    """Take the first pieces of a log, its first lines, and what ended it among them."""
    pieces: list[Piece] = []
    first: list[bytes] = []
    size = 0
    try:
        for piece in read:
            pieces.append(piece)
            for line in texts_of(piece):
                if len(first) < SAMPLE_LINES_MAX and size < SAMPLE_BYTES_MAX:
                    first.append(line)
                    size += len(line)
            if len(first) >= SAMPLE_LINES_MAX or size >= SAMPLE_BYTES_MAX:
                break
    except LogFileError as error:
        return pieces, first, error
    return pieces, first, None


@contextmanager
def no_cycle_search() -> Iterator[None]:
    """Spare the collector its walks over each batch: records hold no cycles."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _monotonic_us() -> int:
    return time.monotonic_ns() // 1000


def _wall_us() -> int:
    return time.time_ns() // 1000
