"""`tailtrace inspect FILE`: what an import would make of a log; nothing is stored and nobody is asked.

| exit status | when |
|---|---|
| 0 | every line is a record |
| 1 | a line was rejected, a format was not sure, or a file could not be read to its end |
| 2 | wrong use: no file, an unknown option, a log format that cannot be compiled |
"""

import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path

import typer
from rich.console import Console

from tailtrace_api.commands.advice import advice_on
from tailtrace_api.commands.understood import as_plain, print_understood
from tailtrace_bridge.core.errors import LogFileError
from tailtrace_bridge.core.records import RejectedLine
from tailtrace_bridge.core.text import printable
from tailtrace_bridge.logs.files import fingerprint, lines_of, read_pieces, with_next
from tailtrace_bridge.logs.parser import LineParser
from tailtrace_bridge.logs.rejected import reject
from tailtrace_bridge.logs.understood import Understood, understand, understand_next
from tailtrace_bridge.transfer.importer import first_pieces, is_shortened

TEXT_LENGTH_MAX = 120
"""Characters shown of a rejected line, or of a file's name."""


@dataclass(slots=True)
class Sample:
    """A rejected line as it is printed."""

    reason: str
    file: str
    line: int
    """The line's number, from 1."""
    offset: int
    """Bytes from the (uncompressed) start of the file."""
    text: str


@dataclass(slots=True)
class Findings:
    """What became of the lines. `show_max` bounds the examples that are kept of each reason."""

    show_max: int
    lines: int = 0
    parsed: int = 0
    parsed_by_format: Counter[str] = field(default_factory=Counter)
    """Of the lines of each file that were looked at together."""
    rejected_by_reason: Counter[str] = field(default_factory=Counter)
    shown: list[Sample] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """Files that could not be read to their end."""
    understood: list[Understood] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def read(self, path: Path, parser: LineParser) -> None:
        """Take the lines of a file."""
        cut: list[tuple[bytes, int, int, bool]] = []
        before, others = 0, len(self.understood)
        try:
            read = read_pieces(path, on_cut=lambda *one: cut.append(one), now_s=time.time())
            pieces, first, failed = first_pieces(read)
            parser, found = understand(parser, str(path), first)
            self._note_understood(found)
            for piece, after in with_next(chain(pieces, read)):
                parser, goes_on = understand_next(parser, str(path), piece, after, before + 1)
                if goes_on is not None:
                    self._note_understood(goes_on)
                for line, offset in piece.lines or lines_of(piece.block, piece.offset):
                    self._take(parser.parse(line, str(path), offset, piece.seed or fingerprint(line)), before + 1)
                    before += 1
            if failed is not None:
                raise failed
            if cut and not cut[0][-1]:
                line, offset, seed, _ = cut.pop()
                formats = {fmt.source for one in self.understood[others:] for fmt in one.formats}
                is_short = is_shortened(line, parser, formats)
                record = reject("cut", line, str(path), offset) if is_short else None
                self._take(record or parser.parse(line, str(path), offset, seed), before + 1)
        except LogFileError as error:
            self.problems.append(printable(str(error), 500))
        if cut:
            self.notes.append(
                f"{printable(str(path), TEXT_LENGTH_MAX)}: the last line has no newline yet; it is left out"
            )
        if parser.has_begun:
            self.notes.append(
                f"{printable(str(path), TEXT_LENGTH_MAX)}: of the last line the last part is not there; it is left out"
            )

    def _note_understood(self, found: Understood) -> None:
        self.understood.append(found)
        for one in found.formats:
            self.parsed_by_format[one.name] += one.lines

    def _take(self, record: object, number: int) -> None:
        if record is None:
            return
        self.lines += 1
        if not isinstance(record, RejectedLine):
            self.parsed += 1
            return
        self.rejected_by_reason[record.reason] += 1
        if self.rejected_by_reason[record.reason] <= self.show_max:
            file, text = printable(record.file, TEXT_LENGTH_MAX), printable(record.text, TEXT_LENGTH_MAX)
            self.shown.append(Sample(record.reason, file, number, record.offset, text))

    def advice(self, reason: str) -> str:
        """Return what to do about the lines of a reason, by the first of them that is shown."""
        return advice_on(reason, next((one.text for one in self.shown if one.reason == reason), ""))


def run_inspect(files: Sequence[Path], make: Callable[[Path], LineParser], *, as_json: bool, show: int) -> None:
    """Read the files and print what was found. Raises `typer.Exit` with 1 where not all is a record."""
    found = Findings(show)
    for path in files:
        found.read(path, make(path))
    (_print_json if as_json else _print_text)(found)
    for problem in found.problems:
        typer.echo(f"tailtrace: {problem}", err=True)
    if found.problems or found.rejected_by_reason or not all(one.is_sure for one in found.understood):
        raise typer.Exit(1)


def _print_json(found: Findings) -> None:
    typer.echo(
        json.dumps(
            {
                "lines": found.lines,
                "parsed": found.parsed,
                "parsed_by_format": found.parsed_by_format,
                "refused": found.rejected_by_reason.total(),
                "refused_by_reason": found.rejected_by_reason,
                "advice": {reason: found.advice(reason) for reason in found.rejected_by_reason},
                "shown": [asdict(shown) for shown in found.shown],
                "problems": found.problems,
                "notes": found.notes,
                "understood": [as_plain(one) for one in found.understood],
            }
        )
    )


def _print_text(found: Findings) -> None:
    out = Console(markup=False, highlight=False, soft_wrap=True)
    for one in found.understood:
        print_understood(one, out.print)
    out.print(f"{found.lines} lines: {found.parsed} parsed, {found.rejected_by_reason.total()} rejected")
    for text in found.notes:
        out.print(text)
    for reason, count in found.rejected_by_reason.most_common():
        out.print(f"\n{reason}: {count}", style="bold yellow")
        out.print(f"  {found.advice(reason)}")
        for shown in found.shown:
            if shown.reason == reason:
                out.print(f"  {shown.file}:{shown.line} (byte {shown.offset}): {shown.text}", style="dim")
        if hidden := count - sum(shown.reason == reason for shown in found.shown):
            out.print(f"  … and {hidden} more; --show {count} shows all", style="dim")
