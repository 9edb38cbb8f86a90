"""Native calls among Python's."""

from __future__ import annotations

from fpm.stacks.native.unwind import NativeCall, merge
from fpm.stacks.trace import Frame

PYTHON, LIBRARY = "/usr/bin/python3", "/lib/libx.so"
LOOP = NativeCall("_PyEval_EvalFrameDefault", PYTHON, 5, 5)


def python(text: str) -> list[Frame]:
    """Frames by their names, the newest first; a dot marks one that C has called."""
    return [Frame(name.rstrip("."), "app.py", 1, entry=name.endswith(".")) for name in text.split()]


def native(name: str, path: str = LIBRARY) -> NativeCall:
    return NativeCall(name, path, 0x1234, 0x34)


def names(frames: tuple[Frame, ...]) -> str:
    return " ".join(("*" if one.native else "") + one.function for one in frames)


def test_a_callback_from_c_stands_between() -> None:
    calls = [
        native("read", "/lib/libc.so.6"),
        native("inner", PYTHON),
        LOOP,
        native("call", PYTHON),
        native("qsort"),
        LOOP,
    ]
    calls += [native("Py_RunMain", PYTHON), native("_start", PYTHON)]
    merged = merge(python("leaf cmp. main <module>."), calls, whole=True)
    assert names(merged) == "*read *inner leaf cmp *qsort main <module>"
    assert merged[0].file == "/lib/libc.so.6"


def test_a_function_without_a_name_is_told_by_its_place() -> None:
    merged = merge(python("main."), [NativeCall("", LIBRARY, 0x1234, 0x34), LOOP], whole=True)
    assert merged[0].function == "libx.so+0x34"
    assert merged[0].address == 0x1234


def test_stacks_that_do_not_fit_lose_no_python_frame() -> None:
    assert names(merge(python("a. b. c."), [native("x"), LOOP], whole=True)) == "*x a b c"
    assert names(merge(python("a b c."), [native("x"), native("y")], whole=True)) == "a b c"
    assert names(merge(python("a b c."), [], whole=True)) == "a b c"


def test_a_stack_that_was_cut_keeps_what_stands_between_its_newest_frames() -> None:
    calls = [LOOP, native("qsort"), LOOP, native("map"), LOOP, native("main")]
    assert names(merge(python("a b. c"), calls, whole=False)) == "a b *qsort c"
    assert names(merge(python("a b. c. d."), calls[:3], whole=False)) == "a b *qsort c d"


def test_a_thread_of_c_alone() -> None:
    assert names(merge([], [native("worker"), native("clone3")], whole=True)) == "*worker *clone3"
