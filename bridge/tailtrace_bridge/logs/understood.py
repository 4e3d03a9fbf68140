"""What a log was read as, for a reader's eye: its formats, and some lines of each by field. Pure."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import islice

from tailtrace_bridge.core.records import Access
from tailtrace_bridge.logs.files import Piece, last_of, texts_of
from tailtrace_bridge.logs.format import LogFormat
from tailtrace_bridge.logs.parser import LineParser
from tailtrace_bridge.logs.recognise import SAMPLE_LINES_MAX, AnyFormat, recognise
from tailtrace_bridge.logs.rejected import LINE_LENGTH_MAX
from tailtrace_bridge.logs.wrappers import Unwrapper, unwrap_line

LINES_SHOWN = 3
FIELDS_SHOWN = (
    "time", "address", "method", "path", "status", "bytes", "seconds", "upstream seconds", "service", "user agent"
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class FormatFound:
    """One format, how many of the looked-at lines have it, and some of them by field."""

    name: str
    source: str
    """The format as `--log-format` takes it; of JSON that is read by its keys, words."""
    lines: int
    rows: tuple[dict[str, str], ...]
    has_agent: bool


@dataclass(frozen=True, slots=True)
class Understood:
    """What the first lines of a log are, or lines further on."""

    file: str
    looked_at: int
    formats: tuple[FormatFound, ...] = ()
    unsure: dict[str, int] = field(default_factory=dict)
    """Why lines were not understood, and how many."""
    from_line: int = 1
    """The number of the first line that was looked at."""

    @property
    def is_sure(self) -> bool:
        """Whether any line was understood, and most were."""
        return not self.looked_at or 2 * sum(one.lines for one in self.formats) > self.looked_at


FORMATS_MAX = 24
"""Formats of one log, with those that `LineParser` knows by itself; of further ones each line speaks for itself."""


def understand(parser: LineParser, file: str, lines: Sequence[bytes]) -> tuple[LineParser, Understood]:
    """Find out what a log is from its first lines; returns the parser for the whole of it."""
    unwrapper = Unwrapper()
    bare = [whole for line in lines if (whole := unwrapper.take(line)) is not None] if parser.is_auto else lines
    unsure: dict[str, int] = {}
    if parser.is_auto:
        strange = (
            line.decode("utf-8", "surrogateescape")
            for line in bare
            if not parser.fits(line) and len(line) <= LINE_LENGTH_MAX
        )
        found = recognise(strange, parser.formats)
        parser, unsure = parser.for_formats(found.formats, found.doubtful), found.unsure
    counts: Counter[AnyFormat] = Counter()
    rows: dict[AnyFormat, list[dict[str, str]]] = {}
    for line in bare:
        fmt = parser.format_of(line)
        if fmt is None:
            continue
        counts[fmt] += 1
        shown = rows.setdefault(fmt, [])
        if len(shown) < LINES_SHOWN:
            record = parser.parse(line, file, 0)
            if isinstance(record, Access):
                shown.append(_by_field(record))
    return parser, Understood(
        file,
        len(lines),
        tuple(
            FormatFound(fmt.name, fmt.source, count, tuple(rows[fmt]), _has_agent(fmt))
            for fmt, count in counts.most_common()
        ),
        unsure,
    )


def understand_next(
    parser: LineParser, file: str, piece: Piece, after: Piece | None, number: int
) -> tuple[LineParser, Understood | None]:
    """Find out whether a log goes on in another format, from its next piece, whose first line has this number.

    It does where the configuration of nginx was changed, or logs were put together. No line but the last is looked at,
    as long as that is of a format that is known; what comes `after` the piece is evidence, too.
    """
    if not parser.is_auto or len(parser.formats) >= FORMATS_MAX or parser.fits(_bare(last_of(piece))):
        return parser, None
    strange = [(at, line) for at, line in enumerate(texts_of(piece), start=number) if not parser.fits(_bare(line))]
    sample = [line for _, line in strange[-SAMPLE_LINES_MAX // 2 :]]
    more = texts_of(after) if after is not None else []
    sample += islice((line for line in more if not parser.fits(_bare(line))), SAMPLE_LINES_MAX - len(sample))
    learned, found = understand(parser, file, sample)
    if len(learned.formats) == len(parser.formats):
        return parser, None
    return learned, replace(found, unsure={}, from_line=strange[0][0])  # what is rejected is told line by line


def _bare(line: bytes) -> bytes:
    return unwrap_line(line) or line


def _has_agent(fmt: AnyFormat) -> bool:
    return not isinstance(fmt, LogFormat) or "http_user_agent" in fmt.names


def _by_field(record: Access) -> dict[str, str]:
    time = datetime.fromtimestamp(record.time_us / 1e6, UTC).isoformat(timespec="milliseconds")
    values = (
        time.replace("+00:00", "Z"),
        record.address,
        record.method,
        record.path,
        str(record.status),
        str(record.bytes_sent),
        _seconds(record.request_time_us),
        _seconds(record.upstream_time_us),
        record.service,
        record.user_agent,
    )
    return dict(zip(FIELDS_SHOWN, values, strict=True))


def _seconds(time_us: int | None) -> str:
    return "" if time_us is None else f"{time_us / 1e6:.3f}"
