"""A Python stack as text, and the frames in it. Pure; the text is an app's, and so untrusted.

| a line | is |
|---|---|
| two blanks and `File "…", line N, in NAME` | a frame |
| four blanks or more | the frame's source, or a mark below it |
| the traceback's head, the sentences between chained ones | kept |
| `  [Previous line repeated N more times]` | kept |
| the same behind `|`, of an exception group | likewise, one exception after another |
| `package.Error: message`, and what stands below it, up to the next head | the class alone: a message may quote the
  user's data, and a note or another process's stack may look like frames |

The text has https://docs.python.org/3/library/traceback.html for its form. Of another language nothing is known, so of
such a text the class stays and no more.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

LINES_MAX = 400
FRAMES_MAX = 100
LIBRARIES = re.compile(
    r"(?:^|[/\\])(?:site-packages|dist-packages|lib[/\\](?:python|pypy)3(?:\.\d+t?)?|[Pp]ython3\d+t?(?:[/\\]Lib|\.zip)"
    r"|<frozen [^>]*>)(?=[/\\]|$|\.)"
)
"""In the path of a file that is not the app's own."""
_IN_GROUP = re.compile(r"^ *(?:\| ?|\+ (?=Exception Group)|\+-[^\n]*)", re.MULTILINE)
_FRAME = re.compile(r'  File "([^"\n]{1,512})", line (\d{1,9})(?:, in (.{1,256}))?')
_ERROR = re.compile(r"((?:[A-Za-z_][\w<>]*\.)*[A-Za-z_]\w*)(?::.*)?")
_REPEATED = re.compile(r"  \[Previous line repeated \d{1,9} more times?\]")
_HEADS = frozenset(
    {
        "Traceback (most recent call last):",
        "Stack (most recent call last):",
        "Exception Group Traceback (most recent call last):",
    }
)
_SENTENCES = _HEADS | frozenset(
    {
        "During handling of the above exception, another exception occurred:",
        "The above exception was the direct cause of the following exception:",
    }
)


class Frame(NamedTuple):
    """One call in a stack."""

    file: str
    line: int
    function: str
    source: str
    """The line of code, or empty."""

    @property
    def is_own(self) -> bool:
        """Whether it is the app's own: neither of a library nor of Python."""
        return LIBRARIES.search(self.file) is None and not self.file.startswith("<")


def frames_of(stack: str) -> list[Frame]:
    """Return the frames of the last exception of a stack, the outermost first."""
    frames: list[Frame] = []
    for line, found in _kept(stack):
        if found is not None:
            frames.append(Frame(found[1], int(found[2]), found[3] or "", ""))
        elif line in _SENTENCES:
            frames = []
        elif line.startswith("    ") and frames and not frames[-1].source and line.strip(" ~^"):
            frames[-1] = frames[-1]._replace(source=line.strip())
    return frames[-FRAMES_MAX:]


def without_messages(stack: str) -> str:
    """Return a stack without what the exceptions said."""
    return "\n".join(line for line, _ in _kept(stack))


def _kept(stack: str) -> Iterator[tuple[str, re.Match[str] | None]]:
    """Return the lines that are no message; with each frame, what stands in it."""
    may_begin, is_framed = True, False
    """Whether a frame may follow; whether its source may."""
    for line in map(str.rstrip, _lines(stack)):
        found = _FRAME.fullmatch(line) if may_begin else None
        if found is not None:
            is_framed = True
            yield line, found
        elif line in _SENTENCES:
            may_begin, is_framed = line in _HEADS, False
            yield line, None
        elif is_framed and (line.startswith("    ") or _REPEATED.fullmatch(line)):
            yield line, None
        elif is_framed:
            may_begin = is_framed = False
            error = _ERROR.fullmatch(line)
            if error is not None:
                yield error[1], None


def _lines(stack: str) -> list[str]:
    """Return the last lines, those of an exception group as if each of its exceptions stood alone."""
    if "+ Exception Group Traceback" in stack:
        stack = _IN_GROUP.sub("", stack)
    return stack.splitlines()[-LINES_MAX:]
