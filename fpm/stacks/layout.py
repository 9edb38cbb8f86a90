"""Where an interpreter keeps what a stack is made of: addresses and offsets, as its own template has found them.

A layout comes from a process of a pool, as JSON, so nothing in it is believed: parse_layout() lets through only numbers
in their ranges. A layout that lies within them can make the walk fail or show nonsense of that very pool, never more.
Pure.
"""

from __future__ import annotations

import sys
from dataclasses import asdict, fields
from itertools import pairwise
from typing import Any

from fpm.frozen import dataclass

OFFSET_LIMIT = 1 << 20
"""Offsets are below it; the largest real ones (in the interpreter's structure) are some hundred kilobytes."""
ADDRESS_LOWEST = 1 << 12
"""Nothing is mapped in the first page, see mmap_min_addr in proc(5)."""
ADDRESS_LIMIT = 1 << (47 if "x86_64" in getattr(sys.implementation, "_multiarch", "x86_64") else 48)
"""The end of a user process's memory: 47 bits on x86-64, 48 on the others."""
SHIM_NONE = 256
"""`frame_shim` where no frame is a shim: more than a byte can say."""
ABSENT = -1
"""An optional field that this version of Python does not have."""


class LayoutError(ValueError):
    """The data is no layout; the sentence says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Offsets in bytes from the beginning of each structure; `at_` fields are addresses in the pool's processes.

    The names of CPython are in Include/internal/pycore_frame.h, pycore_interp.h, cpython/pystate.h, cpython/code.h and
    cpython/unicodeobject.h.
    """

    version: int
    """sys.hexversion >> 16: 0x030B for 3.11."""
    at_interpreter: int
    """PyInterpreterState; the same in all processes forked from one template."""
    at_code_type: int
    at_str_type: int
    at_bytes_type: int
    at_tuple_type: int
    at_int_type: int
    at_float_type: int
    at_cell_type: int
    at_none: int
    at_true: int
    at_false: int

    object_type: int
    type_name: int
    """Of the pointer to a C string."""
    bytes_size: int
    bytes_data: int
    tuple_size: int
    tuple_items: int
    int_size: int
    int_tagged: int
    """0: `int_size` holds the number of digits with the value's sign. 1: lv_tag of 3.12, three bits of it the sign."""
    int_digits: int
    int_digit_bits: int
    float_value: int

    str_length: int
    str_state: int
    str_mask: int
    """Bits of the 32-bit word at `str_state` that tell the four forms of a compact str apart; which are:"""
    str_ascii: int
    str_latin1: int
    str_ucs2: int
    str_ucs4: int
    str_ascii_data: int
    str_data: int
    """Of the other three forms' characters."""

    code_filename: int
    code_qualname: int
    code_firstline: int
    code_table: int
    code_names: int
    """co_localsplusnames"""
    code_start: int
    """The first instruction."""

    interpreter_threads: int
    """The pointer to the newest thread."""
    thread_interpreter: int
    thread_next: int
    thread_ident: int
    thread_native: int
    thread_cframe: int
    """3.11 and 3.12: a pointer to the structure that `thread_frame` counts from; -1: there is none between."""
    thread_frame: int

    frame_code: int
    frame_previous: int
    frame_instruction: int
    frame_owner: int
    frame_entry: int
    """3.11: a byte that is 1 in a frame that C has called; later versions put a shim before it instead (-1)."""
    frame_shim: int
    """`frame_owner` of shims, which are no calls, begins here; 256: there are none."""
    frame_locals: int
    frame_tags: int
    """Low bits of pointers in a frame that are not part of the address (3.14)."""

    def as_message(self) -> dict[str, int]:
        """Make a JSON object, which parse_layout() reads."""
        return asdict(self)


OPTIONAL = frozenset({"thread_cframe", "frame_entry"})
STRUCTURES = {
    "str": {"object_type": 8, "str_length": 8, "str_state": 4},
    "bytes": {"object_type": 8, "bytes_size": 8},
    "tuple": {"object_type": 8, "tuple_size": 8},
    "int": {"object_type": 8, "int_size": 8, "int_digits": 4},
    "float": {"object_type": 8, "float_value": 8},
    "code": {
        "object_type": 8,
        "code_firstline": 4,
        "code_filename": 8,
        "code_qualname": 8,
        "code_table": 8,
        "code_names": 8,
    },
    "thread": {
        "thread_interpreter": 8,
        "thread_next": 8,
        "thread_ident": 8,
        "thread_native": 8,
    },
    "frame": {"frame_code": 8, "frame_previous": 8, "frame_instruction": 8, "frame_owner": 1, "frame_entry": 1},
}
"""Fields that are read together and the bytes they take: no two of a structure lie on each other."""
RANGES = {
    "version": (0x030B, 0x04FF),
    "int_tagged": (0, 1),
    "int_digit_bits": (15, 30),
    "str_mask": (1, (1 << 32) - 1),
    "str_ascii": (0, (1 << 32) - 1),
    "str_latin1": (0, (1 << 32) - 1),
    "str_ucs2": (0, (1 << 32) - 1),
    "str_ucs4": (0, (1 << 32) - 1),
    "frame_shim": (1, SHIM_NONE),
    "frame_tags": (0, 7),
}
"""Least and greatest value of what is neither an address nor an offset."""
SMALL = 4096
"""Structures other than the interpreter's end before it, so that a structure is read with one or two pages."""
NAMES = tuple(field.name for field in fields(Layout))


def parse_layout(data: object) -> Layout:
    """Check what JSON gave, and make a layout of it.

    Raises:
        LayoutError: `data` is not an object with exactly the fields of Layout, each an integer in its range.
    """
    if not isinstance(data, dict):
        raise LayoutError(f"a layout is an object, not {type(data).__name__}")
    strange = [name for name in data if name not in NAMES]
    if strange:
        raise LayoutError(f"a layout has no field {str(strange[0])[:40]!r}")
    values: dict[str, int] = {}
    for name in NAMES:
        values[name] = _checked(name, data.get(name))
    _check_together(values)
    return Layout(**values)


def _checked(name: str, value: Any) -> int:
    if value is None:
        raise LayoutError(f"{name} is missing")
    if type(value) is not int:  # True is no number here, and 1.0 neither
        raise LayoutError(f"{name} is {type(value).__name__}, not an integer")
    least, greatest = _range(name)
    if not least <= value <= greatest:
        # A number may have any length, so it is not shown.
        raise LayoutError(f"{name} is out of its range, {least:#x} to {greatest:#x}")
    return value


def _range(name: str) -> tuple[int, int]:
    if name in RANGES:
        return RANGES[name]
    if name.startswith("at_"):
        return ADDRESS_LOWEST, ADDRESS_LIMIT - 1
    if name == "interpreter_threads":
        return 0, OFFSET_LIMIT - 1
    return (ABSENT if name in OPTIONAL else 0), SMALL - 1


def _check_together(values: dict[str, int]) -> None:
    current = "thread_frame" if values["thread_cframe"] == ABSENT else "thread_cframe"
    for structure, fixed in STRUCTURES.items():
        widths = fixed | {current: 8} if structure == "thread" else fixed
        places = sorted((values[name], width) for name, width in widths.items() if values[name] != ABSENT)
        for (before, width), (after, _) in pairwise(places):
            if after < before + width:
                raise LayoutError(f"fields of the {structure} structure lie on each other")
    if len({values[f"str_{form}"] for form in ("ascii", "latin1", "ucs2", "ucs4")}) != 4:
        raise LayoutError("the four forms of str are not told apart")
