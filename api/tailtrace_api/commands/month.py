"""What `tailtrace report --month` does: files where they are asked for, else a table or JSON."""

import json
import sys
from pathlib import Path

from tailtrace_api.monthly.month import Month
from tailtrace_api.monthly.pdf import FONTS
from tailtrace_api.monthly.report import Report, make_of, read_deployments, read_numbers
from tailtrace_api.monthly.report import as_json as to_json
from tailtrace_api.terminal.console import console
from tailtrace_api.terminal.month import print_month
from tailtrace_bridge.core.errors import BridgeError
from tailtrace_bridge.core.files.private import private
from tailtrace_bridge.settings.table import Settings
from tailtrace_bridge.store.protocol import Store
from tailtrace_bridge.wiring import parts

_WARNED_MAX = 20
"""Characters without a font that are named."""


class OutputError(BridgeError):
    """A file that cannot be written."""


def run_month(
    settings: Settings, store: Store, month: Month, now_us: int, *, pdf: Path | None, html: Path | None, as_json: bool
) -> None:
    """Report a month. Raises `PdfError`, `OutputError`, `SettingsError` and `StoreError`."""
    numbers = read_numbers(settings, store, parts.make_routes(settings), month, now_us)
    if pdf is not None or html is not None:
        deployments = read_deployments(settings, store, month, now_us)
        report = make_of(numbers, settings.lang, deployments, pdf=pdf is not None)
        if pdf is not None and report.pdf is not None:
            _write(pdf, report.pdf)
        if html is not None:
            _write(html, report.html.encode())
        _warn(report)
    if as_json:
        sys.stdout.write(json.dumps(to_json(numbers), ensure_ascii=False, default=str) + "\n")
    elif pdf is None and html is None:
        print_month(console(), numbers, settings.lang)
    else:
        for path in filter(None, (pdf, html)):
            sys.stdout.write(f"wrote {path}\n")


def _write(path: Path, content: bytes) -> None:
    try:
        with open(path, "wb", opener=private) as file:  # with the names of people in it
            file.write(content)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}; name a file in a folder that is there") from None


def _warn(report: Report) -> None:
    if not report.missing:
        return
    some = " ".join(f"{char} (U+{ord(char):04X})" for char in report.missing[:_WARNED_MAX])
    sys.stderr.write(
        f"tailtrace: no font here has {len(report.missing)} of the characters in names, they are boxes in the PDF: "
        f"{some}. apt install {FONTS}\n"
    )
