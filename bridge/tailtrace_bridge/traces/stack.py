"""A Python stack as text, and the frames in it. Pure; the text is an app's, and so untrusted.

| a line | is |
|---|---|
| two blanks and `File "…", line N, in NAME` | a frame |
| four blanks or more | the frame's source, or a mark below it |
| the traceback's head, the sentences between chained ones | kept |
| the same behind `|`, of an exception group | likewise, one exception after another |
| `package.Error: message`, and what stands below it | the class alone: a message may quote the user's data |

The text has https://docs.python.org/3/library/traceback.html for its form. Of another language nothing is known, so of
such a text the class stays and no more.
"""

import re
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
_SENTENCES = frozenset(
    {
        "Traceback (most recent call last):",
        "Stack (most recent call last):",
        "Exception Group Traceback (most recent call last):",
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
    for line in _lines(stack):
        found = _FRAME.fullmatch(line.rstrip())
        if found is not None:
            frames.append(Frame(found[1], int(found[2]), found[3] or "", ""))
        elif line in _SENTENCES:
            frames = []
        elif line.startswith("    ") and frames and not frames[-1].source and line.strip(" ~^"):
            frames[-1] = frames[-1]._replace(source=line.strip())
    return frames[-FRAMES_MAX:]


def without_messages(stack: str) -> str:
    """Return a stack without what the exceptions said."""
    kept: list[str] = []
    is_framed = False
    """Whether source may follow."""
    for line in _lines(stack):
        if _FRAME.fullmatch(line.rstrip()):
            is_framed = True
            kept.append(line.rstrip())
        elif line in _SENTENCES:
            is_framed = False
            kept.append(line)
        elif line.startswith("    ") and is_framed:
            kept.append(line.rstrip())
        elif is_framed:
            is_framed = False
            error = _ERROR.fullmatch(line)
            if error is not None:
                kept.append(error[1])
    return "\n".join(kept)


def _lines(stack: str) -> list[str]:
    """Return the last lines, those of an exception group as if each of its exceptions stood alone."""
    if "+ Exception Group Traceback" in stack:
        stack = _IN_GROUP.sub("", stack)
    return stack.splitlines()[-LINES_MAX:]
