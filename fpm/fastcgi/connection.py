"""The server's side of one FastCGI connection as a state machine without any input or output.

    receive_data(bytes)   what came from the peer, cut anywhere
    next_event()          what it means; NEED_DATA when it does not mean anything yet
    take_body(size)       what that is of a body, in pieces that are not copied
    end_request()         the driver has sent END_REQUEST

One request at a time. A second BEGIN_REQUEST while the first request is still coming is answered with CANT_MPX_CONN
(5.5); once all of that has come, it is the next request and left unread until the first has its END_REQUEST (HAProxy
sends it as soon as it has the answer's last byte). Records of requests that are not active are ignored, as 3.3 wants.
After a ProtocolError the connection is good for nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from struct import Struct

from fpm.errors import ProtocolError
from fpm.fastcgi.constants import BEGIN_BODY, HEADER, KEEP_CONN, PARAMS_LIMIT, VERSION, ProtocolStatus, RecordType, Role
from fpm.fastcgi.events import NEED_DATA, Aborted, BodyData, BodyEnd, Event, Reply, RequestBegun
from fpm.fastcgi.params import decode_params, encode_pair
from fpm.fastcgi.records import pack_end, pack_record, pack_unknown_type


class State(Enum):
    """Where the connection is with its request."""

    IDLE = "between requests"
    PARAMS = "variables are coming"
    BODY = "the body is coming"
    ACTIVE = "all has come, the answer is being made"
    ERROR = "broken"


_HEADER_SIZE = HEADER.size
_STDIN = int(RecordType.STDIN)
_STDIN_START = VERSION << 24 | _STDIN << 16
_unpack_start = Struct(">IHBx").unpack_from
"""Version, type and request id as one number; length, padding length."""
_NOTHING = memoryview(b"")


class Connection:
    """One connection from a web server.

    It has many methods: one for each kind of record, and for each way in and out.

    Args:
        max_conns, max_reqs: what GET_VALUES is told (4.1): how many connections and requests the pool takes at once.
    """

    def __init__(self, *, max_conns: int = 1, max_reqs: int = 1) -> None:
        self.state = State.IDLE
        self.request_id = 0
        self._keep = False
        self._values = {
            "FCGI_MAX_CONNS": max_conns,
            "FCGI_MAX_REQS": max_reqs,
            "FCGI_MPXS_CONNS": 0,
        }
        self._buffer = bytearray()
        """What has come and was not looked at yet, unless it is in the chunk; one of them is always empty."""
        self._chunk, self._at = _NOTHING, 0
        """While a body comes: what has come, as it came, and how much of it was taken."""
        self._params = bytearray()
        self._body_left = 0
        self._skip = 0

    @property
    def clean(self) -> bool:
        """Between requests and between records: forgetting this object loses nothing."""
        return self.state is State.IDLE and not self._buffer and not self._skip

    @property
    def unread(self) -> bytes | None:
        """Between requests: the bytes that another Connection would need to go on; None if that is not possible."""
        return bytes(self._buffer) if self.state is State.IDLE and not self._skip else None

    def adopt(self, request_id: int, keep: bool) -> None:
        """A request that was recognised without this object (match_simple_request) is the active one."""
        self.state, self.request_id, self._keep = State.ACTIVE, request_id, keep

    def receive_data(self, data: bytes) -> None:
        """Takes bytes from the peer."""
        if self.state is not State.BODY or self._buffer:
            self._buffer += data
            return
        rest = self._chunk[self._at :]
        self._chunk, self._at = memoryview(bytes(rest) + data if rest else data), 0

    def end_request(self) -> None:
        """END_REQUEST has gone out; what still comes for the request is ignored."""
        if self.state is not State.ERROR:
            self.state = State.IDLE
        self._leave_chunk()
        self._skip += self._body_left
        self._body_left = 0

    def take_body(self, size: int) -> list[memoryview] | None:
        """Take what has come of the body, at most `size` bytes of it (1 or more), and its end if that has come.

        Returns:
            None if there is nothing before more bytes come; no piece if next_event() has to say what has come.
        """
        parts: list[memoryview] = []
        if self.state is not State.BODY or (self._buffer and not self._enter_chunk()):
            return parts
        chunk, at, left, skip = self._chunk, self._at, self._body_left, self._skip
        if at == len(chunk):
            return None
        end, stdin = len(chunk), _STDIN_START | self.request_id
        is_all = True
        while True:
            if left:
                part = left if left < size else size
                if part > end - at:
                    part = end - at
                parts.append(chunk[at : at + part])
                at, left, size = at + part, left - part, size - part
                if left:
                    break
            head = at + skip
            if head + _HEADER_SIZE > end:
                break
            start, length, padding = _unpack_start(chunk, head)
            if start != stdin:
                is_all = False
                break
            at, left, skip = head + _HEADER_SIZE, length, padding
            if not length:
                self.state, is_all = State.ACTIVE, False
                break
            if at == end or not size:
                break
        self._at, self._body_left, self._skip = at, left, skip
        return None if is_all and not parts else parts

    def _enter_chunk(self) -> bool:
        """Go on without copies, unless what comes first is no body."""
        buffer = self._buffer
        if not self._body_left and (self._skip or len(buffer) < _HEADER_SIZE or buffer[1] != _STDIN):
            return False
        self._chunk, self._at = memoryview(bytes(buffer)), 0
        buffer.clear()
        return True

    def _leave_chunk(self) -> None:
        """Go on with the buffer, for all that is no body."""
        if self._at < len(self._chunk):
            self._buffer += self._chunk[self._at :]
        self._chunk, self._at = _NOTHING, 0

    def return_body(self, data: bytes) -> None:
        """Have a piece of the body back that next_event() has given: take_body() will give it."""
        self._leave_chunk()
        self._buffer[:0] = data
        self._body_left += len(data)

    def next_event(self) -> Event:
        """The next event of the bytes received so far.

        Raises:
            ProtocolError: no specification allows these bytes.
        """
        if self.state is State.ERROR:
            raise ProtocolError("the connection is already broken")
        if self._chunk:
            self._leave_chunk()
        try:
            while True:
                event = self._step()
                if event is not None:
                    return event
        except ProtocolError:
            self.state = State.ERROR
            raise

    def _step(self) -> Event | None:
        """One step: a piece of body, a skip, or a record; None when it means nothing to the driver."""
        buffer = self._buffer
        if self._body_left:
            return self._take_body()
        if self._skip:
            dropped = min(self._skip, len(buffer))
            del buffer[:dropped]
            self._skip -= dropped
        if self._skip or len(buffer) < _HEADER_SIZE:
            return NEED_DATA
        version, kind, request_id, length, padding = HEADER.unpack_from(buffer)
        if version != VERSION:
            raise ProtocolError(f"record of FastCGI version {version}")
        if kind == RecordType.BEGIN_REQUEST and self.state is State.ACTIVE:
            return NEED_DATA
        handler = self._find_handler(kind, request_id)
        if handler is None:
            del buffer[:_HEADER_SIZE]
            self._skip = length + padding
            return None
        if kind == RecordType.STDIN:
            del buffer[:_HEADER_SIZE]
            self._body_left, self._skip = length, padding
            return None if length else self._end_body()
        if len(buffer) < _HEADER_SIZE + length:
            return NEED_DATA
        content = bytes(buffer[_HEADER_SIZE : _HEADER_SIZE + length])
        del buffer[: _HEADER_SIZE + length]
        self._skip = padding
        return handler(self, kind, request_id, content)

    def _find_handler(self, kind: int, request_id: int) -> Callable[[Connection, int, int, bytes], Event | None] | None:
        """The function for a record, or None for a record to ignore."""
        if kind not in _KNOWN:
            return _HANDLERS["unknown"] if request_id == 0 else None
        if kind in (RecordType.BEGIN_REQUEST, RecordType.GET_VALUES):
            return _HANDLERS[kind]
        if request_id != self.request_id:
            return None
        return _HANDLERS.get((self.state, kind))

    def _take_body(self) -> Event:
        buffer = self._buffer
        if not buffer:
            return NEED_DATA
        data = bytes(memoryview(buffer)[: self._body_left])
        del buffer[: len(data)]
        self._body_left -= len(data)
        return BodyData(data)

    def _end_body(self) -> Event:
        self.state = State.ACTIVE
        return BodyEnd()

    def _begin(self, kind: int, request_id: int, content: bytes) -> Event | None:
        if len(content) != BEGIN_BODY.size:
            raise ProtocolError(f"BEGIN_REQUEST of {len(content)} bytes")
        role, flags = BEGIN_BODY.unpack(content)
        keep = bool(flags & KEEP_CONN)
        if self.state is not State.IDLE:
            if request_id == self.request_id:
                raise ProtocolError(f"BEGIN_REQUEST for request {request_id}, which is active")
            return Reply(pack_end(request_id, 0, ProtocolStatus.CANT_MPX_CONN))
        if role != Role.RESPONDER:
            return Reply(pack_end(request_id, 0, ProtocolStatus.UNKNOWN_ROLE), close=not keep)
        self.state, self.request_id, self._keep = State.PARAMS, request_id, keep
        self._params.clear()
        return None

    def _add_params(self, kind: int, request_id: int, content: bytes) -> Event | None:
        if content:
            if len(self._params) + len(content) > PARAMS_LIMIT:
                raise ProtocolError(f"more than {PARAMS_LIMIT} bytes of PARAMS")
            self._params += content
            return None
        params = decode_params(bytes(self._params))
        self._params.clear()
        self.state = State.BODY
        return RequestBegun(request_id, self._keep, params)

    def _abort(self, kind: int, request_id: int, content: bytes) -> Event | None:
        if self.state is not State.PARAMS:
            return Aborted()
        self.state = State.IDLE
        return Reply(pack_end(request_id), close=not self._keep)

    def _get_values(self, kind: int, request_id: int, content: bytes) -> Event | None:
        asked = decode_params(content)
        pairs = [encode_pair(name.encode(), b"%d" % self._values[name]) for name in asked if name in self._values]
        return Reply(pack_record(RecordType.GET_VALUES_RESULT, 0, b"".join(pairs)))

    def _unknown(self, kind: int, request_id: int, content: bytes) -> Event | None:
        return Reply(pack_unknown_type(kind))

    def _read_body(self, kind: int, request_id: int, content: bytes) -> Event | None:
        raise AssertionError("STDIN is read piece by piece, by _take_body")


_KNOWN = frozenset(RecordType)
_HANDLERS: dict[object, Callable[[Connection, int, int, bytes], Event | None]] = {
    "unknown": Connection._unknown,
    RecordType.BEGIN_REQUEST: Connection._begin,
    RecordType.GET_VALUES: Connection._get_values,
    (State.PARAMS, RecordType.PARAMS): Connection._add_params,
    (State.PARAMS, RecordType.ABORT_REQUEST): Connection._abort,
    (State.BODY, RecordType.STDIN): Connection._read_body,
    (State.BODY, RecordType.ABORT_REQUEST): Connection._abort,
    (State.ACTIVE, RecordType.ABORT_REQUEST): Connection._abort,
}
"""What is not here is ignored: DATA, records of requests that are over, a peer that sends us what only we may send."""
