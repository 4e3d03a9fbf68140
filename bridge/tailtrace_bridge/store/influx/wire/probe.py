"""Whether a server that we do not know computes as InfluxDB does: a few points in a measurement of their own.

| tried | a server that fails |
|---|---|
| what was acknowledged is read by the next question, also in a new series | openGemini 1.3: up to three seconds later |
| the same again: a server that shows new series now and then may just have done so | |
| a point that is written again is one point, with the newer value | |
| booleans, large integers, text with quotes and other scripts come back | openGemini takes `t` for a number |
| count, sum, the last by tag, newest first with a limit, bound values | |

A store on a server that fails any of these would give wrong numbers without a word; so it is refused. The points stay
until their retention ends: who cannot be asked cannot be told to delete.
"""

from collections.abc import Callable, Mapping
from typing import Any

MEASUREMENT = "tailtrace_probe"
LARGE = 2**53 - 1
TEXT = 'it\'s "ñ" \\ 李'
_WRITTEN_TEXT = TEXT.replace("\\", "\\\\").replace('"', '\\"')
_ROWS = f'SELECT "who", "n", "ok", "text" FROM "{MEASUREMENT}" WHERE "id" = $id AND time >= $start AND time < $end'  # noqa: S608
_SUMS = f'SELECT count("n"), sum("n"), last("n") FROM "{MEASUREMENT}" WHERE "id" = $id GROUP BY "who"'  # noqa: S608
_NEWEST = f'SELECT "n" FROM "{MEASUREMENT}" WHERE "id" = $id ORDER BY time DESC LIMIT 1'  # noqa: S608

Ask = Callable[[str, Mapping[str, object]], list[tuple[Mapping[str, str], list[list[Any]]]]]
"""Gives the series of one question: tags and rows."""


def find_wrong(write: Callable[[bytes], None], ask: Ask, nonce: str, now_ns: int) -> str | None:
    """Try it; return what is wrong, None where nothing is. What the two callables raise goes through."""
    rounds = (_find_wrong(write, ask, f"{nonce}-{place}", now_ns) for place in range(ROUNDS))
    return next((wrong for wrong in rounds if wrong), None)


def _find_wrong(write: Callable[[bytes], None], ask: Ask, nonce: str, now_ns: int) -> str | None:
    start_ns = now_ns // 1_000_000_000 * 1_000_000_000
    write(b"\n".join(_line(nonce, who, n, start_ns + place) for place, (who, n) in enumerate(FIRST)))
    values = {"id": nonce, "start": start_ns, "end": start_ns + len(FIRST)}
    rows = [row[1:] for _, found in ask(_ROWS, values) for row in found]
    if rows != [[who, n, n % 2 == 0, TEXT] for who, n in FIRST]:
        lacks = "are not there to be read" if not rows else f"were read as {rows}"
        return f"points that it acknowledged {lacks} (written: {FIRST})"
    write(_line(nonce, "ana", AGAIN, start_ns))
    sums = {tags.get("who", ""): row[1:] for tags, found in ask(_SUMS, {"id": nonce}) for row in found}
    if sums != {"ana": [2, AGAIN + 4, 4], "ben": [1, LARGE, LARGE]}:
        return f"count, sum and last by tag, after one point was written again, came out as {sums}"
    newest = [row[1] for _, found in ask(_NEWEST, {"id": nonce}) for row in found]
    return None if newest == [4] else f"the newest point came out as {newest}"


FIRST = (("ana", 2), ("ben", LARGE), ("ana", 4))
AGAIN = 6
ROUNDS = 3


def _line(nonce: str, who: str, n: int, time_ns: int) -> bytes:
    fields = f'n={n}i,ok={str(n % 2 == 0).lower()},text="{_WRITTEN_TEXT}"'
    return f"{MEASUREMENT},id={nonce},who={who} {fields} {time_ns}".encode()
