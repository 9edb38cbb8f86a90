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


def stream(pieces, length=None):
    source = iter([*pieces, b""])
    return BodyStream(lambda: next(source), length)


@given(PIECES, CALLS, st.booleans())
def test_behaves_like_bytes_io(pieces, calls, with_length):
    whole = b"".join(pieces)
    ours, theirs = stream(pieces, len(whole) if with_length else None), io.BytesIO(whole)
    for name, size in calls:
        arguments = () if size is None else (size,)
        assert getattr(ours, name)(*arguments) == getattr(theirs, name)(*arguments)
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
    pulled = []

    def pull():
        pulled.append(1)
        return b"x" * 10

    body = BodyStream(pull, 30)
    assert (body.read(0), len(pulled)) == (b"", 0)
    assert (body.read(10), len(pulled)) == (b"x" * 10, 1)
    assert (len(body.read(11)), len(pulled)) == (11, 3)
    assert (len(body.read()), len(pulled)) == (9, 3)


def test_iteration():
    body = stream([b"a\nb", b"b\nc"])
    assert next(body) == b"a\n"
    assert [*body] == [b"bb\n", b"c"]
