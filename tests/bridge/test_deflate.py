"""`deflate` as a content encoding: taken, and bounded."""

import zlib

import pytest

from tailtrace_bridge.core.errors import OtlpError
from tailtrace_bridge.spans.otlp import unpack


def test_both_forms_of_deflate_are_taken():
    bare = zlib.compressobj(wbits=-15)
    assert unpack(zlib.compress(b"spans"), "deflate") == b"spans"
    assert unpack(bare.compress(b"spans") + bare.flush(), "deflate") == b"spans"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (zlib.compress(b"0" * 1_000_000), 413),  # a bomb: a thousand bytes
        (zlib.compress(b"spans")[:-3], 400),
        (zlib.compress(b"spans") * 2, 400),
        (b"\xff\xff\xff", 400),
        (b"", 400),
    ],
)
def test_what_is_too_long_or_broken_is_refused(body, status):
    with pytest.raises(OtlpError) as caught:
        unpack(body, "deflate", 10_000)
    assert caught.value.status == status
