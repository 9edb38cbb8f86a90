"""A process made of bytes: an interpreter with threads, frames and code objects at offsets that no Python has."""

from __future__ import annotations

import struct
from dataclasses import replace

from fpm.stacks.layout import Layout

BASE = 0x5000_0000_0000
ONE_LINE = b"\xd8\x00"
"""A location table: the first instruction is in the first line."""
LAYOUT = Layout(
    version=0x030C, at_interpreter=BASE, at_code_type=BASE + 0x1000, at_str_type=BASE + 0x1100,
    at_bytes_type=BASE + 0x1200, at_tuple_type=BASE + 0x1300, at_int_type=BASE + 0x1400, at_float_type=BASE + 0x1500,
    at_cell_type=BASE + 0x1600, at_none=BASE + 0x1700, at_true=BASE + 0x1720, at_false=BASE + 0x1740,
    object_type=16, type_name=40, bytes_size=24, bytes_data=32, tuple_size=24, tuple_items=40,
    int_size=24, int_tagged=1, int_digits=32, int_digit_bits=30, float_value=24,
    str_length=32, str_state=24, str_mask=0x7C, str_ascii=0x64, str_latin1=0x24, str_ucs2=0x28, str_ucs4=0x30,
    str_ascii_data=48, str_data=64,
    code_filename=32, code_qualname=48, code_firstline=72, code_table=64, code_names=96, code_start=128,
    interpreter_threads=136, thread_interpreter=0, thread_next=24, thread_ident=32, thread_native=48,
    thread_cframe=-1, thread_frame=64,
    frame_code=8, frame_previous=24, frame_instruction=40, frame_owner=50, frame_entry=-1, frame_shim=3,
    frame_locals=56, frame_tags=0,
)  # fmt: skip
WITH_CFRAME = replace(LAYOUT, thread_cframe=72, thread_frame=8, frame_entry=51, frame_shim=256)
"""As in 3.11: a structure between thread and frame, entry marks in place of shims."""


class Image:
    """Memory that objects are put into, one after the other; `read` is how it is seen from outside."""

    def __init__(self, layout: Layout = LAYOUT) -> None:
        self.layout = layout
        self.memory = bytearray(1 << 16)
        self.used = 0x4000
        self.reads: list[tuple[int, int]] = []
        for name in ("code", "str", "bytes", "tuple", "int", "float", "cell"):
            self.put(getattr(layout, f"at_{name}_type") + layout.type_name, self.allocate(name.encode() + b"\0"))

    def read(self, address: int, size: int) -> bytes:
        self.reads.append((address, size))
        start = address - BASE
        return bytes(self.memory[start : start + size]) if 0 <= start < len(self.memory) else b""

    def put(self, address: int, value: int, form: str = "Q") -> None:
        struct.pack_into(f"={form}", self.memory, address - BASE, value)

    def allocate(self, data: bytes) -> int:
        address = BASE + self.used
        self.used += (len(data) + 31) & ~15
        while self.used > len(self.memory):
            self.memory += bytes(len(self.memory))
        self.memory[address - BASE : address - BASE + len(data)] = data
        return address

    def an_object(self, kind: int, size: int) -> int:
        address = self.allocate(bytes(size))
        self.put(address + self.layout.object_type, kind)
        return address

    def text(self, text: str, length: int | None = None) -> int:
        layout = self.layout
        top = max(map(ord, text), default=0)
        state, data, encoding = (
            (layout.str_ascii, layout.str_ascii_data, "ascii") if top < 0x80
            else (layout.str_latin1, layout.str_data, "latin-1") if top < 0x100
            else (layout.str_ucs2, layout.str_data, "utf-16-le") if top < 0x10000
            else (layout.str_ucs4, layout.str_data, "utf-32-le")
        )  # fmt: skip
        raw = text.encode(encoding, "surrogatepass" if top >= 0x100 else "strict")
        address = self.an_object(layout.at_str_type, data + len(raw))
        self.put(address + layout.str_length, len(text) if length is None else length)
        self.put(address + layout.str_state, state | 3, "I")  # other bits mean nothing
        self.memory[address + data - BASE : address + data - BASE + len(raw)] = raw
        return address

    def bytes(self, data: bytes) -> int:
        address = self.an_object(self.layout.at_bytes_type, self.layout.bytes_data + len(data))
        self.put(address + self.layout.bytes_size, len(data))
        start = address + self.layout.bytes_data - BASE
        self.memory[start : start + len(data)] = data
        return address

    def tuple(self, items: list[int]) -> int:
        address = self.an_object(self.layout.at_tuple_type, self.layout.tuple_items + 8 * len(items))
        self.put(address + self.layout.tuple_size, len(items))
        for index, item in enumerate(items):
            self.put(address + self.layout.tuple_items + 8 * index, item)
        return address

    def integer(self, value: int) -> int:
        digits = []
        rest = abs(value)
        while rest:
            digits.append(rest & (1 << 30) - 1)
            rest >>= 30
        address = self.an_object(self.layout.at_int_type, self.layout.int_digits + 4 * len(digits))
        sign = 2 if value < 0 else 1 if value == 0 else 0
        size = (
            len(digits) << 3 | sign if self.layout.int_tagged else (1 << 64) - len(digits) if value < 0 else len(digits)
        )
        self.put(address + self.layout.int_size, size)
        for index, digit in enumerate(digits):
            self.put(address + self.layout.int_digits + 4 * index, digit, "I")
        return address

    def real(self, value: float) -> int:
        address = self.an_object(self.layout.at_float_type, self.layout.float_value + 8)
        struct.pack_into("=d", self.memory, address + self.layout.float_value - BASE, value)
        return address

    def code(
        self,
        name: str,
        file: str = "/srv/app.py",
        line: int = 10,
        table: bytes = ONE_LINE,
        names: tuple[str, ...] = (),
    ) -> int:
        layout = self.layout
        address = self.an_object(layout.at_code_type, layout.code_start + 64)
        self.put(address + layout.code_qualname, self.text(name))
        self.put(address + layout.code_filename, self.text(file))
        self.put(address + layout.code_firstline, line, "i")
        self.put(address + layout.code_table, self.bytes(table))
        self.put(address + layout.code_names, self.tuple([self.text(one) for one in names]))
        return address

    def frame(
        self,
        code: int,
        previous: int = 0,
        offset: int = 0,
        owner: int = 0,
        entry: int = 0,
        slots: tuple[int, ...] = (),
    ) -> int:
        layout = self.layout
        address = self.allocate(bytes(layout.frame_locals + 8 * len(slots)))
        self.put(address + layout.frame_code, code)
        self.put(address + layout.frame_previous, previous)
        self.put(address + layout.frame_instruction, code + layout.code_start + offset & (1 << 64) - 1)
        self.put(address + layout.frame_owner, owner, "B")
        if layout.frame_entry >= 0:
            self.put(address + layout.frame_entry, entry, "B")
        for index, slot in enumerate(slots):
            self.put(address + layout.frame_locals + 8 * index, slot)
        return address

    def thread(self, frame: int, ident: int = 77, native_id: int = 7, following: int = 0) -> int:
        """The newest thread from now on."""
        layout = self.layout
        address = self.allocate(bytes(160))
        self.put(address + layout.thread_interpreter, layout.at_interpreter)
        self.put(address + layout.thread_next, following)
        self.put(address + layout.thread_ident, ident)
        self.put(address + layout.thread_native, native_id)
        if layout.thread_cframe >= 0:
            between = self.allocate(bytes(32))
            self.put(between + layout.thread_frame, frame)
            self.put(address + layout.thread_cframe, between)
        else:
            self.put(address + layout.thread_frame, frame)
        self.put(layout.at_interpreter + layout.interpreter_threads, address)
        return address
