"""Messages between the master and a pool: what is packed is unpacked, and nothing else is ever believed."""

from __future__ import annotations

import json
import math
from dataclasses import fields
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpm.protocol import messages
from fpm.protocol.messages import Event, Fork, Forked, LogText, Quit, WorkerExited, pack, unpack_command, unpack_event
from fpm.protocol.spec import WorkerSettings
from fpm.protocol.wire import MESSAGE_MAX, MessageError, pack_message, unpack_message

EVENTS = get_args(messages.Event)
COMMANDS = get_args(messages.Command)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=5,
)


def values_of(hint: Any) -> st.SearchStrategy[Any]:
    """What a field may be."""
    origin = get_origin(hint)
    if origin is Annotated:
        base, limits = get_args(hint)
        if base is str:
            return st.text(max_size=int(limits.most))
        make = st.integers if base is int else st.floats
        return make(int(limits.least), int(limits.most))
    if origin is Literal:
        return st.sampled_from(get_args(hint))
    if origin is dict:
        return st.dictionaries(st.text(max_size=9), st.integers() | st.text(max_size=9), max_size=3)
    if hint is WorkerSettings:
        return instances(WorkerSettings)
    if hint is float:
        return st.floats(allow_nan=False)  # which would not even be equal to itself
    return st.from_type(hint)


def instances(kind: type[Any]) -> st.SearchStrategy[Any]:
    hints = get_type_hints(kind, include_extras=True)
    return st.builds(kind, **{field.name: values_of(hints[field.name]) for field in fields(kind)})


@given(st.one_of([instances(kind) for kind in EVENTS]))
def test_an_event_comes_as_it_was_sent(event: Event) -> None:
    assert unpack_event(pack(event)) == event
    with pytest.raises(MessageError, match="unknown kind"):
        unpack_command(pack(event))


@given(st.one_of([instances(kind) for kind in COMMANDS]))
def test_a_command_comes_as_it_was_sent(command: messages.Command) -> None:
    assert unpack_command(pack(command)) == command
    with pytest.raises(MessageError, match="unknown kind"):
        unpack_event(pack(command))


@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_nothing_but_a_message_error_is_raised(data: bytes) -> None:
    with pytest.raises(MessageError):
        unpack_event(data)
    with pytest.raises(MessageError):
        unpack_command(data)


@given(st.data())
def test_one_wrong_value_is_enough(data: st.DataObject) -> None:
    """With another value in one field it is refused, or it is a message that packs to what was read."""
    kind = data.draw(st.sampled_from([kind for kind in EVENTS if fields(kind)]))
    values = unpack_message(pack(data.draw(instances(kind))))
    values[data.draw(st.sampled_from(fields(kind))).name] = data.draw(JSON)
    try:
        event = unpack_event(json.dumps(values).encode())
    except MessageError:
        return
    assert unpack_event(pack(event)) == event


def exited(**changes: Any) -> bytes:
    values = {"v": 1, "kind": "WorkerExited", "pid": 5, "status": 9, "user": 1.5, "system": 2, "maxrss": 100}
    return json.dumps({name: value for name, value in (values | changes).items() if value != "absent"}).encode()


def test_what_it_looks_like() -> None:
    assert unpack_event(exited()) == WorkerExited(5, 9, 1.5, 2, 100)
    assert json.loads(pack(Forked(3, 77))) == {"v": 1, "kind": "Forked", "slot": 3, "pid": 77}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"v": 2}, "no message of version 1"),
        ({"v": True}, "no message of version 1"),
        ({"kind": "Exploded"}, "unknown kind 'Exploded'"),
        ({"kind": ["x" * 1000]}, r"unknown kind \['x{48}$"),
        ({"pid": 0}, "pid is not from 1 to"),
        ({"pid": 2**22 + 1}, "pid is not from 1 to"),
        ({"pid": True}, "pid is bool, not int"),
        ({"pid": 5.0}, "pid is float, not int"),
        ({"pid": None}, "pid is NoneType, not int"),
        ({"status": 0x10000}, "status is not from 0 to 65535"),
        ({"user": math.nan}, "user is not from 0 to"),
        ({"user": math.inf}, "user is not from 0 to"),
        ({"system": -1}, "system is not from 0 to"),
        ({"maxrss": 2**60}, "maxrss is not from 0 to"),
        ({"maxrss": "absent"}, "WorkerExited without maxrss"),
    ],
)
def test_what_is_refused_and_why(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(MessageError, match=reason):
        unpack_event(exited(**change))


@pytest.mark.parametrize("data", [b"", b"{", b"[" * 5000, b"\xff\xfe", b"9" * 5000, b'{"v": 1}', b"null"])
def test_what_is_no_message(data: bytes) -> None:
    with pytest.raises(MessageError):
        unpack_event(data)


def test_fields_of_a_later_release_are_ignored_and_new_ones_have_defaults() -> None:
    assert unpack_command(b'{"v": 1, "kind": "Quit", "later": [1]}') == Quit(final=False)
    with pytest.raises(MessageError, match="Fork without hold"):
        unpack_command(b'{"v": 1, "kind": "Fork", "slot": 1}')
    assert unpack_command(pack(Fork(1, hold=True))) == Fork(1, hold=True)


def test_a_long_text_is_cut_in_the_middle() -> None:
    data = pack(LogText("error", "a" * MESSAGE_MAX + "z" * MESSAGE_MAX))
    assert len(data) <= MESSAGE_MAX
    event = unpack_event(data)
    assert isinstance(event, LogText)
    assert event.text.startswith("aaa")
    assert "characters left out" in event.text
    assert event.text.endswith("zzz")


def test_what_cannot_be_cut_is_refused() -> None:
    with pytest.raises(MessageError, match="too long"):
        pack_message({"list": ["x" * 100] * 1000})
