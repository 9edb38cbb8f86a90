"""Bytes for the hot path to read: requests as web servers send them, and what may become of them."""

from __future__ import annotations

import string
from collections.abc import Callable
from random import Random

from fpm.fastcgi.params import encode_pair
from tests.support import hot_server

Pairs = list[tuple[bytes, bytes]]

NGINX: Pairs = [*hot_server.NGINX, (b"HTTP_COOKIE", b"id=" + b"c" * 150)]
APACHE: Pairs = [
    (b"HTTP_HOST", b"example.org"),
    (b"HTTP_ACCEPT", b"*/*"),
    (b"PATH", b"/usr/bin:/bin"),
    (b"SERVER_SIGNATURE", b""),
    (b"SERVER_SOFTWARE", b"Apache/2.4.57 (Debian)"),
    (b"SERVER_NAME", b"example.org"),
    (b"SERVER_PORT", b"443"),
    (b"HTTPS", b"on"),
    (b"REQUEST_SCHEME", b"https"),
    (b"SCRIPT_FILENAME", b"proxy:fcgi://localhost/srv/app"),
    (b"GATEWAY_INTERFACE", b"CGI/1.1"),
    (b"SERVER_PROTOCOL", b"HTTP/1.1"),
    (b"REQUEST_METHOD", b"POST"),
    (b"QUERY_STRING", b""),
    (b"REQUEST_URI", b"/shop/a"),
    (b"SCRIPT_NAME", b"/shop"),
    (b"PATH_INFO", b"/a"),
]
CADDY: Pairs = [
    (b"CONTENT_LENGTH", b"-1"),
    (b"HTTP_TRANSFER_ENCODING", b"chunked"),
    (b"PATH_INFO", b"/a"),
    (b"REQUEST_METHOD", b"PUT"),
    (b"QUERY_STRING", b"x"),
    (b"SERVER_PROTOCOL", b"HTTP/2.0"),
    (b"SCRIPT_NAME", b""),
    (b"HTTP_HOST", b"[::1]:8080"),
    (b"REMOTE_USER", b"ann"),
]
HAPROXY: Pairs = [
    (b"REQUEST_METHOD", b"HEAD"),
    (b"PATH_INFO", b"/a/b"),
    (b"SCRIPT_NAME", b"/a"),
    (b"SCRIPT_FILENAME", b"/srv/a"),
    (b"REQUEST_URI", b"/a/b?c"),
    (b"QUERY_STRING", b"c"),
    (b"SERVER_NAME", b"h"),
    (b"SERVER_PORT", b"80"),
    (b"SERVER_PROTOCOL", b"HTTP/1.1"),
    (b"CONTENT_LENGTH", b"0"),
]
MINIMAL: Pairs = [
    (b"SCRIPT_NAME", b"/"),
    (b"REQUEST_METHOD", b"GET"),
    (b"QUERY_STRING", b""),
    (b"SERVER_PROTOCOL", b"HTTP/1.1"),
    (b"HTTP_HOST", b"h"),
]
SHAPES = [NGINX, NGINX, NGINX, APACHE, CADDY, HAPROXY, MINIMAL]
NAMES = sorted({name for shape in SHAPES for name, _ in shape})
NAMES += [b"", b"HTTP_PROXY", b"HTTP_CONTENT_LENGTH", b"HTTP_CONTENT_TYPE", b"HTTP_CAF\xc3\xa9", b"N\0L"]
NAMES += [b"wsgi.input", b"wsgi.version", b"wsgi.url_scheme"]
VALUES = [b"", b"/", b"//", b"a", b"0", b"on", b"off", b"ON", b"http", b"https", b"ftp", b":", b":80", b"h:", b"[::1]"]
VALUES += [b"[", b"proxy:", b"proxy:fcgi://", b"proxy:unix:/s|fcgi://h/x", b"5", b"-1", b"\0", b"%zz", b"\xff", b"/a"]
SIZES = [
    0,
    1,
    2,
    62,
    63,
    64,
    65,
    66,
    126,
    127,
    128,
    129,
    254,
    255,
    256,
    257,
    511,
    512,
    513,
    1022,
    1023,
    1024,
    1025,
    1026,
]
LARGE_SIZES = [4095, 4096, 16383, 16384, 65000, 65490, 65535, 65536]
LIES = [b"\x80\0\0\0", b"\xff\xff\xff\xff", b"\x80\xff\xff\xff", b"\xff", b"\x80", b"\x80\0\0", b"\x7f", b"\x80\1\0\0"]
BEGINS = [b"\1\1\0\1\0\x08\0\0\0\1" + bytes([keep]) + bytes(5) + b"\1\4\0\1" for keep in (0, 1)]
TAIL = b"\1\4\0\1\0\0\0\0\1\5\0\1\0\0\0\0"
KNOWN_MAX = 256
"""As in fpm/_hotpath.c: names whose hashes are the same by it share a place."""


def pack(content: bytes, keep: int = 0, padding: int = 0) -> bytes:
    """Put the bytes of variables into a request."""
    return (
        BEGINS[keep]
        + (len(content) & 0xFFFF).to_bytes(2, "big")
        + bytes([padding, 0])
        + content
        + bytes(padding)
        + TAIL
    )


def hash_place(name: bytes) -> int:
    """Compute where the hot path remembers a name."""
    value = 2166136261
    for byte in name:
        value = (value ^ byte) * 16777619 & 0xFFFFFFFF
    return value % KNOWN_MAX


def find_colliding() -> list[list[bytes]]:
    """Find groups of names that want the same place, or one of those behind it."""
    places: dict[int, list[bytes]] = {}
    for one in string.ascii_uppercase:
        for other in string.ascii_uppercase:
            name = f"HTTP_{one}{other}".encode()
            places.setdefault(hash_place(name) // 2, []).append(name)
    return [*(names for names in places.values() if len(names) > 3), *([name, name + b"X"] for name in NAMES)]


class Inputs:
    """Makes inputs, the same ones for the same seed."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._shapes = [[encode_pair(*pair) for pair in shape] for shape in SHAPES]
        self._requests = [pack(b"".join(shape), keep) for shape in self._shapes for keep in (0, 1)]
        self._colliding = find_colliding()
        usual: list[Callable[[], bytes]] = [self.damage, self.damage, self.vary, self.vary, self.vary, self.vary]
        self._kinds = [*usual * 2, self.stretch, self.lie, self.collide, self.collide, self.repeat, self.scatter]

    def make(self) -> bytes:
        """Make one."""
        if self._random.random() < 0.002:
            return self.enlarge()
        return self._pick(self._kinds)()

    def _below(self, limit: int) -> int:
        return int(self._random.random() * limit)

    def _pick(self, items):  # type: ignore[no-untyped-def]  # a list's item
        return items[int(self._random.random() * len(items))]

    def _some_shape(self) -> list[bytes]:
        return list(self._pick(self._shapes))

    def _finish(self, pairs: list[bytes]) -> bytes:
        dice = self._random.random()
        return pack(b"".join(pairs), dice < 0.5, self._below(256) if dice < 0.05 else 0)

    def damage(self) -> bytes:
        """Change some bytes of a request, cut it, put something in."""
        data = bytearray(self._pick(self._requests))
        for _ in range(1 + self._below(3)):
            data[self._below(len(data))] = self._below(256)
        if self._random.random() < 0.2:
            place = self._below(len(data))
            del data[place : place + 1 + self._below(4)]
        elif self._random.random() < 0.1:
            data.insert(self._below(len(data)), self._below(256))
        return bytes(data)

    def vary(self) -> bytes:
        """Send other values, drop variables, add some."""
        pairs = self._some_shape()
        for _ in range(self._below(3)):
            del pairs[self._below(len(pairs))]
        for _ in range(1 + self._below(2)):
            pairs.insert(self._below(len(pairs) + 1), encode_pair(self._pick(NAMES), self._pick(VALUES)))
        return self._finish(pairs)

    def stretch(self) -> bytes:
        """Have names and values of sizes around every limit, their lengths in either form."""
        pairs = self._some_shape()
        name = self._pick(NAMES) if self._random.random() < 0.5 else b"N" * self._pick(SIZES)
        value = self._random.randbytes(self._pick(SIZES)) if self._random.random() < 0.3 else b"v" * self._pick(SIZES)
        sizes = [(len(part) | 1 << 31).to_bytes(4, "big") for part in (name, value)]
        pair = b"".join((*sizes, name, value)) if self._random.random() < 0.5 else encode_pair(name, value)
        pairs.insert(self._below(len(pairs) + 1), pair)
        return self._finish(pairs)

    def lie(self) -> bytes:
        """Have a length that is wrong."""
        pairs = self._some_shape()
        place = self._below(len(pairs) + 1)
        pairs.insert(place, self._pick(LIES) + self._pick(LIES)[: self._below(5)] + self._pick(VALUES))
        return self._finish(pairs if self._random.random() < 0.5 else pairs[: place + 1])

    def collide(self) -> bytes:
        """Have names that are remembered in the same places, with values that change or do not."""
        pairs = self._some_shape()
        for name in self._pick(self._colliding):
            value = self._pick(VALUES) if self._random.random() < 0.8 else b"v" * self._pick(SIZES)
            pairs.insert(self._below(len(pairs) + 1), encode_pair(name, value))
        return self._finish(pairs)

    def repeat(self) -> bytes:
        """Have a name twice."""
        pairs = self._some_shape()
        again = self._pick(pairs)
        if self._random.random() < 0.5:
            again = encode_pair(self._pick(NAMES), self._pick(VALUES))
            pairs.append(again)
        pairs.insert(self._below(len(pairs) + 1), again)
        return self._finish(pairs)

    def scatter(self) -> bytes:
        """Have any bytes where variables should be."""
        content = self._random.randbytes(1 + self._below(60))
        if self._random.random() < 0.5:
            content = bytes(byte & 15 for byte in content)  # short lengths, so that some fit
        return self._finish([content])

    def enlarge(self) -> bytes:
        """Have a large value, as large as a record can be, and larger."""
        pairs = self._some_shape()
        value = bytes([self._below(256)]) * self._pick(LARGE_SIZES)
        if self._random.random() < 0.5:  # exactly the largest record
            value = value[: 65535 - sum(map(len, pairs)) - len(encode_pair(b"HTTP_X", b"")) - 3]
        return self._finish([*pairs, encode_pair(b"HTTP_X", value)])
