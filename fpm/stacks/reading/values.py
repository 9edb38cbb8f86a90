"""Local variables of a frame: their types, and simple values; nothing of the application is ever called for it.

Values may be passwords, so they are shown only where that was asked for, and names that sound like secrets never are.
"""

from __future__ import annotations

import struct
import sys

from fpm.stacks.layout import Layout
from fpm.stacks.reading.memory import PAGE, POINTER, Memory, Record, Unreadable
from fpm.stacks.reading.objects import Objects

FRAMES = 20
"""Only the newest frames of a thread are asked for their variables."""
LOCALS = 60
"""Variables of a frame that are shown, parameters first."""
TEXT = 24
"""Characters of a str that are shown."""
NAME = 100
"""Bytes of a type's or a variable's name."""
DIGITS = 8
"""Digits of an int (of 30 bits each) up to which it is shown."""
SECRETS = ("pass", "pwd", "token", "secret", "auth", "cookie", "key", "credential", "session")
"""A variable with one of these anywhere in its name is not shown."""
HIDDEN = "<hidden>"
CELL = "<cell>"
INT_TAG = 3
"""Low bits of a pointer that is no pointer but an int itself (3.14)."""
SIGN_BITS = 3
SIGN_MASK = 3
NEGATIVE = 2
"""lv_tag of 3.12: the number of digits above three bits, of which two are the sign: 0, 1 (zero) or 2."""


class Values:
    """Describes local variables."""

    def __init__(self, layout: Layout, memory: Memory, objects: Objects, level: str) -> None:
        """`level`: "types" or "values"."""
        self._layout = layout
        self._memory = memory
        self._objects = objects
        self._simple = level == "values"
        self._tuple_head = Record((layout.object_type, POINTER), (layout.tuple_size, POINTER))
        self._names: dict[int, tuple[str, ...]] = {}
        self._types: dict[int, str] = {}

    def of_frame(self, frame: int, names: int) -> tuple[tuple[str, str], ...]:
        """Describe the variables that are set, each by its name and a text.

        Args:
            frame: its address.
            names: address of its code's co_localsplusnames.
        """
        try:
            known = self._names.get(names)
            if known is None:
                known = self._names[names] = self._read_names(names)
            slots = struct.unpack(
                f"={len(known)}Q", self._memory.copy(frame + self._layout.frame_locals, 8 * len(known))
            )
        except Unreadable:  # the frame is shown without them
            return ()
        found = ((name, self._describe(name, slot)) for name, slot in zip(known, slots, strict=True))
        return tuple((name, text) for name, text in found if text)

    def _read_names(self, address: int) -> tuple[str, ...]:
        """Read co_localsplusnames, as many as are shown."""
        kind, count = self._tuple_head.take(*self._memory.view(address, self._tuple_head.size))
        if kind != self._layout.at_tuple_type:
            raise Unreadable(f"no tuple at {address:#x}")
        count = min(count, LOCALS)
        items = struct.unpack(f"={count}Q", self._memory.copy(address + self._layout.tuple_items, 8 * count))
        return tuple(self._objects.text(item, NAME) for item in items)

    def _describe(self, name: str, slot: int) -> str:
        """Describe a variable; "" if it is not set."""
        layout = self._layout
        address = slot & ~layout.frame_tags
        if not address:
            return ""
        is_tagged = layout.frame_tags == INT_TAG and slot & INT_TAG == INT_TAG
        try:
            kind = layout.at_int_type if is_tagged else self._pointer(address + layout.object_type)
            if kind == layout.at_cell_type:
                return CELL
            if not self._simple:
                return self._type_name(kind)
            if any(secret in name.lower() for secret in SECRETS):
                return HIDDEN
            if is_tagged:
                return str((slot ^ 1 << 63) - (1 << 63) >> 2)
            return self._value(address, kind) or f"<{self._type_name(kind)}>"
        except Unreadable:
            return "???"

    def _value(self, address: int, kind: int) -> str:
        """Show a simple value; "" if it is none."""
        layout = self._layout
        if address in (layout.at_none, layout.at_true, layout.at_false):
            return "None" if address == layout.at_none else str(address == layout.at_true)
        if kind == layout.at_int_type:
            return self._int(address)
        if kind == layout.at_float_type:
            return repr(struct.unpack("=d", self._memory.copy(address + layout.float_value, 8))[0])
        if kind == layout.at_str_type:
            text = self._objects.text(address, TEXT)
            return repr(text[:TEXT]) + ("..." if len(text) > TEXT else "")
        return ""

    def _int(self, address: int) -> str:
        layout = self._layout
        head = self._pointer(address + layout.int_size)
        if layout.int_tagged:
            count, negative = head >> SIGN_BITS, head & SIGN_MASK == NEGATIVE
        else:
            negative = head >= 1 << 63
            count = (1 << 64) - head if negative else head
        if count > DIGITS:
            return ""
        digits = struct.unpack(f"={count}I", self._memory.copy(address + layout.int_digits, 4 * count))
        value = sum(digit << layout.int_digit_bits * index for index, digit in enumerate(digits))
        return str(-value if negative else value)

    def _type_name(self, address: int) -> str:
        known = self._types.get(address)
        if known is None:
            pointer = self._pointer(address + self._layout.type_name)
            known = self._types[address] = self._c_string(pointer)
        return known

    def _c_string(self, address: int) -> str:
        for size in (NAME, min(NAME, PAGE - address % PAGE)):  # behind a short one the memory may end with its page
            try:
                raw = self._memory.copy(address, size)
            except Unreadable:
                continue
            return raw.partition(b"\0")[0].decode("utf-8", "backslashreplace")
        return "???"

    def _pointer(self, address: int) -> int:
        return int.from_bytes(self._memory.copy(address, 8), sys.byteorder)
