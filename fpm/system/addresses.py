"""Addresses of sockets out of the bytes in which the kernel and its tables have them. Pure."""

from __future__ import annotations

import ipaddress
import struct
import sys
from collections.abc import Iterable, Set

AF_UNIX, AF_INET, AF_INET6 = 1, 2, 10
"""As on every Linux, bits/socket.h."""
ADDRESS_MAX = 128
"""Bytes: sizeof(struct sockaddr_storage)."""
_FAMILY = struct.Struct("=H")
_INET = struct.Struct("!H4s")
_INET6 = struct.Struct("!HI16s")
_LOCAL, _REMOTE, _INODE = 1, 2, 9
"""Columns of /proc/net/tcp, proc_pid_net(5)."""


def read_address(data: bytes) -> str:
    """Read a struct sockaddr: "10.0.0.5:5432", "[::1]:80", "unix:/run/db.sock"; "" for any other."""
    if len(data) < _FAMILY.size:
        return ""
    (family,) = _FAMILY.unpack_from(data)
    rest = data[_FAMILY.size :]
    if family == AF_INET and len(rest) >= _INET.size:
        port, address = _INET.unpack_from(rest)
        return internet_address(address, port)
    if family == AF_INET6 and len(rest) >= _INET6.size:
        port, _, address = _INET6.unpack_from(rest)
        return internet_address(address, port)
    return unix_address(rest) if family == AF_UNIX else ""


def internet_address(address: bytes, port: int) -> str:
    """Write an address of 4 or 16 bytes; IPv4 within IPv6 as IPv4."""
    if len(address) == 4:
        return f"{ipaddress.IPv4Address(address)}:{port}"
    found = ipaddress.IPv6Address(address)
    return f"{found.ipv4_mapped}:{port}" if found.ipv4_mapped is not None else f"[{found}]:{port}"


def unix_address(path: bytes) -> str:
    """Write the path of a Unix socket, an abstract one with @ (unix(7)); "" if it has none."""
    is_abstract = path.startswith(b"\0")
    name = path.rstrip(b"\0")[1:] if is_abstract else path.partition(b"\0")[0]
    return f"unix:{'@' * is_abstract}{name.decode('utf-8', 'backslashreplace')}" if name else ""


def read_table(lines: Iterable[bytes], inodes: Set[int] | None = None) -> dict[int, str]:
    """Find in /proc/net/tcp or tcp6 to where these sockets are connected, or about to be; None: every one there.

    Lines that are none, and listening sockets, are passed over.
    """
    found: dict[int, str] = {}
    for line in lines:
        columns = line.split()
        if len(columns) <= _INODE or not columns[_INODE].isdigit():
            continue
        if inodes is not None and int(columns[_INODE]) not in inodes:
            continue
        address = _read_column(columns[_REMOTE])
        if address:
            found[int(columns[_INODE])] = address
    return found


def _read_column(text: bytes) -> str:
    """Read "0500000A:1538": words of 32 bits in the machine's own order, and a port."""
    host, _, port = text.partition(b":")
    try:
        words = bytes.fromhex(host.decode("ascii"))
        number = int(port, 16)
    except ValueError:
        return ""
    if len(words) not in (4, 16) or not 0 < number < 1 << 16:
        return ""
    if sys.byteorder == "little":
        words = b"".join(words[at : at + 4][::-1] for at in range(0, len(words), 4))
    return internet_address(words, number)
