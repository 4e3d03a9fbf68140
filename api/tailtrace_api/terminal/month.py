"""A month as a short table for a terminal: the numbers, those before, and the words that the page begins with."""

from collections.abc import Iterable

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from tailtrace_api.monthly.numbers import Numbers
from tailtrace_api.monthly.page import hints, lead, note, subtitle, tiles, title
from tailtrace_api.monthly.words import Words

_STYLES = {"good": "green", "bad": "red", "plain": "dim"}


def print_month(console: Console, numbers: Numbers, lang: str) -> None:
    """Print the table."""
    console.print(Group(*_parts(numbers, Words(lang))))


def _parts(numbers: Numbers, words: Words) -> Iterable[RenderableType]:
    yield Text(title(numbers, words), style="bold")
    yield Text(subtitle(numbers, words), style="dim")
    yield Text(" ".join([*lead(numbers, words), *hints(numbers, words)]))
    if not numbers.now.all_requests:
        return
    table = Table()
    table.add_column("", overflow="fold")
    for key in ("now", "before", "change"):
        table.add_column(words(f"table.{key}"), justify="right", no_wrap=True)
    for tile in tiles(numbers, words):
        table.add_row(tile.label, tile.value, tile.before_value, Text(tile.change, style=_STYLES[tile.tone]))
    yield table
    yield Text(note(numbers, words), style="dim")
