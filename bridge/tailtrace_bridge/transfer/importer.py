"""Whole logs into the store: the history that was there before tailtrace. Importing a log again changes nothing.

Two halves, with chunks between them: `read_chunks` reads, parses and enriches, `store_chunks` stores. A small import
runs both in turns; for a large one `import_worker` runs the first half in a process of its own.

Of `auto`, the first lines of each log say which formats it has (`logs.recognise`); they are kept until then, so that no
file is read twice and standard input can be one. What was understood is in the log's first chunk.

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

from tailtrace_bridge.core.columns import Columns
from tailtrace_bridge.core.errors import LogFileError
from tailtrace_bridge.core.records import RejectedLine
from tailtrace_bridge.identity.chain import Found, Identities, IdentityProvider
from tailtrace_bridge.identity.proxies import Proxies
from tailtrace_bridge.identity.pseudonyms import Pseudonyms
from tailtrace_bridge.identity.sockets import DEFAULT
from tailtrace_bridge.identity.static_file import IdentityFile
from tailtrace_bridge.logs.files import read_lines
from tailtrace_bridge.logs.parser import LineParser, make_parser
from tailtrace_bridge.logs.recognise import SAMPLE_LINES_MAX
from tailtrace_bridge.logs.understood import Understood, understand
from tailtrace_bridge.rows.enricher import Enricher
from tailtrace_bridge.rows.routes import Routes
from tailtrace_bridge.store.protocol import Store
from tailtrace_bridge.transfer.format import ExportReader, is_export

if TYPE_CHECKING:  # what asks Tailscale is loaded only where it is asked
    from tailtrace_bridge.identity.control.devices import DeviceIndex

PLACES_MAX = 100_000
"""Refused lines of a log, above which those of an earlier import are not told from those of this one."""
SAMPLE_BYTES_MAX = 8 * 1024 * 1024
BATCH_ROWS = 5_000
"""Lines of a chunk: it bounds the memory, and is stored in one transaction."""
FIRST_BATCH_ROWS = 1_000
"""A log begins with a small chunk, and each is twice the last: until the first is there, the store has no work."""


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
    first_refused: dict[str, RejectedLine] = field(default_factory=dict, compare=False)
    """An example of each reason; the store's own refusals have none."""
    first_refused_line: dict[str, int] = field(default_factory=dict, compare=False)
    """The number of that line in its file, from 1."""
    notes: list[str] = field(default_factory=list, compare=False)
    """What was left out on purpose."""
    understood: list[Understood] = field(default_factory=list, compare=False)
    """What each log was read as."""


class Chunk(NamedTuple):
    """What comes of the next lines of a log."""

    columns: Columns
    refusals: list[RejectedLine]
    read_bytes: int
    """Bytes of the file that were read for it: compressed ones, where it is."""
    problem: str
    """Why the log ends here too early, or empty."""
    numbers: dict[str, int] = {}  # noqa: RUF012 - never changed
    """By reason, the number of the first line of the log that was refused for it, from 1."""
    note: str = ""
    """What was left out of the log on purpose, or empty."""
    understood: Understood | None = None
    """In the first chunk of a log: what it is read as."""
    settled: tuple[str, tuple[int, ...]] | None = None
    """In the last chunk of a log that was read to its end: its name, and the places of all that was refused."""


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
    formats: tuple[tuple[str, str], ...] = ()
    """Log and `log_format` of logs whose format nginx.conf says."""
    endpoints: tuple[str, ...] = ()
    """Those that the store has already."""

    def chunks(self) -> Iterator[Chunk]:
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
        identities = Identities(providers, clock=_monotonic_us, wall=_wall_us, history=history)
        enricher = Enricher(
            identities.holder,
            self.routes,
            self.health_paths,
            serve=Proxies(self.serve),
            pseudonyms=pseudonyms,
        )
        enricher.recall(self.endpoints)
        known = {path: make_parser(text, self.zone) for path, text in self.formats}
        return read_chunks(
            self.paths,
            lambda: make_parser(self.log_format, self.zone),
            enricher,
            parser_of=lambda path: known.get(str(path)),
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


def store_chunks(chunks: Iterable[Chunk], store: Store, on_bytes: Callable[[int], None] | None = None) -> Imported:
    """Store what `read_chunks` gives, and count it."""
    total = Imported()
    with no_cycle_search():
        for columns, refusals, read_bytes, problem, numbers, note, understood, settled in chunks:
            written = store.write_columns(columns, refusals)
            total.lines += len(columns.key) + len(refusals)
            total.stored += written.stored
            total.duplicate += written.duplicate
            total.refused += len(refusals) + written.refused
            if written.refused:
                total.refused_by_reason["store"] = total.refused_by_reason.get("store", 0) + written.refused
            for refusal in refusals:
                total.refused_by_reason[refusal.reason] = total.refused_by_reason.get(refusal.reason, 0) + 1
                if refusal.reason not in total.first_refused:
                    total.first_refused[refusal.reason] = refusal
                    total.first_refused_line[refusal.reason] = numbers.get(refusal.reason, 0)
            if note:
                total.notes.append(note)
            if understood is not None:
                total.understood.append(understood)
            if settled is not None:
                store.settle_refusals(*settled)
            if problem:
                total.problems.append(problem)
            if on_bytes is not None:
                on_bytes(read_bytes)
    return total


def read_chunks(  # noqa: C901, PLR0915 - a story
    paths: Sequence[Path],
    make_parser: Callable[[], LineParser],
    enricher: Enricher,
    *,
    parser_of: Callable[[Path], LineParser | None] = lambda _: None,
    clock_s: Callable[[], float] = time.time,
) -> Iterator[Chunk]:
    """Return every line of `paths`, at most `BATCH_ROWS` in a chunk; a log's last chunk says how the log ended.

    `parser_of` has the parser of a log whose format is known otherwise.
    """
    for path in paths:
        # Only the offset and the content name a line, so that a log's key is the same under its next name.
        name = str(path)
        parser = parser_of(path) or make_parser()
        parse: Callable[[bytes, str, int, int], Any] = parser.parse
        columns: Callable[[list[Any]], Columns] = enricher.columns
        export: ExportReader | None = None
        records: list[Any] = []  # `Access`, or what an export holds
        refusals: list[RejectedLine] = []
        read_bytes: list[int] = []
        numbers: dict[str, int] = {}
        cut: list[tuple[bytes, int, int, bool]] = []
        places: list[int] = []
        problem = ""
        understood: Understood | None = None
        formats: set[str] = set()
        rows_max = min(FIRST_BATCH_ROWS, BATCH_ROWS)
        try:
            read = read_lines(
                path, on_bytes=read_bytes.append, on_cut=lambda *one, cut=cut: cut.append(one), now_s=clock_s()
            )
            first, failed = _sample(read)
            if first and is_export(first[0][0]):
                export = ExportReader()
                parse, columns = export.parse, enricher.moved(export.columns)
            elif first:
                parser, understood = understand(parser, name, [line for line, _, _ in first])
                parse, formats = parser.parse, {one.source for one in understood.formats}
            for number, (line, offset, seed) in enumerate(chain(first, read), start=1):
                record = parse(line, name, offset, seed)
                if isinstance(record, RejectedLine):
                    numbers.setdefault(record.reason, number)
                    if len(places) <= PLACES_MAX:
                        places.append(record.offset)
                    refusals.append(enricher.refusal(record))
                elif record is not None:
                    records.append(record)
                if len(records) >= rows_max or len(refusals) >= rows_max:
                    yield Chunk(columns(records), refusals, sum(read_bytes), "", dict(numbers), "", understood)
                    records, refusals, understood = [], [], None
                    read_bytes.clear()
                    rows_max = min(2 * rows_max, BATCH_ROWS)
            if cut and is_whole(cut[0], parser, formats):
                record = parse(cut[0][0], name, cut[0][1], cut[0][2])
                (refusals if isinstance(record, RejectedLine) else records).append(record)
                cut.clear()
            if failed is not None:
                raise failed
        except LogFileError as error:
            problem = str(error)
        if export is not None and not problem:
            problem = export.problem(name)
        note = (
            f"{name}: the last line has no newline yet ({len(cut[0][0])} bytes), so it is not whole; import the log "
            "again when nginx has written on, and it counts once"
            if cut
            else ""
        )
        # What was refused of this log before, and is not now, was stored.
        settled = None if problem or export is not None or len(places) > PLACES_MAX else (name, tuple(places))
        yield Chunk(columns(records), refusals, sum(read_bytes), problem, numbers, note, understood, settled)


def is_whole(cut: tuple[bytes, int, int, bool], parser: LineParser, formats: set[str]) -> bool:
    """Say whether the last line of a file counts though its newline is missing."""
    line, _, _, grows = cut
    if grows or is_export(line):
        return not grows
    fmt = parser.format_of(line)
    return fmt is not None and (not formats or fmt.source in formats)


def _sample(read: Iterator[tuple[bytes, int, int]]) -> tuple[list[tuple[bytes, int, int]], LogFileError | None]:
    """Take the first lines of a log, and what ended it among them."""
    first: list[tuple[bytes, int, int]] = []
    size = 0
    try:
        for one in read:
            first.append(one)
            size += len(one[0])
            if len(first) >= SAMPLE_LINES_MAX or size >= SAMPLE_BYTES_MAX:
                break
    except LogFileError as error:
        return first, error
    return first, None


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
