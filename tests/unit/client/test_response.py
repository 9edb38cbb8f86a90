from __future__ import annotations

import pytest
from hypothesis import given, strategies

from fpm.client.response import HEAD_LIMIT, parse_head, split_head
from fpm.errors import PeerGarbage


@pytest.mark.parametrize("end", [b"\r\n\r\n", b"\n\n", b"\r\n\n", b"\n\r\n"])
def test_the_head_ends_at_the_empty_line(end: bytes) -> None:
    assert split_head(b"A: 1" + end + b"body\n\nmore") == (b"A: 1", b"body\n\nmore")


def test_an_incomplete_head_is_waited_for() -> None:
    assert split_head(b"A: 1\r\n") is None


def test_a_head_without_end_is_refused() -> None:
    with pytest.raises(PeerGarbage, match="longer than 65536 bytes"):
        split_head(b"A: " + b"x" * HEAD_LIMIT)


def test_order_and_repetitions_are_kept() -> None:
    head = parse_head(b"Set-Cookie: a\r\nStatus: 404 Not Found\r\nSet-Cookie:b \r\nX:")
    assert (head.status, head.reason) == (404, "Not Found")
    assert head.headers == (("Set-Cookie", "a"), ("Set-Cookie", "b"), ("X", ""))


@pytest.mark.parametrize(
    ("lines", "status", "reason"),
    [
        (b"A: 1", 200, "OK"),
        (b"Location: /x", 302, "Found"),
        (b"Location: /x\r\nStatus: 201 Created", 201, "Created"),
        (b"status: 503", 503, "Service Unavailable"),
        (b"Status: 299", 299, "Unknown"),
        (b"Status: 200 \xfcber", 200, "\xfcber"),
    ],
)
def test_the_status(lines: bytes, status: int, reason: str) -> None:
    head = parse_head(lines)
    assert (head.status, head.reason) == (status, reason)


@pytest.mark.parametrize(
    "lines",
    [
        b"",
        b"no header",
        b"Na me: 1",
        b": 1",
        b"A: 1\r\n\r2: 3",
        b"A: \0",
        b"Status: abc",
        b"Status: 20",
        b"Status: 2000",
    ],
)
def test_what_is_no_header_is_refused(lines: bytes) -> None:
    with pytest.raises(PeerGarbage):
        parse_head(lines)


@given(strategies.binary(max_size=200))
def test_any_bytes_give_a_head_or_a_clear_error(data: bytes) -> None:
    try:
        head = parse_head(data)
    except PeerGarbage:
        return
    assert 100 <= head.status <= 999
    assert not any("\n" in value or "\r" in value for _, value in head.headers)
