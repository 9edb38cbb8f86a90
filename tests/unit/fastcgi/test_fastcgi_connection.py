"""The state machine: the same events however the bytes are cut, and an answer or an error for a malformed stream."""

from __future__ import annotations

import struct
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fpm.errors import ProtocolError
from fpm.fastcgi.connection import Connection, State
from fpm.fastcgi.constants import PARAMS_LIMIT
from fpm.fastcgi.events import NEED_DATA, Aborted, BodyData, BodyEnd, Event, Reply, RequestBegun
from fpm.fastcgi.params import decode_params
from fpm.fastcgi.simple import PARAMS_START, match_simple_request
from tests.support import raw_fastcgi as raw

LATIN = st.text(st.characters(max_codepoint=255), max_size=300)
PARAMS = st.dictionaries(st.text("ABCDEFGH_", min_size=1, max_size=20), LATIN, max_size=8)


def feed(machine: Connection, data: bytes) -> list[Event]:
    """All events of some bytes; neighbouring pieces of body as one."""
    machine.receive_data(data)
    events: list[Event] = []
    while (event := machine.next_event()) is not NEED_DATA:
        if isinstance(event, BodyData) and events and isinstance(events[-1], BodyData):
            event = BodyData(events.pop().data + event.data)
        events.append(event)
    return events


def merged(events: list[Event]) -> list[Event]:
    result: list[Event] = []
    for event in events:
        if isinstance(event, BodyData) and result and isinstance(result[-1], BodyData):
            result[-1] = BodyData(result[-1].data + event.data)
        else:
            result.append(event)
    return result


def feed_cut(data: bytes, cuts: list[int]) -> list[Event]:
    machine = Connection()
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    events: list[Event] = []
    for start, stop in pairwise(edges):
        events += feed(machine, data[start:stop])
    return merged(events)


def chopped(kind: int, data: bytes, sizes: list[int], padding: int) -> bytes:
    """A stream in records of these sizes in turn, each with padding."""
    out, at, turn = b"", 0, 0
    while at < len(data):
        size = sizes[turn % len(sizes)]
        out += raw.record(kind, data[at : at + size], padding=padding)
        at, turn = at + size, turn + 1
    return out + raw.record(kind, padding=padding)


def take_cut(data: bytes, cuts: list[int], wanted: list[int]) -> tuple[bytes, list[Event]]:
    """The body by take_body(), asked for so many bytes in turn, and the events beside it."""
    machine = Connection()
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    body, events, turn = b"", [], 0
    for start, stop in pairwise(edges):
        machine.receive_data(data[start:stop])
        while True:
            size = wanted[turn % len(wanted)]
            if parts := machine.take_body(size):
                assert 0 < sum(map(len, parts)) <= size
                body, turn = body + b"".join(parts), turn + 1
                continue
            if parts is None and machine.state is State.BODY:
                break
            event = machine.next_event()
            if event is NEED_DATA:
                break
            if isinstance(event, BodyData):
                machine.return_body(event.data)
            elif not isinstance(event, BodyEnd):
                events.append(event)
    return body, [*events, machine.state]


@given(
    body=st.binary(max_size=500),
    sizes=st.lists(st.integers(1, 200), min_size=1, max_size=5),
    padding=st.integers(0, 255),
    between=st.sampled_from([b"", raw.record(raw.GET_VALUES, request=0), raw.record(77, b"x" * 9, request=0)]),
    after=st.sampled_from([b"", raw.record(raw.STDIN, b"too late"), raw.begin()[:5]]),
    cuts=st.lists(st.integers(0, 10**6), max_size=12),
    wanted=st.lists(st.integers(1, 300), min_size=1, max_size=4),
)
def test_a_body_that_is_taken_in_pieces_is_the_same_however_it_is_cut(
    body, sizes, padding, between, after, cuts, wanted
):
    head = raw.begin() + raw.stream(raw.PARAMS, raw.pairs({"A": "b"}))
    half = len(body) // 2
    stream = chopped(raw.STDIN, body[:half], sizes, padding)[: -8 - padding] + between
    stream += chopped(raw.STDIN, body[half:], sizes, padding) + after
    got, events = take_cut(head + stream, cuts, wanted)
    assert got == body
    assert events[0] == RequestBegun(1, False, {"A": "b"})
    assert [type(event) for event in events[1:-1]] == [Reply] * bool(between)
    assert events[-1] is State.ACTIVE


def test_what_comes_byte_by_byte_is_not_copied_each_time():
    """A record amid the body that is none of it, and comes slowly."""
    machine = Connection()
    feed(machine, raw.begin() + raw.stream(raw.PARAMS, b""))
    machine.receive_data(raw.record(raw.GET_VALUES, bytes(60500), request=0)[:60000])
    machine.take_body(1)
    machine.next_event()
    before = machine._buffer
    for _ in range(100):
        machine.receive_data(b"b")
        assert (machine.take_body(1), machine.next_event()) == ([], NEED_DATA)
    assert machine._buffer is before
    assert len(machine._buffer) == 60100


@given(
    params=PARAMS,
    body=st.binary(max_size=500),
    sizes=st.lists(st.integers(1, 400), min_size=1, max_size=5),
    padding=st.integers(0, 255),
    keep=st.booleans(),
    cuts=st.lists(st.integers(0, 10**6), max_size=8),
)
def test_any_cut_gives_the_same_events(params, body, sizes, padding, keep, cuts):
    data = raw.begin(flags=int(keep)) + chopped(raw.PARAMS, raw.pairs(params), sizes, padding)
    data += chopped(raw.STDIN, body, sizes, padding)
    expected: list[Event] = [RequestBegun(1, keep, params)]
    if body:
        expected.append(BodyData(body))
    assert feed_cut(data, cuts) == [*expected, BodyEnd()]


@given(params=PARAMS, keep=st.booleans(), padding=st.integers(0, 255), cuts=st.lists(st.integers(0, 10**6), max_size=8))
def test_the_short_way_means_what_the_state_machine_means(params, keep, padding, cuts):
    content = raw.pairs(params) or raw.pairs({"A": "b"})
    data = raw.begin(flags=int(keep)) + raw.record(raw.PARAMS, content, padding=padding) + raw.record(raw.PARAMS)
    data += raw.record(raw.STDIN)
    match = match_simple_request(data)
    assert match is not None
    request = RequestBegun(1, match[0], decode_params(data, PARAMS_START, match[1]))
    assert [request, BodyEnd()] == feed_cut(data, cuts)


@given(
    data=st.one_of(st.binary(max_size=200), st.builds(raw.request_bytes, PARAMS, st.binary(max_size=20))),
    flip=st.tuples(st.integers(0, 10**6), st.integers(0, 255)),
)
def test_what_the_short_way_takes_the_state_machine_takes_too(data, flip):
    changed = bytearray(data)
    if changed:
        changed[flip[0] % len(changed)] = flip[1]
    changed = bytes(changed)
    match = match_simple_request(changed)
    if match is None:
        return
    try:
        params = decode_params(changed, PARAMS_START, match[1])
    except ProtocolError:
        with pytest.raises(ProtocolError):
            feed(Connection(), changed)
        return
    assert feed(Connection(), changed) == [RequestBegun(1, match[0], params), BodyEnd()]


@settings(max_examples=300)
@given(data=st.binary(max_size=300), cuts=st.lists(st.integers(0, 10**6), max_size=4))
def test_random_bytes_give_events_or_a_protocol_error(data, cuts):
    for stream in (data, raw.begin() + data, raw.begin() + raw.stream(raw.PARAMS, raw.pairs({"A": "b"})) + data):
        try:
            whole = feed_cut(stream, [])
        except ProtocolError:
            with pytest.raises(ProtocolError):
                feed_cut(stream, cuts)
        else:
            assert feed_cut(stream, cuts) == whole


def test_one_byte_at_a_time():
    data = raw.request_bytes(raw.web_params("/x"), b"body", flags=raw.KEEP_CONN)
    assert feed_cut(data, list(range(len(data)))) == feed_cut(data, [])


def test_params_beyond_64_kib_with_pairs_split_anywhere():
    params = {"BIG": "x" * 100_000, "SMALL": "y"}
    events = feed(Connection(), raw.begin() + raw.stream(raw.PARAMS, raw.pairs(params)))
    assert events == [RequestBegun(1, False, params)]


def test_ten_thousand_params():
    params = {f"NAME_{number}": str(number) for number in range(10_000)}
    events = feed(Connection(), raw.request_bytes(params))
    assert events[0] == RequestBegun(1, False, params)


def test_params_are_bounded():
    machine = Connection()
    feed(machine, raw.begin())
    record = raw.record(raw.PARAMS, bytes(60_000))
    for _ in range(PARAMS_LIMIT // 60_000):
        feed(machine, record)
    with pytest.raises(ProtocolError, match="bytes of PARAMS"):
        feed(machine, record)
    with pytest.raises(ProtocolError, match="already broken"):
        machine.next_event()


def test_lengths_that_lie():
    machine = Connection()
    with pytest.raises(ProtocolError, match="longer than the stream"):
        feed(machine, raw.begin() + raw.stream(raw.PARAMS, b"\x05\x7fNAME"))
    with pytest.raises(ProtocolError, match="in the middle of its lengths"):
        feed(Connection(), raw.begin() + raw.stream(raw.PARAMS, b"\xff"))
    with pytest.raises(ProtocolError, match="longer than the stream"):
        feed(Connection(), raw.begin() + raw.stream(raw.PARAMS, b"\xff\xff\xff\xff\xff\xff\xff\xffA"))


def test_another_version_is_an_error():
    with pytest.raises(ProtocolError, match="version 2"):
        feed(Connection(), raw.record(raw.BEGIN, bytes(8), version=2))


def test_begin_request_of_a_wrong_size():
    with pytest.raises(ProtocolError, match="BEGIN_REQUEST of 3 bytes"):
        feed(Connection(), raw.record(raw.BEGIN, b"abc"))


def end(request: int, protocol_status: int) -> bytes:
    return raw.record(raw.END, struct.pack(">IB3x", 0, protocol_status), request=request)


@pytest.mark.parametrize("role", [raw.AUTHORIZER, raw.FILTER, 77])
@pytest.mark.parametrize("keep", [False, True])
def test_unknown_role(role, keep):
    machine = Connection()
    asked = raw.request_bytes({"A": "b"}, b"body")
    data = raw.begin(role=role, flags=int(keep)) + asked[16:]
    assert feed(machine, data) == [Reply(end(1, raw.UNKNOWN_ROLE), close=not keep)]
    assert machine.clean
    assert isinstance(feed(machine, asked)[0], RequestBegun)


@pytest.mark.parametrize("after", [1, 2, 3])
def test_a_second_request_while_the_first_still_comes(after):
    head, params = raw.begin(), raw.stream(raw.PARAMS, raw.pairs({"A": "1"}))
    first = [head, params, raw.record(raw.STDIN, b"x"), raw.record(raw.STDIN)]
    second = raw.request_bytes({"A": "2"}, request=2)
    events = feed(Connection(), b"".join([*first[:after], second, *first[after:]]))
    assert events.count(Reply(end(2, raw.CANT_MPX_CONN))) == 1
    assert events[-1] == BodyEnd()


@pytest.mark.parametrize("number", [1, 2])
def test_a_second_request_behind_a_first_that_is_all_there(number):
    first = raw.request_bytes({"A": "1"}, request=1, flags=1)
    second = raw.request_bytes({"A": "2"}, b"x", request=number, flags=1)
    machine = Connection()
    assert feed(machine, first + second) == [RequestBegun(1, True, {"A": "1"}), BodyEnd()]
    assert (machine.clean, machine.unread) == (False, None)
    machine.end_request()
    assert (machine.clean, machine.unread) == (False, second)
    assert feed(machine, b"") == [RequestBegun(number, True, {"A": "2"}), BodyData(b"x"), BodyEnd()]


def test_the_same_request_begun_twice():
    with pytest.raises(ProtocolError, match="which is active"):
        feed(Connection(), raw.begin() + raw.begin())


def test_get_values_answers_only_what_it_knows():
    asked = raw.pairs({"FCGI_MAX_CONNS": "", "FCGI_MPXS_CONNS": "", "SOMETHING": ""})
    [reply] = feed(Connection(max_conns=7), raw.record(raw.GET_VALUES, asked, request=0))
    assert isinstance(reply, Reply)
    assert reply.data[:8] == raw.record(raw.GET_VALUES_RESULT, reply.data[8:], request=0)[:8]
    assert raw.unpairs(reply.data[8:]) == [("FCGI_MAX_CONNS", "7"), ("FCGI_MPXS_CONNS", "0")]


def test_unknown_management_record():
    [reply] = feed(Connection(), raw.record(99, b"what?", request=0))
    assert reply == Reply(raw.record(raw.UNKNOWN_TYPE, b"\x63" + bytes(7), request=0))


def test_abort():
    machine = Connection()
    assert feed(machine, raw.begin() + raw.record(raw.ABORT)) == [Reply(end(1, raw.COMPLETE), close=True)]
    events = feed(machine, raw.request_bytes({"A": "b"}) + raw.record(raw.ABORT))
    assert events[1:] == [BodyEnd(), Aborted()]


def test_what_is_ignored():
    strangers = raw.record(raw.DATA, b"data") + raw.record(raw.STDIN, b"x", request=9) + raw.record(raw.STDOUT, b"y")
    strangers += raw.record(raw.ABORT, request=9) + raw.record(99, b"z", request=9) + raw.record(raw.PARAMS, b"\xff")
    machine = Connection()
    assert feed(machine, strangers) == []
    data = raw.begin() + raw.record(raw.DATA, b"d") + raw.stream(raw.PARAMS, raw.pairs({"A": "b"})) + strangers
    assert feed(machine, data + raw.record(raw.STDIN)) == [RequestBegun(1, False, {"A": "b"}), BodyEnd()]


def test_request_id_zero_and_the_largest():
    for number in (0, 65535):
        events = feed(Connection(), raw.request_bytes({"A": "b"}, b"x", request=number))
        assert events == [RequestBegun(number, False, {"A": "b"}), BodyData(b"x"), BodyEnd()]


def test_what_is_left_of_a_body_after_the_answer_is_ignored():
    machine = Connection()
    whole = raw.request_bytes({"A": "b"}, bytes(1000), flags=1)
    feed(machine, whole[:500])
    machine.end_request()
    assert machine.unread is None
    assert feed(machine, whole[500:]) == []
    assert machine.clean
    assert machine.unread == b""
