"""Records on the way out: pure functions from values to bytes."""

from __future__ import annotations

from functools import lru_cache

from fpm.fastcgi.constants import END_BODY, HEADER, MAX_CONTENT, UNKNOWN_BODY, VERSION, ProtocolStatus, RecordType

_STDOUT = int(RecordType.STDOUT)
_pack_header = HEADER.pack


def pack_record(kind: int, request_id: int, content: bytes) -> bytes:
    """One record without padding; `content` has at most MAX_CONTENT bytes."""
    return _pack_header(VERSION, kind, request_id, len(content), 0) + content


def pack_stream(kind: int, request_id: int, data: bytes) -> list[bytes | memoryview]:
    """Buffers that carry `data` as records of a stream, header and content in turn; `data` itself is not copied.

    They are of one size, so that a block of 64 KiB, a byte more than a record carries, makes no record of one byte.
    """
    size = len(data)
    count = -(-size // MAX_CONTENT)
    if count <= 1:
        return [_pack_header(VERSION, kind, request_id, size, 0), data] if size else []
    whole, part_size = memoryview(data), -(-size // count)
    header = _pack_header(VERSION, kind, request_id, part_size, 0)
    buffers: list[bytes | memoryview] = []
    for start in range(0, size - part_size, part_size):
        buffers += (header, whole[start : start + part_size])
    last = whole[(count - 1) * part_size :]
    buffers += (_pack_header(VERSION, kind, request_id, len(last), 0), last)
    return buffers


def pack_end(
    request_id: int, app_status: int = 0, protocol_status: ProtocolStatus = ProtocolStatus.REQUEST_COMPLETE
) -> bytes:
    """END_REQUEST (5.5)."""
    return pack_record(RecordType.END_REQUEST, request_id, END_BODY.pack(app_status & 0xFFFFFFFF, protocol_status))


def pack_break(request_id: int) -> bytes:
    """What makes a web server see that an answer will never be complete; the connection is closed after it.

    The protocol has no word for that, and nginx takes a plain close for a good end. This is the head of a record that
    an application must not send: nginx stops at its type, others (Caddy, Apache) at the content that does not come.
    """
    return _pack_header(VERSION, RecordType.ABORT_REQUEST, request_id, MAX_CONTENT, 0)


def pack_finish(request_id: int) -> bytes:
    """What ends a good answer: the end of STDOUT and END_REQUEST."""
    return _FINISH_1 if request_id == 1 else pack_record(_STDOUT, request_id, b"") + pack_end(request_id)


def pack_refusal(request_id: int) -> bytes:
    """What keeps a web server from using the connection again; the connection is closed after it.

    FastCGI has no word for that, and what is closed right after END_REQUEST may carry the next request already. nginx
    takes a connection for the next request only if nothing follows END_REQUEST. An empty piece of STDERR means nothing
    to who does read it.
    """
    return pack_record(RecordType.STDERR, request_id, b"")


def pack_answer(request_id: int, data: bytes) -> bytes:
    """A short last piece of an answer (at most MAX_CONTENT bytes) and its end."""
    if request_id == 1 and data:
        return _pack_header(VERSION, _STDOUT, 1, len(data), 0) + data + _FINISH_1
    return (pack_stdout(request_id, data) if data else b"") + pack_finish(request_id)


def pack_stdout(request_id: int, data: bytes) -> bytes:
    """One STDOUT record; `data` has 1 to MAX_CONTENT bytes."""
    return pack_head(request_id, len(data)) + data


@lru_cache(64)
def pack_head(request_id: int, size: int) -> bytes:
    """The head of a STDOUT record of 1 to MAX_CONTENT bytes."""
    return _pack_header(VERSION, _STDOUT, request_id, size, 0)


def split_records(data: bytes) -> list[memoryview]:
    """The header and the content of each record in turn, of bytes that are whole records without padding."""
    whole = memoryview(data)
    parts: list[memoryview] = []
    while whole:
        end = HEADER.size + HEADER.unpack_from(whole)[3]
        parts += (whole[: HEADER.size], whole[HEADER.size : end])
        whole = whole[end:]
    return parts


def pack_unknown_type(kind: int) -> bytes:
    """UNKNOWN_TYPE, the answer to a management record of a type we do not know (4.2)."""
    return pack_record(RecordType.UNKNOWN_TYPE, 0, UNKNOWN_BODY.pack(kind))


_FINISH_1 = pack_record(_STDOUT, 1, b"") + pack_end(1)
