"""The walk over memory that is right, and over memory that is anything."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies

from fpm.stacks.layout import Layout
from fpm.stacks.reading.lines import resolve
from fpm.stacks.reading.memory import PAGE
from fpm.stacks.reading.walk import RawThread, ReadLimits, collect
from fpm.stacks.trace import Frame
from tests.unit.stack.process_image import BASE, LAYOUT, WITH_CFRAME, Image

NAMES = ["plain", "caf\xe9", "\u20ac", "\U0001f600"]


def names(thread: RawThread) -> list[str]:
    return [frame.function for frame in resolve(thread)]


def walked(image: Image, **limits: int) -> tuple[RawThread, ...]:
    return collect(image.layout, image.read, ReadLimits(**limits))


@pytest.mark.parametrize("layout", [LAYOUT, WITH_CFRAME])
def test_threads_frames_and_code(layout: Layout) -> None:
    image = Image(layout)
    frame = 0
    for index, name in enumerate(NAMES):
        frame = image.frame(image.code(name, f"/srv/{name}.py", 10 * index), frame, offset=2)
    first = image.thread(frame, ident=1 << 40, native_id=4321)
    image.thread(0, ident=5, native_id=4322, following=first)
    newest, oldest = walked(image)
    assert newest == RawThread(5, 4322, ())
    assert (oldest.ident, oldest.native_id, oldest.note) == (1 << 40, 4321, "")
    seen = [(one.function, one.file, one.line) for one in resolve(oldest)]
    assert seen == [(name, f"/srv/{name}.py", 10 * index) for index, name in reversed(list(enumerate(NAMES)))]
    assert oldest.frames[0].address == frame


def test_shims_are_no_frames_but_mark_the_one_that_c_has_called() -> None:
    image = Image()
    shim = image.frame(0, owner=3)
    main = image.frame(image.code("main"), shim)
    shim = image.frame(1, main, owner=4)
    generator = image.frame(image.code("generator"), shim, owner=1)
    image.thread(image.frame(image.code("called"), generator))
    (thread,) = walked(image)
    marks = [(frame.function, frame.entry) for frame in resolve(thread)]
    assert marks == [("called", False), ("generator", True), ("main", True)]


def test_entry_bytes_of_3_11() -> None:
    image = Image(WITH_CFRAME)
    main = image.frame(image.code("main"), entry=1, owner=200)
    image.thread(image.frame(image.code("called"), main))
    assert [frame.entry for frame in resolve(walked(image)[0])] == [False, True]


@pytest.mark.parametrize(("file", "table", "stays"), [
    ("<shim>", b"", False), ("__init__", b"\xfb", False), ("__init__", b"\xd8\x00", True), ("app", b"", True),
])  # fmt: skip
def test_code_between_calls_is_dropped(file: str, table: bytes, stays: bool) -> None:
    image = Image()
    main = image.frame(image.code("main"))
    image.thread(image.frame(image.code("between", file, table=table), main))
    assert names(walked(image)[0]) == ["between", "main"] if stays else ["main"]


def test_tags_in_a_frame_are_no_part_of_the_address() -> None:
    image = Image(Layout(**LAYOUT.as_message() | {"frame_tags": 3}))
    code = image.code("main")
    frame = image.frame(code, offset=4)
    image.put(frame + LAYOUT.frame_code, code | 1)
    image.thread(frame)
    (thread,) = walked(image)
    assert (names(thread), thread.frames[0].offset) == (["main"], 4)


def test_long_names_are_cut() -> None:
    image = Image()
    image.thread(image.frame(image.code("n" * 65536, "\u20ac" * 10000)))
    (frame,) = resolve(walked(image)[0])
    assert (frame.function, frame.file) == ("n" * 1000 + "...", "\u20ac" * 4096 + "...")


def test_names_with_any_characters() -> None:
    image = Image()
    image.thread(image.frame(image.code("a\nb\x1b[1m\0", "/srv/\udcff\U0001f600.py")))
    (frame,) = resolve(walked(image)[0])
    assert (frame.function, frame.file) == ("a\nb\x1b[1m\0", "/srv/\\udcff\U0001f600.py")
    frame.file.encode()


def test_what_cannot_be_read_of_a_code_object_is_left_out() -> None:
    image = Image()
    code = image.code("lost", "/srv/lost.py", 7)
    image.put(code + LAYOUT.code_qualname, 0)
    image.put(code + LAYOUT.code_table, BASE + 8)
    image.thread(image.frame(code, image.frame(image.code("main"))))
    lost, main = resolve(walked(image)[0])
    assert (lost.function, lost.file, lost.line, main.function) == ("???", "/srv/lost.py", 7, "main")


def test_a_string_of_enormous_length_does_not_matter() -> None:
    image = Image()
    code = image.code("main")
    image.put(code + LAYOUT.code_qualname, image.text("short", length=(1 << 64) - 1))
    image.thread(image.frame(code))
    (frame,) = resolve(walked(image)[0])
    assert frame.function.startswith("short")
    assert len(frame.function) <= 1003
    assert sum(size for _, size in image.reads) < 1 << 20


@pytest.mark.parametrize("pointer", [1, 0xFFF, BASE - 8, BASE + (1 << 30), (1 << 47) - 4, 1 << 47, (1 << 64) - 1])
def test_wild_pointers_end_the_walk_with_a_note(pointer: int) -> None:
    image = Image()
    image.thread(image.frame(image.code("called"), image.frame(pointer)))
    (thread,) = walked(image)
    assert names(thread) == ["called"]
    assert thread.note

    image.thread(image.frame(image.code("called"), pointer))
    (thread,) = walked(image)
    assert names(thread) == ["called"]
    assert thread.note

    image.thread(0, native_id=9, following=pointer)
    thread, end = walked(image)
    assert (thread.native_id, thread.note, end.native_id, end.frames) == (9, "", 0, ())
    assert end.note

    image.put(LAYOUT.at_interpreter + LAYOUT.interpreter_threads, pointer)
    (end,) = walked(image)
    assert end.note


def test_rings_end() -> None:
    image = Image()
    oldest = image.frame(image.code("main"))
    newest = image.frame(image.code("called"), oldest)
    image.put(oldest + LAYOUT.frame_previous, newest)
    thread = image.thread(newest)
    image.put(thread + LAYOUT.thread_next, thread)
    first, end = walked(image)
    assert names(first) == ["called", "main"]
    assert (first.note, end.note) == ("the frames are a ring", "the list of threads is a ring")


def test_an_endless_chain_of_shims_ends() -> None:
    image = Image()
    shim = 0
    for _ in range(5000):
        shim = image.frame(0, shim, owner=3)
    image.thread(shim)
    (thread,) = walked(image, frames=100)
    assert not thread.frames
    assert thread.note


def test_a_thread_of_another_interpreter_is_none() -> None:
    image = Image()
    thread = image.thread(0)
    image.put(thread + LAYOUT.thread_interpreter, BASE + 8)
    (end,) = walked(image)
    assert "no thread of this interpreter" in end.note


def test_limits_are_kept_and_said() -> None:
    image = Image()
    frame = thread = 0
    code = image.code("deep")
    for _ in range(100):
        frame = image.frame(code, frame)
    for number in range(20):
        thread = image.thread(frame, native_id=number + 1, following=thread)
    threads = walked(image, threads=3, frames=30)
    assert [len(one.frames) for one in threads] == [30, 30, 30, 0]
    assert threads[0].note == "only the newest 30 frames"
    assert threads[-1].note == "more than 3 threads"

    threads = walked(image, frames=80, total=190)
    assert [len(one.frames) for one in threads[-4:]] == [0, 30, 80, 80], "the oldest thread comes first"
    assert threads[-1].note == "only the newest 80 frames"
    assert threads[0].note == "too many frames in other threads"

    image.reads.clear()
    threads = walked(image, memory=3 * PAGE)
    assert threads[-1].note
    assert sum(size for _, size in image.reads) <= 3 * PAGE


def test_each_page_is_read_once() -> None:
    image = Image()
    frame = 0
    for number in range(50):
        frame = image.frame(image.code(f"f{number}"), frame)
    image.thread(frame)
    walked(image)
    assert len(image.reads) == len(set(image.reads))
    assert all(address % PAGE == 0 and size == PAGE for address, size in image.reads)


class Random:
    """Memory of any bytes, which stand still; some of it points into itself."""

    def __init__(self, data: bytes, holes: int) -> None:
        self.data = data
        self.holes = holes
        self.asked = 0

    def read(self, address: int, size: int) -> bytes:
        self.asked += size
        if address // PAGE % 7 == self.holes:
            return b""
        start = address % len(self.data)
        return (self.data[start:] + self.data * (size // len(self.data) + 1))[:size]


KNOWN = [
    LAYOUT.at_interpreter, LAYOUT.at_code_type, LAYOUT.at_str_type, LAYOUT.at_bytes_type, LAYOUT.at_tuple_type,
    LAYOUT.at_int_type, LAYOUT.at_float_type, LAYOUT.at_cell_type, LAYOUT.at_none, BASE + 64, BASE + 4090, 0, 1, 3,
    (1 << 47) - 1, (1 << 64) - 1,
]  # fmt: skip
POINTERS = strategies.sampled_from(KNOWN) | strategies.integers(BASE, BASE + (1 << 16))
WORDS = POINTERS.map(lambda value: value.to_bytes(8, "little")) | strategies.binary(min_size=8, max_size=8)


@settings(max_examples=300, deadline=None)
@given(
    strategies.lists(WORDS, min_size=4, max_size=200).map(b"".join),
    strategies.integers(0, 7),
    strategies.sampled_from([LAYOUT, WITH_CFRAME]),
    strategies.sampled_from(["", "types", "values"]),
)
def test_any_bytes_at_all_stay_within_the_limits(data: bytes, holes: int, layout: Layout, values: str) -> None:
    memory = Random(data, holes)
    limits = ReadLimits(threads=20, frames=30, memory=1 << 22)
    threads = collect(layout, memory.read, limits, values)
    assert 1 <= len(threads) <= 21
    assert memory.asked <= limits.memory
    for thread in threads:
        frames = resolve(thread)
        assert len(frames) <= 30
        for frame in frames:
            assert isinstance(frame, Frame)
            assert len(frame.function) <= 1003
            (frame.function + frame.file).encode()
            assert len(frame.values) <= 60


@settings(max_examples=300, deadline=None)
@given(
    strategies.lists(strategies.tuples(strategies.integers(0, 0x5FFF), strategies.integers(0, 255)), max_size=60),
    strategies.sampled_from([LAYOUT, WITH_CFRAME]),
)
def test_a_process_with_some_wrong_bytes(changes: list[tuple[int, int]], layout: Layout) -> None:
    image = Image(layout)
    frame = 0
    for number in range(10):
        code = image.code(f"f{number}", names=("one", "two"))
        frame = image.frame(code, frame, slots=(image.integer(5), image.text("text")))
    image.thread(frame, following=image.thread(frame))
    for place, value in changes:
        image.memory[place] = value
    threads = collect(layout, image.read, ReadLimits(threads=5, frames=50, memory=1 << 20), "values")
    assert threads
    for thread in threads:
        resolve(thread)
