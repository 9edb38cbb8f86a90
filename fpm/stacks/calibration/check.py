"""Is a layout right? Stacks read by it must be the stacks that there are, and CPython's own table must agree."""

from __future__ import annotations

import struct
import sys
from types import FrameType

from fpm.errors import CalibrationError
from fpm.stacks.calibration.frames import Standing, chain_of
from fpm.stacks.calibration.threads import (
    CALLED_BY_C,
    LOCALS,
    PLAIN_CALLS,
    allocate_lock,
    current_frames,
    get_ident,
    start_thread,
)
from fpm.stacks.layout import Layout
from fpm.stacks.reading.lines import resolve
from fpm.stacks.reading.memory import Read
from fpm.stacks.reading.walk import RawThread, ReadLimits, collect
from fpm.stacks.trace import Frame

COOKIE = b"xdebugpy"
"""Begins _PyRuntime since 3.13."""
TABLES = {
    0x030D: ". . / . . . / . . . interpreter_threads . . . . . . . . . / . . thread_next thread_interpreter "
    "thread_frame thread_ident thread_native . . / . frame_previous frame_code frame_instruction frame_locals "
    "frame_owner / . code_filename . code_qualname code_table code_firstline . code_names . code_start / . object_type "
    "/ . type_name . . / . tuple_items tuple_size / . . . / . . . / . float_value / . int_size int_digits "
    "/ . bytes_size bytes_data / . str_state str_length .",
    0x030E: ". . / . . . / . . . interpreter_threads . . . . . . . . . . . . / . . thread_next thread_interpreter "
    "thread_frame thread_ident thread_native . . / . frame_previous frame_code frame_instruction frame_locals "
    "frame_owner . . / . code_filename . code_qualname code_table code_firstline . code_names . code_start . "
    "/ . object_type / . type_name . . / . tuple_items tuple_size / . . . / . . . . / . . . / . float_value "
    "/ . int_size int_digits / . bytes_size bytes_data / . str_state str_length .",
}
"""The fields of _Py_DebugOffsets behind the cookie by version (Include/internal/pycore_runtime.h of 3.13,
pycore_debug_offsets.h of 3.14): 64 bits each, "." for one that is not compared, "/" between its structures."""
PATIENCE = 3.0
"""Seconds for the thread that reads the others."""


def check_offsets(values: dict[str, int], read: Read, runtime: int) -> None:
    """Compare with _Py_DebugOffsets, where this version has it and its place is known.

    Args:
        values: a layout's fields.
        runtime: address of _PyRuntime; 0: not known.

    Raises:
        CalibrationError: they differ.
    """
    table = TABLES.get(sys.hexversion >> 16)
    if table is None or not runtime:
        return
    names = [name for name in table.split() if name != "/"]
    block = read(runtime, len(COOKIE) + 8 * len(names))
    if not block.startswith(COOKIE):
        return
    for name, value in zip(names, struct.unpack_from(f"={len(names)}Q", block, len(COOKIE)), strict=True):
        if name != "." and value != values[name]:
            raise CalibrationError(f"{name}: {values[name]} was found, but _Py_DebugOffsets has {value}")


def check_stacks(layout: Layout, read: Read, standing: list[Standing]) -> None:
    """Read the stacks of the threads that stand still as a reader outside would, and this one's, down to the template.

    Raises:
        CalibrationError: a name, a file, a line, a local variable, a number or a mark differs from what is true.
    """
    # A stack that is being used changes under its reader, so another thread reads while this one waits.
    done, failures, here = allocate_lock(), ["it has not come to its end"], get_ident()
    done.acquire()

    def run() -> None:
        try:
            _check_threads(layout, read, standing, here)
            failures.clear()
        except CalibrationError as error:
            failures[:] = [str(error)]
        except BaseException as error:
            failures[:] = [f"{type(error).__name__}: {error}"]
        finally:
            done.release()

    start_thread(run)
    done.acquire(timeout=PATIENCE)
    if failures:
        raise CalibrationError(f"self-check: {failures[0]}")


def _check_threads(layout: Layout, read: Read, standing: list[Standing], waiting: int) -> None:
    found = {thread.ident: thread for thread in collect(layout, read, ReadLimits(), values="values")}
    for one in standing:
        thread = _thread(found, one.parked.ident)
        frames = resolve(thread)
        _compare(frames, one.frames)
        _check_entries(frames, one.frames)
        if thread.native_id != one.parked.native_id:
            raise CalibrationError(f"thread {one.parked.native_id} appears as {thread.native_id}")
        if not set(LOCALS) <= set(frames[0].values):
            raise CalibrationError(f"local variables are {frames[0].values}")
    _compare(resolve(_thread(found, waiting)), chain_of(current_frames().get(waiting)))


def _thread(found: dict[int, RawThread], ident: int) -> RawThread:
    thread = found.get(ident)
    if thread is None or thread.note:
        raise CalibrationError(f"{thread.note if thread else f'thread {ident:#x} is not found'}")
    return thread


def _compare(frames: tuple[Frame, ...], truth: list[FrameType]) -> None:
    got = [(frame.function, frame.file, frame.line) for frame in frames]
    wanted = [
        (frame.f_code.co_qualname, frame.f_code.co_filename, frame.f_lineno or frame.f_code.co_firstlineno)
        for frame in truth
    ]
    if got != wanted:
        different = [pair for pair in zip(got, wanted, strict=False) if pair[0] != pair[1]]
        which = (
            f"{different[0][0]} instead of {different[0][1]}" if different else f"{len(got)} not {len(wanted)} frames"
        )
        raise CalibrationError(f"{which}")


def _check_entries(frames: tuple[Frame, ...], truth: list[FrameType]) -> None:
    for frame, true in zip(frames, truth, strict=True):
        name = true.f_code.co_name
        if (name == CALLED_BY_C and not frame.entry) or (name in PLAIN_CALLS and frame.entry):
            raise CalibrationError(f"{name}() is taken for {'an' if frame.entry else 'no'} entry from C")
