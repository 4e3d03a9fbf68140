"""Lines that are rejected: why, and what of them is kept, which is their beginning without secrets."""

import re

from tailtrace_bridge.core.records import RejectedLine
from tailtrace_bridge.logs.scrub import scrub

REASONS = ("empty", "too-long", "no-format", "bad-time", "bad-address", "bad-number", "second-request", "cut")
LINE_LENGTH_MAX = 64 * 1024
REJECTED_TEXT_MAX = 200
_SECRET_NAMES = (
    "authorization", "cookie", "session", "passw", "secret", "token", "apikey", "api-key", "api_key", "pwd", "jwt",
    "signature", "credential"
)  # fmt: skip
_SECRET = re.compile(
    "|".join(
        (
            r'\?()[^\s"\\]*+(?:\\\S?[^\s"\\]*+)*+',  # a query string
            r'//()[^\s"/@]*+@',  # user:password@host
            *(rf'{scheme}(?<!\w{scheme}) ()[^"]*+' for scheme in ("basic", "bearer", "digest", "negotiate")),
            *(
                rf'{name}[\w\x80-\xff]{{0,32}}+(?:\\x22|\\?"?) *+[:=] *+(?:\\x22|\\?"?)()[^"\\]*+(?:\\.?[^"\\]*+)*+'
                for name in _SECRET_NAMES
            ),
        )
    ).encode(),
    re.DOTALL,
)
"""What a rejected line does not take into the store: all behind the empty group. An escaped quote ends none of these.

It is looked for in bytes of lower case: of words in one case, `re` tries only where one of their first letters stands.
"""


SAMPLES_AT_ONCE = 1_000
SAMPLE_EVERY_BYTES = 20_000
"""Of a log: to look through the beginning of a line for secrets costs several times what reading a line does."""


class SampleBudget:
    """Of which rejected lines of a log the beginning is kept: the first, then as many as the log's length allows."""

    def __init__(self) -> None:
        self._left_bytes = SAMPLES_AT_ONCE * SAMPLE_EVERY_BYTES
        self._offset = 0

    def has_room(self, offset: int) -> bool:
        """Return whether that of the line at `offset` is kept."""
        passed = max(0, offset - self._offset)  # less than before: another log
        self._left_bytes = min(self._left_bytes + passed, SAMPLES_AT_ONCE * SAMPLE_EVERY_BYTES)
        self._offset = offset
        if self._left_bytes < SAMPLE_EVERY_BYTES:
            return False
        self._left_bytes -= SAMPLE_EVERY_BYTES
        return True


class UnreadableError(Exception):
    """A value that cannot be read; its argument is one of `REASONS`."""


def reject(reason: str, line: bytes, file: str, offset: int) -> RejectedLine:
    """Make the record of a rejected line, of whichever format: its beginning, without secrets."""
    raw = line[: REJECTED_TEXT_MAX * 4]
    parts: list[str] = []
    end = 0
    for secret in _SECRET.finditer(raw.lower()):
        parts += (raw[end : secret.end(secret.lastindex or 0)].decode("utf-8", "backslashreplace"), "…")
        end = secret.end()
    parts.append(raw[end:].decode("utf-8", "backslashreplace"))
    shown = scrub("".join(parts)[: REJECTED_TEXT_MAX * 4])
    return RejectedLine(reason, file, offset, shown[:REJECTED_TEXT_MAX])
