"""Request lines: those of the usual shape are read at one look, and as any other."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tailtrace_bridge.core.cards import VIEW_PATH
from tailtrace_bridge.logs.request_line import METHODS, new_request_of, target_of

CHARS = st.text("abZ059_.-/?#=@%:+;é\x00\n", max_size=40)


@given(method=st.sampled_from(sorted(METHODS)), path=CHARS, query=CHARS)
@example("GET", "/a/b", "?token=1")
@example("GET", "/" + 14 * "a1B", "")
@example("GET", "/ghp_0123456789abcdef", "")
@example("POST", "/ann@example.com", "")
@example("GET", "/a/" * 300, "")
@example("GET", "b/a/" * 200 + "word", "?a=b")
@example("GET", VIEW_PATH, "?card=one&variant=two")
@example("GET", "//evil", "?a#b")
def test_the_usual_request_is_read_as_its_target_is(method, path, query):
    target = f"/{path}{query}"
    assert new_request_of(f"{method} {target} HTTP/1.1") == target_of(method, target)


@pytest.mark.parametrize(
    ("request_line", "expected"),
    [
        ("GET /a/b?c=d HTTP/1.1", ("GET", "/a/b", "")),
        ("GET /a/b?c d HTTP/2.0", ("GET", "/a/b", "")),
        ("get /a HTTP/1.1", ("_OTHER", "/a", "")),
        ("GET /a", ("GET", "/a", "")),
        ("GET /a HTTP/1.1 ", ("GET", "/a HTTP/1.1", "")),
        ("GET  /a HTTP/1.1", ("GET", "/a", "")),
        (r"\x16\x03\x01", ("_OTHER", r"\x16\x03\x01", "")),
    ],
)
def test_a_request_has_method_and_path(request_line, expected):
    assert new_request_of(request_line) == expected
