"""The page as a PDF, by WeasyPrint. It fetches nothing: a URL that found its way into the page stays a word.

The fonts come from the machine (fontconfig) and are embedded in part. Characters that no font has are told, with what
to install: a box in place of a name is not a name.
"""

import logging
from collections.abc import Callable
from typing import Any, NamedTuple

from tailtrace_bridge.core.errors import BridgeError

LIBRARIES = "libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0"
FONTS = "fonts-noto-core fonts-noto-cjk fonts-noto-color-emoji"


class PdfError(BridgeError):
    """No PDF can be made on this machine."""


class Pdf(NamedTuple):
    """A PDF, and the characters in it that no font of this machine has."""

    content: bytes
    missing: str
    pages: int
    last_fill: float
    """How much of the last page is filled, 0 to 1, by where the element `end` stands; 1 where there is none."""


class _Missing(logging.Handler):
    """Collects the characters without a font: WeasyPrint logs each, with its number as the last argument."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.found: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Take one message."""
        if "glyph" in record.msg and isinstance(record.args, tuple) and isinstance(record.args[-1], int):
            self.found.add(chr(record.args[-1]))


def _weasyprint() -> Any:
    try:
        import weasyprint  # noqa: PLC0415 - only who wants a PDF needs it
    except ModuleNotFoundError as error:
        raise PdfError(
            f"--pdf needs WeasyPrint ({error.name} is not installed): pip install 'tailtrace[pdf]'. --html needs it not"
        ) from None
    except OSError as error:  # cffi cannot load a library
        first = str(error).partition("\n")[0]
        raise PdfError(
            f"--pdf needs Pango, which this machine lacks ({first}): apt install {LIBRARIES}. --html needs it not"
        ) from None
    return weasyprint


def make_pdf(html: str, load: Callable[[], Any] = _weasyprint) -> Pdf:
    """Lay the page out. Raises `PdfError` where the library, or what it needs, is not there."""
    logger = logging.getLogger("weasyprint")
    missing = _Missing()
    before, logger.propagate = logger.propagate, False  # what it says of CSS and of its steps is nobody's business
    logger.addHandler(missing)
    try:
        weasyprint = load()
        fetcher = weasyprint.urls.URLFetcher(allowed_protocols=())
        document = weasyprint.HTML(string=html, url_fetcher=fetcher).render(pdf_tags=True)
        content = document.write_pdf(pdf_tags=True)
    finally:
        logger.removeHandler(missing)
        logger.propagate = before
    last = document.pages[-1]
    end = last.anchors.get("end")
    return Pdf(
        content, "".join(sorted(missing.found)), len(document.pages), 1.0 if end is None else end[1] / last.height
    )
