"""Whole files in, lines with their places out."""

import gzip
import os
import re
import tracemalloc
from itertools import accumulate, pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailtrace_bridge.core.errors import LogFileError
from tailtrace_bridge.logs.files import LineSplitter, fingerprint, read_lines
from tailtrace_bridge.logs.rejected import LINE_LENGTH_MAX

BOM = b"\xef\xbb\xbf"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", []),
        (b"one\ntwo\n", [(b"one", 0), (b"two", 4)]),
        (b"one\ntwo", [(b"one", 0), (b"two", 4)]),
        (b"only", [(b"only", 0)]),
        (b"\n\nx\n", [(b"", 0), (b"", 1), (b"x", 2)]),
        (b"one\r\ntwo\r\n\r\nx\ry", [(b"one", 0), (b"two", 5), (b"", 10), (b"x\ry", 12)]),
        (b"\xef\xbb\xbfone\n\xef\xbb\xbftwo\r", [(b"one", 0), (b"\xef\xbb\xbftwo", 4)]),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_lines_and_offsets_are_those_of_the_uncompressed_log(tmp_path, content, expected, packed):
    path = tmp_path / "access.log"
    path.write_bytes(gzip.compress(content) if packed else content)
    seed = fingerprint(content.split(b"\n")[0])
    assert list(read_lines(path)) == [(line, offset, seed) for line, offset in expected]


def test_fingerprint_is_xxh3_of_the_first_line_in_63_bits():
    assert fingerprint(b"") == 0x2D06800538D394C2
    assert 0 < fingerprint(b"x" * 200_000) < 1 << 63


def test_a_log_has_one_name_whatever_an_editor_added():
    assert len({fingerprint(line) for line in (b"one", b"one\r", b"\xef\xbb\xbfone", b"\xef\xbb\xbfone\r\r")}) == 1


@pytest.mark.parametrize("line", [b"x" * (LINE_LENGTH_MAX + 1), b"x" * LINE_LENGTH_MAX + b"\r" + b"y" * 9])
def test_a_line_that_was_too_long_stays_so(tmp_path, line):
    (tmp_path / "a").write_bytes(line + b"\n")
    assert list(read_lines(tmp_path / "a")) == [(line[: LINE_LENGTH_MAX + 1], 0, fingerprint(line))]


def test_concatenated_members_and_padding_are_one_log(tmp_path):
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(b"one\ntw") + gzip.compress(b"o\n") + b"\0" * 512)
    assert [line for line, _, _ in read_lines(path)] == [b"one", b"two"]


def test_a_truncated_gzip_gives_its_lines_then_an_error(tmp_path):
    content = b"".join(b"line %d %s\n" % (i, os.urandom(20).hex().encode()) for i in range(1000))
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(content)[:-3000])
    lines = []
    with pytest.raises(LogFileError, match=r"a\.gz: damaged gzip: it ends too early"):
        lines.extend(line for line, _, _ in read_lines(path))
    assert len(lines) > 500
    assert lines == content.split(b"\n")[: len(lines)]


def test_a_corrupt_gzip_gives_an_error(tmp_path):
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(b"one\n") + b"no gzip")
    lines = []
    with pytest.raises(LogFileError, match="damaged gzip"):
        lines.extend(read_lines(path))
    assert lines == [(b"one", 0, fingerprint(b"one"))]


def test_a_line_of_100_mb_takes_little_memory(tmp_path):
    path = tmp_path / "a.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(b"first\n")
        for _ in range(100):
            file.write(b"x" * 1_000_000)
        file.write(b"\nlast\n")
    tracemalloc.start()
    lines = list(read_lines(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [(len(line), offset) for line, offset, _ in lines] == [
        (5, 0),
        (LINE_LENGTH_MAX + 1, 6),
        (4, 6 + 100_000_001),
    ]
    assert peak < 4_000_000


def test_progress_counts_compressed_bytes(tmp_path):
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(b"one\n" * 10_000))
    steps: list[int] = []
    assert len(list(read_lines(path, on_bytes=steps.append))) == 10_000
    assert sum(steps) == path.stat().st_size


@pytest.mark.parametrize("name", ["missing.log", "."])
def test_what_is_no_log_says_so(tmp_path, name):
    with pytest.raises(LogFileError, match=r"no such file|is a folder"):
        list(read_lines(tmp_path / name))


@given(
    st.one_of(
        st.binary(max_size=200).map(lambda some: some.replace(b"\0", b"0")),  # a hole is no text: see below
        st.lists(st.sampled_from([b"a", b"\r", b"\n", BOM])).map(b"".join),
    ),
    st.lists(st.integers(0, 200)),
)
def test_the_splitter_gives_the_same_however_the_bytes_arrive(content, cuts):
    edges = [0, *sorted(min(cut, len(content)) for cut in cuts), len(content)]
    splitter = LineSplitter()
    lines = []
    for start, end in pairwise(edges):
        lines += splitter.feed(content[start:end])
    lines += splitter.rest()
    expected = content.split(b"\n")
    if not expected[-1]:
        expected.pop()
    starts = list(accumulate((len(line) + 1 for line in expected), initial=0))[: len(expected)]
    if expected:
        expected[0] = re.sub(rb"\A(?:\xef\xbb\xbf)[\xef\xbb\xbf]*", b"", expected[0].rstrip(b"\r"))
    assert [(line, offset) for line, offset, _ in lines] == [
        (line.rstrip(b"\r"), offset) for line, offset in zip(expected, starts, strict=True)
    ]
    assert [end for _, _, end in lines] == [offset for _, offset, _ in lines[1:]] + [len(content)] * bool(lines)


@given(st.lists(st.sampled_from([b"a", b"bc", b"\n", b"\0", b"\0\0\0"])).map(b"".join), st.lists(st.integers(0, 200)))
def test_lines_around_a_hole_are_the_same_however_the_bytes_arrive(content, cuts):
    splitter = LineSplitter()
    lines = []
    for start, end in pairwise([0, *sorted(min(cut, len(content)) for cut in cuts), len(content)]):
        lines += splitter.feed(content[start:end])
    lines = [line for line, _, _ in lines + splitter.rest()]
    assert b"\0" not in b"".join(lines)
    assert [line for line in lines if line] == [line for line in re.split(rb"[\n\0]+", content) if line]


def test_a_long_line_in_small_chunks_ends_where_it_ends():
    splitter = LineSplitter(100)
    lines = []
    for chunk in [b"a" * 50_000, b"b" * 50_000, b"c" * 50_000 + b"\nnext\n"]:
        lines += splitter.feed(chunk)
    assert [(len(data), offset, end) for data, offset, end in lines] == [
        (LINE_LENGTH_MAX + 1, 100, 150_101),
        (4, 150_101, 150_106),
    ]


def test_paths_may_be_text(tmp_path):
    Path(tmp_path / "a").write_bytes(b"x\n")
    assert list(read_lines(str(tmp_path / "a"))) == [(b"x", 0, fingerprint(b"x"))]
