"""A compiled server (fpm/_hotpath.c) with as little around it as it needs to read requests."""

from __future__ import annotations

from io import BytesIO
from types import ModuleType
from typing import Any

import pytest

from fpm.fastcgi.params import decode_params, encode_pair
from fpm.fastcgi.records import pack_record
from fpm.fastcgi.simple import PARAMS_START, match_simple_request
from fpm.scoreboard.layout import board_size, stages_offset, statistics_offset
from fpm.scoreboard.statistics import STATISTICS_SIZE
from fpm.scoreboard.writer import compile_writer
from fpm.worker import hot_path
from fpm.wsgi.environ import complete_environ

NGINX = [
    (b"QUERY_STRING", b"a=b"),
    (b"REQUEST_METHOD", b"GET"),
    (b"CONTENT_TYPE", b""),
    (b"CONTENT_LENGTH", b""),
    (b"SCRIPT_NAME", b"/caf\xc3\xa9"),
    (b"REQUEST_URI", b"/caf%C3%A9?a=b"),
    (b"DOCUMENT_URI", b"/caf\xc3\xa9"),
    (b"DOCUMENT_ROOT", b"/srv"),
    (b"SERVER_PROTOCOL", b"HTTP/1.1"),
    (b"REQUEST_SCHEME", b"http"),
    (b"GATEWAY_INTERFACE", b"CGI/1.1"),
    (b"SERVER_SOFTWARE", b"nginx/1.22.1"),
    (b"REMOTE_ADDR", b"127.0.0.1"),
    (b"REMOTE_PORT", b"50000"),
    (b"SERVER_ADDR", b"127.0.0.1"),
    (b"SERVER_PORT", b"80"),
    (b"SERVER_NAME", b""),
    (b"REDIRECT_STATUS", b"200"),
    (b"HTTP_HOST", b"example.org:8080"),
    (b"HTTP_USER_AGENT", b"curl/7.88.1"),
]
"""What nginx sends with its fastcgi_params."""
CONSTANTS: dict[str, Any] = {"wsgi.version": (1, 0), "wsgi.run_once": False}
UNUSED = ("application", "accounting", "current", "format_head", "hand_over", "kept_phase", "lingering_phase", "resume")
UNUSED_TOO = ("route_table", "ended", "send_rest", "settle", "take", "tell")
needs_compiled = pytest.mark.skipif(
    hot_path.load()[0] is None, reason=f"the hot path is not compiled here: {hot_path.load()[1]}"
)


class Board:
    """A scoreboard in this process's own memory."""

    slots = 4

    def __init__(self) -> None:
        self.view = memoryview(bytearray(board_size(self.slots)))
        self.stages = self.view[stages_offset() : stages_offset() + self.slots]

    def statistics(self, index: int) -> memoryview:
        """Return the block of a slot's statistics."""
        begin = statistics_offset(self.slots, index)
        return self.view[begin : begin + STATISTICS_SIZE]


def make_server(mount: str | None = None, module: ModuleType | None = None) -> Any:
    """Make a server that can only read()."""
    module = module or hot_path.load()[0]
    assert module is not None
    slot = compile_writer(module)(Board(), 0, pid=1, started=1.0, script="x")
    parts: dict[str, Any] = dict.fromkeys((*UNUSED, *UNUSED_TOO))
    parts |= {"constants": CONSTANTS, "make_input": BytesIO, "complete_environ": complete_environ, "mount": mount}
    parts |= {"own_paths": frozenset(), "own": frozenset()}
    server = module.Server(slot, -1, -1, -1, -1, True, parts | {"held": {}, "fields": {}, "statuses": set()})
    return server


def read_plainly(data: bytes, mount: str | None = None) -> tuple[bool, dict[str, Any], str] | None:
    """Do what server.read() does, in plain Python."""
    simple = match_simple_request(data)
    if simple is None:
        return None
    environ: dict[str, Any] = decode_params(data, PARAMS_START, simple[1])
    path = complete_environ(environ, mount)
    environ.pop("wsgi.input", None)  # the worker puts its own there
    return simple[0], environ | CONSTANTS, path


def pack_request(pairs: list[tuple[bytes, bytes]], *, keep: bool = False, padding: int = 0) -> bytes:
    """Pack a request in the shape in which every web server sends one without a body."""
    content = b"".join(encode_pair(name, value) for name, value in pairs)
    begin = pack_record(1, 1, bytes([0, 1, keep, 0, 0, 0, 0, 0]))
    params = pack_record(4, 1, content)
    params = params[:6] + bytes([padding]) + params[7:] + bytes(padding)
    return begin + params + pack_record(4, 1, b"") + pack_record(5, 1, b"")


def without_input(found: tuple[bool, dict[str, Any], str]) -> tuple[bool, dict[str, Any], str]:
    """Take the body out of what server.read() returns, which is another object each time."""
    keep, environ, path = found
    assert environ.pop("wsgi.input").read() == b""
    return keep, environ, path
