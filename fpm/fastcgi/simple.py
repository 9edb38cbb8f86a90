"""A short way for the shape in which every web server sends a request without a body.

BEGIN_REQUEST, one PARAMS record, the empty PARAMS and the empty STDIN record, all of request 1, in one buffer. What is
recognised here means exactly what the state machine would make of it (a property test holds the two together); all else
is left to the state machine.
"""

from __future__ import annotations

from fpm.fastcgi.constants import BEGIN_BODY, HEADER, KEEP_CONN, VERSION, RecordType, Role
from fpm.fastcgi.records import pack_record

PARAMS_START = 24
"""Where the content of the PARAMS record begins: after BEGIN_REQUEST (16 bytes) and a header (8)."""

_PARAMS_HEAD = HEADER.pack(VERSION, RecordType.PARAMS, 1, 0, 0)[:4]
_CLOSE = pack_record(RecordType.BEGIN_REQUEST, 1, BEGIN_BODY.pack(Role.RESPONDER, 0)) + _PARAMS_HEAD
_KEEP = pack_record(RecordType.BEGIN_REQUEST, 1, BEGIN_BODY.pack(Role.RESPONDER, KEEP_CONN)) + _PARAMS_HEAD
_TAIL = pack_record(RecordType.PARAMS, 1, b"") + pack_record(RecordType.STDIN, 1, b"")
_TAIL_SIZE = len(_TAIL)


def match_simple_request(data: bytes) -> tuple[bool, int] | None:
    """(keep the connection, end of the PARAMS content) if `data` is exactly such a request, else None."""
    if not data.endswith(_TAIL):
        return None
    keep = data.startswith(_KEEP)
    if not keep and not data.startswith(_CLOSE):
        return None
    end = PARAMS_START + (data[20] << 8 | data[21])
    if end == PARAMS_START or end + data[22] + _TAIL_SIZE != len(data):
        return None
    return keep, end
