"""Addresses of sockets as the kernel writes them."""

from __future__ import annotations

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpm.system.addresses import read_address, read_table

HEAD = b"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"


def row(remote: str, inode: int) -> bytes:
    return f"   0: 0100007F:C350 {remote} 02 00000000:00000000 00:00000000 00000000  1000        0 {inode} 1 0".encode()


@pytest.mark.parametrize(
    ("data", "address"),
    [
        (struct.pack("=H", 2) + struct.pack("!H4s8x", 5432, bytes([10, 0, 0, 5])), "10.0.0.5:5432"),
        (
            struct.pack("=H", 10) + struct.pack("!HI16sI", 80, 0, socket.inet_pton(socket.AF_INET6, "::1"), 0),
            "[::1]:80",
        ),
        (struct.pack("=H", 10) + struct.pack("!HI16s", 80, 0, bytes(10) + b"\xff\xff\x0a\0\0\5"), "10.0.0.5:80"),
        (struct.pack("=H", 1) + b"/run/db.sock\0rest", "unix:/run/db.sock"),
        (struct.pack("=H", 1) + b"\0name\0\0", "unix:@name"),
        (struct.pack("=H", 1), ""),
        (struct.pack("=H", 2) + b"\0", ""),
        (struct.pack("=H", 16) + bytes(20), ""),
        (b"", ""),
    ],
)
def test_a_sockaddr_is_read(data: bytes, address: str) -> None:
    assert read_address(data) == address


def test_the_tables_say_where_a_connection_goes() -> None:
    lines = [HEAD, row("0500000A:1538", 17), row("00000000:0000", 18), row("0000000000000000FFFF00000500000A:0050", 19)]
    assert read_table(lines, {17, 18, 19}) == {17: "10.0.0.5:5432", 19: "10.0.0.5:80"}
    assert read_table(lines, {20}) == {}


@given(st.lists(st.one_of(st.binary(max_size=200), st.text("0123456789ABCDEF:  ").map(str.encode)), max_size=5))
def test_any_table_is_read(lines: list[bytes]) -> None:
    read_table([*lines, row("XY:1538", 17), row("0500000A", 17), row("05:1538", 17)], {17})


@given(st.binary(max_size=130))
def test_any_sockaddr_is_read(data: bytes) -> None:
    assert isinstance(read_address(data), str)
