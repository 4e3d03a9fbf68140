"""Edits of configuration files, as a diff that `patch -d / -p1` takes: `patch` refuses absolute names otherwise. Pure.

| the edit | becomes |
|---|---|
| add, after a line that ends with the `{` of its block | a line below it, indented one step more |
| add, where the block opens further down | the same, below the line that ends with `{` |
| add, where no line ends so (a block on one line) | the line is cut behind its first `{` |
| remove, of a directive that has its line for itself | the line goes |
| remove, of any other | nothing: it is named in the check, for a person to do |
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

OPEN_LINES_MAX = 5
"""How far below its first line a block may open."""
_STEP = "    "
_ALONE = re.compile(r"\s*+[a-z_]++\s[^;{}#]*+;\s*+(?:#.*)?\n?")


@dataclass(frozen=True, slots=True)
class Edit:
    """Add a line to the block that begins at a line (counted from 1), or remove that line."""

    file: str
    line: int
    add: str = ""
    remove: bool = False


def make_patch(texts: Mapping[str, str], edits: Sequence[Edit]) -> str:
    """Return the unified diff of all edits; an edit named twice, by a file included twice, is made once."""
    diffs = []
    for file in dict.fromkeys(edit.file for edit in edits):
        before = texts[file].splitlines(keepends=True)
        after: list[str | None] = list(before)
        for edit in dict.fromkeys(edits):
            if edit.file == file and edit.remove and _ALONE.fullmatch(before[edit.line - 1]):
                after[edit.line - 1] = None
        for edit in dict.fromkeys(edits):
            if edit.file == file and edit.add:
                _insert(after, before, edit)
        joined = "".join(line for line in after if line is not None).splitlines(keepends=True)
        diff = difflib.unified_diff(before, joined, file, file, n=2)
        diffs += [line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in diff]
    return "".join(diffs)


def _insert(after: list[str | None], before: list[str], edit: Edit) -> None:
    first = edit.line - 1
    indent = before[first][: len(before[first]) - len(before[first].lstrip())] + _STEP
    added = f"{indent}{edit.add}\n"
    for place in range(first, min(first + OPEN_LINES_MAX, len(before))):
        if before[place].split("#")[0].rstrip().endswith("{"):
            after[place] = f"{after[place]}{added}"
            return
        if "{" in before[place]:
            break
    else:
        return
    head, _, rest = (after[place] or "").partition("{")
    after[place] = f"{head}{{\n{added}{indent}{rest.lstrip()}"
