"""Lines of an access log in, records or rejected lines out. Pure: bytes in, no clock, no file.

What becomes of a line:

| the line | becomes |
|---|---|
| fits a format, has an address and a time | an `Access` |
| fits, but the request line is not HTTP (TLS to a plain port, a scanner) | an `Access` with method `_OTHER` |
| longer than `LINE_LENGTH_MAX` | a `RejectedLine`: too-long |
| fits no format | a `RejectedLine`: no-format |
| fits, but its time, address or a number cannot be read | a `RejectedLine`: bad-time, bad-address, bad-number |
| fits, but a value holds the beginning of another line: two were glued | a `RejectedLine`: second-request |
| of `auto`: it ends where the log's other lines go on | a `RejectedLine`: cut |
| empty | a `RejectedLine`: empty |

`auto` reads what `recognise` made out of the first lines of the log, and any other line that it can tell by itself.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, tzinfo

from tailtrace_bridge.core.records import Access, RejectedLine
from tailtrace_bridge.logs.block_format import BlockFormat, block_format
from tailtrace_bridge.logs.extractor import KEY_MASK, can_read, extractor_of
from tailtrace_bridge.logs.format import TAILTRACE_FORMAT, TAILTRACE_FORMATS_BEFORE, LogFormat, compile_format
from tailtrace_bridge.logs.known_formats import KNOWN_FORMATS
from tailtrace_bridge.logs.packed import BYTE_ORDER_MARK
from tailtrace_bridge.logs.recognise import AnyFormat, Shape, holds_two, is_beginning, recognise_line
from tailtrace_bridge.logs.rejected import LINE_LENGTH_MAX, SampleBudget, UnreadableError, reject
from tailtrace_bridge.logs.wrappers import Unwrapper, unwrap, unwrap_line


class LineParser:
    """Parses the lines of a log.

    `formats` are tried in order, the one that fitted last first: no line may fit two of them with different results.
    `zone` is the zone of times that name none; where the clock went back, such a time is the earlier of the two.
    `by_itself` says of a line that fits none of them which format it has, from the line alone; None: it is rejected.
    Lines of a `doubtful` shape it is not asked about.
    `unwrapper` takes a line that fits none out of what was put around it.
    """

    def __init__(
        self,
        formats: Sequence[AnyFormat],
        zone: tzinfo = UTC,
        by_itself: "Callable[[str, frozenset[Shape]], AnyFormat | None] | None" = None,
        unwrapper: Unwrapper | None = None,
        doubtful: frozenset[Shape] = frozenset(),
    ) -> None:
        self.formats = tuple(formats)
        self._zone = zone
        self._by_itself = by_itself
        self._unwrapper = unwrapper
        self._doubtful = doubtful
        self._wrapped = False
        self._samples = SampleBudget()
        self._extractors = [extractor_of(fmt, zone) for fmt in formats]

    @property
    def is_auto(self) -> bool:
        """Whether it finds the formats out from the lines."""
        return self._by_itself is not None

    @property
    def has_begun(self) -> bool:
        """Whether a part of a line was parsed, and not its rest."""
        return self._unwrapper is not None and self._unwrapper.has_begun

    @property
    def block_format(self) -> BlockFormat | None:
        """What reads whole blocks of lines of the format that fitted last; None: they are read one by one."""
        fmt = self._extractors[0].format
        return block_format(fmt) if isinstance(fmt, LogFormat) and not self._wrapped else None

    def for_formats(self, formats: "Sequence[AnyFormat]", doubtful: frozenset[Shape] = frozenset()) -> "LineParser":
        """Return a parser that knows `formats` beside those of this one, and what is `doubtful`."""
        known = {fmt.source for fmt in self.formats}
        new = [fmt for fmt in formats if fmt.source not in known]
        doubtful |= self._doubtful
        learned = LineParser([*self.formats, *new], self._zone, self._by_itself, self._unwrapper, doubtful)
        learned._wrapped = self._wrapped
        return learned

    def fits(self, line: bytes) -> bool:
        """Whether a line has one of `formats`."""
        text = line.decode("utf-8", "surrogateescape")
        return any(extractor.fullmatch(text) for extractor in self._extractors)

    def parse(self, line: bytes, file: str, offset: int, seed: int = 0) -> Access | RejectedLine | None:
        """Return the record of `line` (without its newline), or why there is none.

        None: it is a part of a line, as a container's runtime cuts long ones; the next parse of its rest has all of it.

        `seed` names the log that the line stands in (`tail.fingerprint`); it tells equal lines of one log apart.
        """
        if len(line) > LINE_LENGTH_MAX:
            return self._reject("too-long", line, file, offset)
        if line.startswith(BYTE_ORDER_MARK):  # of logs that were put together, each has its own
            line = line.lstrip(BYTE_ORDER_MARK)
        if self._wrapped and self._unwrapper is not None:
            whole = self._unwrapper.take(line)
            if whole is None:
                return None
            line = whole
            if len(line) > LINE_LENGTH_MAX:
                return self._reject("too-long", line, file, offset)
        text = line.decode("utf-8", "surrogateescape")
        extractor = self._extractors[0]
        match = extractor.fullmatch(text)
        if match is not None:
            try:
                return extractor.extract(match, line, (seed + offset) & KEY_MASK)
            except UnreadableError as unreadable:
                reason = str(unreadable)
        else:
            reason = ""
        return self._parse_otherwise(text, line, file, offset, seed, reason)

    def format_of(self, line: bytes) -> "AnyFormat | None":
        """Return the format that a line is read by; None: it is rejected. It changes nothing that `parse` does."""
        if len(line) > LINE_LENGTH_MAX:
            return None
        inside = unwrap_line(line) if self._unwrapper is not None else None
        for inner in (line,) if inside is None else (inside, line):
            text = inner.decode("utf-8", "surrogateescape")
            for extractor in self._extractors:
                match = extractor.fullmatch(text)
                if match is not None and can_read(extractor, match, inner):
                    return extractor.format
            found = self._by_itself(text, self._doubtful) if self._by_itself is not None else None
            if found is not None and not is_beginning(found, self.formats):
                extractor = extractor_of(found, self._zone)
                match = extractor.fullmatch(text)
                if match is not None and can_read(extractor, match, inner):
                    return found
        return None

    def _parse_otherwise(
        self, text: str, line: bytes, file: str, offset: int, seed: int, reason: str
    ) -> Access | RejectedLine | None:
        """Try the other formats, then what the line says by itself, then what is wrapped in it."""
        for index, extractor in enumerate(self._extractors[1:], start=1):
            match = extractor.fullmatch(text)
            if match is None:
                continue
            try:
                record = extractor.extract(match, line, (seed + offset) & KEY_MASK)
            except UnreadableError as unreadable:
                reason = reason or str(unreadable)
                continue
            self._extractors.insert(0, self._extractors.pop(index))
            return record
        if not text.strip():
            return self._reject("empty", line, file, offset)
        inside = unwrap(line) if self._unwrapper is not None and not self._wrapped else None
        if inside is not None and (inside.goes_on or self.format_of(inside.text) is not None):
            # The next lines are so too, then. Who wraps a line may say by keys what it found in it, and less.
            self._wrapped = True
            return self.parse(line, file, offset, seed)
        if self._by_itself is not None and (found := self._by_itself(text, self._doubtful)) is not None:
            try:
                return self._extract(found, text, line, (seed + offset) & KEY_MASK)
            except UnreadableError as unreadable:
                reason = reason or str(unreadable)
        if inside is not None:
            return self.parse(inside.text, file, offset, seed)
        two = self.is_auto and reason in {"", "no-format"} and holds_two(text)
        return self._reject("second-request" if two else reason or "no-format", line, file, offset)

    def _extract(self, fmt: AnyFormat, text: str, line: bytes, place: int) -> Access:
        """Read a line by what it says of itself. Raises `UnreadableError`."""
        extractor = extractor_of(fmt, self._zone)
        match = extractor.fullmatch(text)
        if match is None or is_beginning(fmt, self.formats):
            raise UnreadableError("cut" if match else "no-format")
        return extractor.extract(match, line, place)

    def _reject(self, reason: str, line: bytes, file: str, offset: int) -> RejectedLine:
        if self._samples.has_room(offset):
            return reject(reason, line, file, offset)
        return RejectedLine(reason, file, offset, "")


def make_parser(log_format: str = "auto", zone: tzinfo = UTC) -> LineParser:
    """Make a parser for `auto` (see the head of this file), a format's name, or a `log_format` string.

    Raises `FormatError` for a format that cannot be compiled, or that prints no address or no time.
    """
    if log_format == "auto":
        own = [
            compile_format("tailtrace"),
            *(compile_format(before, "tailtrace") for before in TAILTRACE_FORMATS_BEFORE),
        ]
        return LineParser(own, zone, recognise_line, Unwrapper())
    formats = [
        compile_format(KNOWN_FORMATS.get(log_format, log_format), log_format if log_format in KNOWN_FORMATS else "")
    ]
    if log_format in {"tailtrace", TAILTRACE_FORMAT}:
        formats += [compile_format(before, "tailtrace") for before in TAILTRACE_FORMATS_BEFORE]
    return LineParser(formats, zone, unwrapper=Unwrapper())


def make_parser_of(log_formats: Sequence[str], zone: tzinfo = UTC) -> LineParser:
    """Make a parser for a log whose lines have one of several formats, as `make_parser` takes each."""
    first, *others = (make_parser(one, zone) for one in log_formats)
    for other in others:
        first = first.for_formats(other.formats)
    return first
