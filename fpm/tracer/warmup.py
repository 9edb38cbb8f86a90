"""A look at a process that does not exist, before the real one is stopped. Pure.

A freshly forked process pays for each page that it touches first, and Python for each piece of code that it executes
first. Both would be the stopped process's time: a third of it for an ordinary stack. So the same code goes over made-up
memory once in the tracer when it starts, and once in each child.
"""

from __future__ import annotations

import codecs
import struct

from fpm.stacks.layout import NAMES, Layout
from fpm.stacks.reading.objects import UCS2, UCS4
from fpm.stacks.reading.walk import RawThread, ReadLimits, collect
from fpm.tracer.syscall_text import Context, describe

BASE = 0x10000
"""Of the made-up memory."""
SIZE = 0x10000
FRAMES = 20
CODES = 5
STRIDE = 0x200
"""Between two made-up structures."""
FIRST_FIELD, FIELD = 8, 8
TYPE_CODE, TYPE_STR, TYPE_BYTES = 0x2000, 0x2008, 0x2010
TEXT = b"application"
REGISTERS = dict.fromkeys(("orig_rax", "rdi", "rsi", "rdx", "r10", "r8", "r9", "rip"), 0)


def make_layout() -> Layout:
    """Make a layout in which each field has a place of its own; any would do."""
    values = {name: FIRST_FIELD + FIELD * number for number, name in enumerate(NAMES)}
    values |= {"at_interpreter": BASE, "at_code_type": TYPE_CODE, "at_str_type": TYPE_STR, "at_bytes_type": TYPE_BYTES}
    values |= {"object_type": 0, "thread_cframe": -1, "frame_entry": -1, "frame_shim": 3, "frame_tags": 0}
    values |= {"str_mask": 0xF, "str_ascii": 1, "str_latin1": 2, "str_ucs2": 3, "str_ucs4": 4}
    values |= {"code_start": 0, "version": 0x030D}
    return Layout(**values)


def make_memory(layout: Layout) -> bytes:
    """Make the memory of one thread with a stack of FRAMES calls of CODES functions."""
    memory = bytearray(SIZE)
    thread, text, table, codes = (BASE + STRIDE * number for number in (2, 4, 6, 8))
    frames = codes + CODES * STRIDE
    _put(memory, BASE, {layout.interpreter_threads: thread})
    _put(memory, thread, {layout.thread_interpreter: BASE, layout.thread_ident: 1, layout.thread_frame: frames})
    _put(memory, text, {layout.object_type: TYPE_STR, layout.str_length: len(TEXT), layout.str_state: layout.str_ascii})
    start = text + layout.str_ascii_data - BASE
    memory[start : start + len(TEXT)] = TEXT
    _put(memory, table, {layout.object_type: TYPE_BYTES, layout.bytes_size: 8})
    for number in range(CODES):
        names = dict.fromkeys((layout.code_filename, layout.code_qualname), text)
        _put(memory, codes + number * STRIDE, {layout.object_type: TYPE_CODE, layout.code_table: table, **names})
    for number in range(FRAMES):
        code, older = codes + number % CODES * STRIDE, frames + (number + 1) * STRIDE if number < FRAMES - 1 else 0
        fields = {layout.frame_code: code, layout.frame_previous: older, layout.frame_instruction: code + 2}
        _put(memory, frames + number * STRIDE, fields)
    return bytes(memory)


def _put(memory: bytearray, address: int, fields: dict[int, int]) -> None:
    for offset, value in fields.items():
        struct.pack_into("<Q", memory, address - BASE + offset, value)


LAYOUT = make_layout()
MEMORY = make_memory(LAYOUT)


def warm_up() -> tuple[RawThread, ...]:
    """Walk through what `make_memory` has made, and put into words what a thread does.

    Codecs are found here as well: who reads a stranger's memory has no rights, and our Python may be root's alone.
    """
    for encoding in (UCS2, UCS4):
        codecs.lookup(encoding)
    describe(REGISTERS, Context({0: "read"}, _read, lambda fd: "/"))
    return collect(LAYOUT, _read, ReadLimits())


def _read(address: int, size: int) -> bytes:
    return MEMORY[address - BASE : address - BASE + size] if address >= BASE else b""
