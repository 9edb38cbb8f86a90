"""Native calls among Python's."""

from __future__ import annotations

from fpm.stack.trace import Frame
from fpm.unwind.merge import merge
from fpm.unwind.unwind import NativeCall

PYTHON, LIBRARY = "/usr/bin/python3", "/lib/libx.so"
LOOP = NativeCall("_PyEval_EvalFrameDefault", PYTHON, 5, 5)


def frame(name: str) -> Frame:
    return Frame(name, "app.py", 1)


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
    frames = [frame("leaf"), frame("cmp"), frame("main"), frame("<module>")]
    merged = merge(frames, [False, True, False, True], calls)
    assert names(merged) == "*read *inner leaf cmp *qsort main <module>"
    assert merged[0].file == "/lib/libc.so.6"


def test_a_function_without_a_name_is_told_by_its_place() -> None:
    merged = merge([frame("main")], [True], [NativeCall("", LIBRARY, 0x1234, 0x34), LOOP])
    assert merged[0].function == "libx.so+0x34"
    assert merged[0].address == 0x1234


def test_stacks_that_do_not_fit_lose_no_python_frame() -> None:
    frames = [frame("a"), frame("b"), frame("c")]
    assert names(merge(frames, [True, True, True], [native("x"), LOOP])) == "*x a b c"
    assert names(merge(frames, [True, False, False], [native("x"), native("y")])) == "a b c"
    assert names(merge(frames, [True, False, False], [])) == "a b c"


def test_a_thread_of_c_alone() -> None:
    assert names(merge([], [], [native("worker"), native("clone3")])) == "*worker *clone3"
