"""A stack as text, and what of it is read or kept, side by side. Messages quote people's data: none may stay."""

import pytest

from tailtrace_bridge.traces.stack import Frame, frames_of, without_messages

HEAD = "Traceback (most recent call last):"
CALL = '  File "/app/shop.py", line 40, in total'
INNER = '  File "/app/price.py", line 7, in of'


@pytest.mark.parametrize(
    ("lines", "kept"),
    [
        ([HEAD, CALL, "    price[1]", "    ~~~~~^^^", "KeyError: ana"], [HEAD, CALL, "    price[1]", "    ~~~~~^^^", "KeyError"]),
        (["    ana", CALL, "    price[1]"], [CALL, "    price[1]"]),
        ([CALL, HEAD, "    ana"], [CALL, HEAD]),
        ([CALL, "shop.Missing: who", "    ana", "Ana"], [CALL, "shop.Missing"]),
        ([CALL, "no class: ana", "Ana"], [CALL]),
    ],
)  # fmt: skip
def test_no_message_stays(lines, kept):
    assert without_messages("\n".join(lines)).splitlines() == kept


@pytest.mark.parametrize(
    ("lines", "sources"),
    [
        ([CALL, "    total()", INNER, "    price[1]", "    ~~~~~^^^"], ["total()", "price[1]"]),
        ([CALL, "    first()", "    second()"], ["first()"]),
        ([CALL, "    ~~~^^^", "    first()"], ["first()"]),
        ([CALL, "KeyError: ana"], [""]),
        (["    first()"], []),
        ([CALL, "    total()", HEAD, INNER], [""]),
    ],
)
def test_the_source_of_a_frame(lines, sources):
    assert [frame.source for frame in frames_of("\n".join(lines))] == sources


@pytest.mark.parametrize(
    ("file", "is_own"),
    [
        ("/app/shop.py", True), ("/app/lib/shop.py", True), ("<string>", False), ("<frozen importlib._bootstrap>", False),
        ("/usr/lib/python3.11/json/decoder.py", False), ("/venv/site-packages/fastapi/routing.py", False),
    ],
)  # fmt: skip
def test_whose_code_it_is(file, is_own):
    assert Frame(file, 1, "f", "").is_own is is_own


@pytest.mark.parametrize(
    ("line", "frame"),
    [(CALL, Frame("/app/shop.py", 40, "total", "")), ('  File "/app/a.py", line 3', Frame("/app/a.py", 3, "", ""))],
)
def test_a_frame(line, frame):
    assert frames_of(line) == [frame]
