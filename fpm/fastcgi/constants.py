"""FastCGI 1.0 numbers and layouts, named as in the specification (section 8 lists them all)."""

from __future__ import annotations

import struct
from enum import IntEnum

VERSION = 1
KEEP_CONN = 1
"""Flag of BEGIN_REQUEST (5.1): the web server keeps the connection for its next request."""
MAX_CONTENT = 65535
"""Bytes of content one record can carry (3.3)."""

HEADER = struct.Struct(">BBHHBx")
"""version, type, request id, content length, padding length, reserved (3.3)."""
BEGIN_BODY = struct.Struct(">HB5x")
"""role, flags (5.1)."""
END_BODY = struct.Struct(">IB3x")
"""application status, protocol status (5.5)."""
UNKNOWN_BODY = struct.Struct(">B7x")
"""the type that was not understood (4.2)."""


class RecordType(IntEnum):
    """Kinds of records (3.3, 8)."""

    BEGIN_REQUEST = 1
    ABORT_REQUEST = 2
    END_REQUEST = 3
    PARAMS = 4
    STDIN = 5
    STDOUT = 6
    STDERR = 7
    DATA = 8
    GET_VALUES = 9
    GET_VALUES_RESULT = 10
    UNKNOWN_TYPE = 11


class Role(IntEnum):
    """What the web server wants of us (6)."""

    RESPONDER = 1
    AUTHORIZER = 2
    FILTER = 3


class ProtocolStatus(IntEnum):
    """How a request ended for the protocol (5.5). OVERLOADED is never sent: Apache makes an empty 200 of it."""

    REQUEST_COMPLETE = 0
    CANT_MPX_CONN = 1
    OVERLOADED = 2
    UNKNOWN_ROLE = 3


PARAMS_LIMIT = 1 << 20
"""Most bytes of PARAMS of one request. nginx stops at 64 KiB, Apache at 16 KiB a variable, Caddy at 64 KiB a value."""
