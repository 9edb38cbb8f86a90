"""Layouts come from processes that nobody trusts."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, strategies

from fpm.stacks.layout import ADDRESS_LIMIT, NAMES, OPTIONAL, RANGES, LayoutError, parse_layout
from fpm.stacks.reading.walk import ReadLimits, collect
from tests.unit.stack.process_image import LAYOUT, WITH_CFRAME

ANY_JSON = strategies.recursive(
    strategies.none() | strategies.booleans() | strategies.integers() | strategies.floats() | strategies.text(),
    lambda inner: strategies.lists(inner) | strategies.dictionaries(strategies.text(), inner),
    max_leaves=5,
)


@pytest.mark.parametrize("layout", [LAYOUT, WITH_CFRAME])
def test_a_layout_comes_back_from_its_message(layout: Any) -> None:
    assert parse_layout(json.loads(json.dumps(layout.as_message()))) == layout


@pytest.mark.parametrize("data", [None, 1, "layout", [], [LAYOUT.as_message()], {}])
def test_what_is_no_object_with_its_fields_is_refused(data: object) -> None:
    with pytest.raises(LayoutError):
        parse_layout(data)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [None, True, 1.0, "8", [8], -2, 1 << 63, float("nan")], ids=repr)
def test_a_field_that_is_no_number_in_its_range_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(LayoutError, match=name) as refused:
        parse_layout(LAYOUT.as_message() | {name: value})
    assert len(str(refused.value)) < 200


def test_a_number_of_any_length_is_refused() -> None:
    with pytest.raises(LayoutError, match="version is out of its range"):
        parse_layout(LAYOUT.as_message() | {"version": 1 << 20000})


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_field_is_refused_by_name(name: str) -> None:
    message: dict[str, Any] = LAYOUT.as_message()
    del message[name]
    with pytest.raises(LayoutError, match=f"{name} is missing"):
        parse_layout(message)


def test_a_strange_field_is_refused() -> None:
    with pytest.raises(LayoutError, match="no field 'more'"):
        parse_layout(LAYOUT.as_message() | {"more": 1})


@pytest.mark.parametrize("name", [name for name in NAMES if name not in RANGES and not name.startswith("at_")])
def test_offsets_end_at_a_megabyte_at_the_latest(name: str) -> None:
    for value in (1 << 20, -1 if name not in OPTIONAL else -2):
        with pytest.raises(LayoutError, match=name):
            parse_layout(LAYOUT.as_message() | {name: value})


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("at_")])
def test_addresses_lie_in_a_user_process(name: str) -> None:
    assert getattr(parse_layout(LAYOUT.as_message() | {name: ADDRESS_LIMIT - 1}), name) == ADDRESS_LIMIT - 1
    for value in (0, 4095, ADDRESS_LIMIT):
        with pytest.raises(LayoutError, match=name):
            parse_layout(LAYOUT.as_message() | {name: value})


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"code_filename": 44}, "code structure lie on each other"),
        ({"frame_previous": LAYOUT.frame_code}, "frame structure"),
        ({"frame_owner": LAYOUT.frame_instruction + 7}, "frame structure"),
        ({"thread_frame": LAYOUT.thread_next + 4}, "thread structure"),
        ({"str_state": LAYOUT.str_length + 4}, "str structure"),
        ({"int_digits": LAYOUT.int_size}, "int structure"),
        ({"str_ucs4": LAYOUT.str_ucs2}, "four forms"),
    ],
)
def test_fields_do_not_lie_on_each_other(change: dict[str, int], complaint: str) -> None:
    with pytest.raises(LayoutError, match=complaint):
        parse_layout(LAYOUT.as_message() | change)


@given(strategies.dictionaries(strategies.sampled_from(NAMES), ANY_JSON | strategies.integers(-2, 1 << 48)))
def test_what_is_let_through_can_be_walked_by(change: dict[str, Any]) -> None:
    try:
        layout = parse_layout(LAYOUT.as_message() | change)
    except LayoutError:
        return
    for filling in (b"\0", b"\x41", b"\xff"):
        assert collect(layout, lambda _, size, filling=filling: filling * size, ReadLimits(frames=20), "values")
