"""wsgi.input against io.BytesIO, over bodies that come in any pieces."""

from __future__ import annotations

import io

from hypothesis import given
from hypothesis import strategies as st

from fpm.wsgi.body import BodyStream

PIECES = st.lists(st.binary(min_size=1, max_size=30).map(lambda data: data.replace(b"\x01", b"\n")), max_size=8)
CALLS = st.lists(
    st.tuples(st.sampled_from(["read", "readline", "readlines"]), st.one_of(st.none(), st.integers(-1, 40))),
    max_size=12,
)


class Source:
    """A body that comes in these pieces, of which up to `at_once` may be had together."""

    def __init__(self, pieces, at_once=1):
        self.pieces = [*pieces]
        self.at_once = at_once
        self.asked = []

    def pull(self, wanted):
        assert wanted > 0
        self.asked.append(wanted)
        taken = []
        while self.pieces and wanted and len(taken) < self.at_once:
            piece = memoryview(self.pieces.pop(0))
            if len(piece) > wanted:
                self.pieces.insert(0, piece[wanted:])
            taken.append(piece[:wanted])
            wanted -= len(taken[-1])
        return taken


def stream(pieces, length=None, at_once=1):
    return BodyStream(Source(pieces, at_once).pull, length)


@given(PIECES, CALLS, st.booleans(), st.integers(1, 3))
def test_behaves_like_bytes_io(pieces, calls, with_length, at_once):
    whole = b"".join(pieces)
    ours, theirs = stream(pieces, len(whole) if with_length else None, at_once), io.BytesIO(whole)
    for name, size in calls:
        arguments = () if size is None else (size,)
        got = getattr(ours, name)(*arguments)
        assert got == getattr(theirs, name)(*arguments)
        assert all(type(one) is bytes for one in (got if isinstance(got, list) else [got]))
    assert list(ours) == list(theirs)


def test_nothing_behind_content_length_is_read():
    body = stream([b"12345", b"6789"], 7)
    assert body.read() == b"1234567"
    assert body.read(1) == b""


def test_a_body_shorter_than_content_length_ends_where_it_ends():
    body = stream([b"123"], 10)
    assert body.read(10) == b"123"
    assert body.readline() == b""


def test_pull_is_called_only_for_bytes_that_are_wanted():
    source = Source([b"x" * 10] * 9)
    body = BodyStream(source.pull, 30)
    assert (body.read(0), source.asked) == (b"", [])
    assert (body.read(10), source.asked) == (b"x" * 10, [30])
    assert (len(body.read(11)), source.asked) == (11, [30, 20, 10])
    assert (len(body.read()), source.asked) == (9, [30, 20, 10])
    assert (body.read(), body.readline(), source.asked) == (b"", b"", [30, 20, 10])


def test_iteration():
    body = stream([b"a\nb", b"b\nc"])
    assert next(body) == b"a\n"
    assert [*body] == [b"bb\n", b"c"]
