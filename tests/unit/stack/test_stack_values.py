"""Local variables: simple values are shown, secrets and everything else are not."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, strategies

from fpm.stacks.layout import Layout
from fpm.stacks.reading.lines import resolve
from fpm.stacks.reading.walk import ReadLimits, collect
from tests.unit.stack.process_image import BASE, LAYOUT, Image


def shown(image: Image, level: str, **slots: int) -> dict[str, str]:
    """How a frame's variables are shown."""
    code = image.code("function", names=tuple(slots))
    image.thread(image.frame(code, slots=tuple(slots.values())))
    (thread,) = collect(image.layout, image.read, ReadLimits(), level)
    return dict(resolve(thread)[0].values)


def described(image: Image, address: int) -> str:
    return shown(image, "values", name=address)["name"]


def test_nothing_is_shown_unless_asked_for() -> None:
    image = Image()
    assert shown(image, "", number=image.integer(5)) == {}


def test_types_only() -> None:
    image = Image()
    variables = {"number": image.integer(5), "text": image.text("x"), "password": image.text("x"), "unset": 0}
    assert shown(image, "types", **variables) == {"number": "int", "text": "str", "password": "str"}


@pytest.mark.parametrize("tagged", [0, 1])
@given(value=strategies.integers(-(2**239), 2**239))
def test_integers(tagged: int, value: int) -> None:
    image = Image(Layout(**LAYOUT.as_message() | {"int_tagged": tagged}))
    assert described(image, image.integer(value)) == str(value)


def test_long_integers_are_not_shown() -> None:
    image = Image()
    for value in (2**240, -(2**240), 10**5000):
        assert described(image, image.integer(value)) == "<int>"


@given(strategies.floats())
def test_floats(value: float) -> None:
    image = Image()
    assert described(image, image.real(value)) == repr(value)


def test_texts_are_cut_and_quoted() -> None:
    image = Image()
    assert described(image, image.text("a'b\n")) == repr("a'b\n")
    assert described(image, image.text("x" * 24)) == f"'{'x' * 24}'"
    assert described(image, image.text("x" * 25)) == f"'{'x' * 24}'..."
    assert described(image, image.text("\u20ac" * 100000)) == f"'{chr(0x20AC) * 24}'..."


def test_singletons_cells_and_other_objects() -> None:
    image = Image()
    kind = BASE + 0x1800
    image.put(kind + LAYOUT.type_name, image.allocate(b"Thing\xff\0"))
    assert described(image, LAYOUT.at_none) == "None"
    assert described(image, LAYOUT.at_true) == "True"
    assert described(image, LAYOUT.at_false) == "False"
    assert described(image, image.an_object(LAYOUT.at_cell_type, 32)) == "<cell>"
    assert described(image, image.an_object(kind, 32)) == "<Thing\\xff>"
    assert described(image, image.tuple([])) == "<tuple>"


@pytest.mark.parametrize(
    "name",
    ["password", "passwd", "PASS", "db_passphrase", "api_token", "CSRFToken", "secret_key", "SECRET", "auth",
     "authorization", "http_cookie", "cookies", "key", "private_key", "credentials", "session_id"],
)  # fmt: skip
def test_names_that_sound_like_secrets_are_hidden(name: str) -> None:
    image = Image()
    assert shown(image, "values", **{name: image.text("hunter2"), "other": image.integer(1)}) == {
        name: "<hidden>",
        "other": "1",
    }
    assert shown(image, "values", **{name: image.integer(1234)}) == {name: "<hidden>"}


def test_what_cannot_be_read_is_said() -> None:
    image = Image()
    assert shown(image, "values", wild=BASE - 64, number=image.integer(1)) == {"wild": "???", "number": "1"}
    code = image.code("function", names=("one",))
    image.put(code + LAYOUT.code_names, BASE - 8)
    image.thread(image.frame(code, slots=(1,)))
    (thread,) = collect(LAYOUT, image.read, ReadLimits(), "values")
    assert resolve(thread)[0].values == ()


def test_tagged_integers_of_3_14() -> None:
    image = Image(Layout(**LAYOUT.as_message() | {"frame_tags": 3}))
    slots = {
        "small": 5 << 2 | 3,
        "negative": (-7 << 2 | 3) & (1 << 64) - 1,
        "unset": 1,
        "borrowed": image.text("x") | 1,
    }
    assert shown(image, "values", **slots) == {"small": "5", "negative": "-7", "borrowed": "'x'"}
    assert shown(image, "types", **slots) == {"small": "int", "negative": "int", "borrowed": "str"}


def test_only_so_many_frames_and_variables() -> None:
    image = Image()
    number = image.integer(1)
    code = image.code("deep", names=tuple(f"v{index}" for index in range(100)))
    frame = 0
    for _ in range(30):
        frame = image.frame(code, frame, slots=(number,) * 100)
    image.thread(frame)
    (thread,) = collect(LAYOUT, image.read, ReadLimits(), "values")
    assert [len(one.values) for one in resolve(thread)] == [60] * 20 + [0] * 10


def test_a_short_name_at_the_end_of_the_memory() -> None:
    image = Image()
    kind = image.allocate(bytes(64))
    end = BASE + len(image.memory)
    image.memory[-4:] = b"End\0"
    image.put(kind + LAYOUT.type_name, end - 4)
    assert struct.unpack_from("=Q", image.memory, kind + LAYOUT.type_name - BASE)[0] == end - 4
    assert described(image, image.an_object(kind, 32)) == "<End>"
