"""Where the simple types keep what they hold: found in objects made for it. Pure."""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterable
from types import CellType, CodeType

from fpm.errors import CalibrationError
from fpm.stacks.reading.memory import Read

POINTER_SIZE = 8
POINTER_BYTES = struct.Struct("=Q")


def words(block: bytes) -> tuple[int, ...]:
    """Return all pointers of a block, as numbers."""
    count = len(block) // POINTER_SIZE
    return struct.unpack_from(f"={count}Q", block)


def places_of_word(block: bytes, value: int) -> set[int]:
    """Find the offsets, multiples of eight, at which a block has a pointer."""
    return _places(block, POINTER_BYTES.pack(value), POINTER_SIZE)


def places_of_tagged(block: bytes, value: int, tags: int) -> set[int]:
    """Find the offsets at which a block has a pointer, without the bits `tags`."""
    return {index * POINTER_SIZE for index, word in enumerate(words(block)) if word & ~tags == value}


def places_of_int(block: bytes, value: int) -> set[int]:
    """Find the offsets, multiples of four, at which a block has a C int."""
    return _places(block, struct.pack("=i", value), 4)


def _places(block: bytes, wanted: bytes, step: int) -> set[int]:
    found = set()
    place = block.find(wanted)
    while place >= 0:
        if place % step == 0:
            found.add(place)
        place = block.find(wanted, place + 1)
    return found


def the_one(name: str, candidates: Iterable[set[int]]) -> int:
    """Return the only offset that is in every set.

    Raises:
        CalibrationError: there is none, or more than one.
    """
    common = set.intersection(*candidates)
    if len(common) != 1:
        found = f"{len(common)} places fit it ({', '.join(map(str, sorted(common)[:5]))})" if common else "not found"
        raise CalibrationError(f"{name}: {found}")
    return common.pop()


COUNTS = (12347, 23459)
"""Lengths that no other field has by chance."""
HEAD = 96
"""Bytes of an object that are looked at; the first fields of all these types end before it."""
SHORT = range(30, 54)
"""Lengths of the strings by which the bits of a str's form are told from bits that are anything."""
FORMS = {"ascii": "q", "latin1": "\xe9", "ucs2": "\u20ac", "ucs4": "\U0001f600"}
ENCODINGS = {
    "ascii": "latin-1",
    "latin1": "latin-1",
    "ucs2": f"utf-16-{'le' if sys.byteorder == 'little' else 'be'}",
    "ucs4": f"utf-32-{'le' if sys.byteorder == 'little' else 'be'}",
}
DISTINCT = 17
"""Different items, more than HEAD has room for."""
DIGIT_SIZE = 4


def find_types() -> dict[str, int]:
    """Return the addresses of types, and of objects that exist once."""
    return {
        "at_code_type": id(CodeType),
        "at_str_type": id(str),
        "at_bytes_type": id(bytes),
        "at_tuple_type": id(tuple),
        "at_int_type": id(int),
        "at_float_type": id(float),
        "at_cell_type": id(CellType),
        "at_none": id(None),
        "at_true": id(True),
        "at_false": id(False),
    }


def find_objects(read: Read) -> dict[str, int]:
    """Find the fields of object, type, bytes, tuple, int, float and str.

    Raises:
        CalibrationError: one of them is not found for certain.
    """
    samples: list[object] = [object(), 1.5, b"bytes", (1, 2), [], 12347]
    found = {
        "object_type": the_one("ob_type", [places_of_word(read(id(one), 16), id(one.__class__)) for one in samples]),
        "float_value": the_one(
            "ob_fval", [places_of_word(read(id(one), 24), _double(one)) for one in (1.0 / 3, 2.0 / 7)]
        ),
    }
    return found | _find_type_name(read) | _find_bytes(read) | _find_tuple(read) | _find_int(read) | _find_str(read)


def _double(value: float) -> int:
    return int.from_bytes(struct.pack("=d", value), sys.byteorder)


def _find_type_name(read: Read) -> dict[str, int]:
    sets = []
    for name in ("CalibrationOne", "CalibrationTwo"):
        made = type(name, (), {})
        pointers = enumerate(words(read(id(made), HEAD)))
        text = name.encode() + b"\0"
        sets.append({index * 8 for index, pointer in pointers if read(pointer, len(text)) == text})
    return {"type_name": the_one("tp_name", sets)}


def _find_bytes(read: Read) -> dict[str, int]:
    samples = [b"\xa5\x5a\xc3" * count for count in COUNTS]
    return {
        "bytes_size": the_one("bytes.ob_size", [places_of_word(read(id(one), HEAD), len(one)) for one in samples]),
        "bytes_data": the_one("ob_sval", [{read(id(one), HEAD * 2).find(one[:HEAD])} - {-1} for one in samples]),
    }


def _find_tuple(read: Read) -> dict[str, int]:
    samples = [tuple(object() for _ in range(DISTINCT)) * count for count in COUNTS]
    items = []
    for one in samples:
        block = read(id(one), HEAD)
        items.append(places_of_word(block, id(one[0])) & {place - 8 for place in places_of_word(block, id(one[1]))})
    return {
        "tuple_size": the_one("tuple.ob_size", [places_of_word(read(id(one), HEAD), len(one)) for one in samples]),
        "tuple_items": the_one("ob_item", items),
    }


def _find_int(read: Read) -> dict[str, int]:
    bits = sys.int_info.bits_per_digit
    if sys.int_info.sizeof_digit != DIGIT_SIZE:
        raise CalibrationError(f"digits of int have {sys.int_info.sizeof_digit} bytes, not {DIGIT_SIZE}")
    digits = [0x1234567 % (1 << bits) - index for index in range(5)]
    value = sum(digit << bits * index for index, digit in enumerate(digits))
    packed = struct.pack("=5I", *digits)
    at_digits = the_one("ob_digit", [{read(id(one), HEAD).find(packed)} - {-1} for one in (value, -value)])
    at_size = at_digits - 8
    heads = [int.from_bytes(read(id(one) + at_size, 8), sys.byteorder) for one in (value, -value)]
    if heads == [5, (1 << 64) - 5]:
        tagged = 0
    elif heads == [5 << 3, 5 << 3 | 2]:
        tagged = 1
    else:
        raise CalibrationError(f"the size and sign of int are kept in an unknown way ({heads[0]:#x}, {heads[1]:#x})")
    return {"int_size": at_size, "int_digits": at_digits, "int_digit_bits": bits, "int_tagged": tagged}


def _find_str(read: Read) -> dict[str, int]:
    samples = {form: [one * count for count in (*COUNTS, *SHORT)] for form, one in FORMS.items()}
    lengths = [
        places_of_word(read(id(one), HEAD), len(one)) for texts in samples.values() for one in texts[: len(COUNTS)]
    ]
    data = {}
    for form, texts in samples.items():
        wanted = texts[0][:16].encode(ENCODINGS[form])
        data[form] = the_one(f"characters of {form} str", [{read(id(one), 256).find(wanted)} - {-1} for one in texts])
    if len({data["latin1"], data["ucs2"], data["ucs4"]}) != 1:
        raise CalibrationError(f"the characters of str begin at different places ({data})")
    length = the_one("str.length", lengths)
    state = _find_state(read, samples, range(length + 8, data["ascii"], 4))
    return state | {"str_length": length, "str_ascii_data": data["ascii"], "str_data": data["latin1"]}


def _find_state(read: Read, samples: dict[str, list[str]], places: range) -> dict[str, int]:
    """The word whose bits tell the forms apart: bits that are equal within each form and not over all of them."""
    found = []
    for place in places:
        values = {
            form: [int.from_bytes(read(id(one) + place, 4), sys.byteorder) for one in texts]
            for form, texts in samples.items()
        }
        first = [states[0] for states in values.values()]
        unstable = mask = 0
        for states in values.values():
            for state in states:
                unstable |= state ^ states[0]
        for state in first:
            mask |= state ^ first[0]
        mask &= ~unstable
        if len({state & mask for state in first}) == len(FORMS):
            found.append((place, mask, {form: states[0] & mask for form, states in values.items()}))
    if len(found) != 1:
        raise CalibrationError(f"str.state: {len(found)} places fit it")
    place, mask, forms = found[0]
    return {"str_state": place, "str_mask": mask} | {f"str_{form}": value for form, value in forms.items()}


LINES = (0x1234567, 0x2345671, 0x3456712)
"""First lines that no other number in a code object equals by chance."""


def _one(first: int, second: int, third: int) -> tuple[int, ...]:
    return first, second, third


def _two(alpha: int) -> tuple[int, ...]:
    beta = gamma = delta = epsilon = alpha
    return beta, gamma, delta, epsilon


def _three() -> int:
    single = 1
    return single


def find_code(read: Read, known: dict[str, int]) -> dict[str, int]:
    """Find the fields of code objects.

    Args:
        known: what find_objects() has found.

    Raises:
        CalibrationError: one of them is not found for certain.
    """
    size = CodeType.__basicsize__
    codes = [_made(function.__code__, line) for function, line in zip((_one, _two, _three), LINES, strict=True)]
    blocks = [read(id(code), size) for code in codes]
    pairs = list(zip(codes, blocks, strict=True))
    return {
        "code_filename": the_one("co_filename", [places_of_word(block, id(one.co_filename)) for one, block in pairs]),
        "code_qualname": the_one("co_qualname", [places_of_word(block, id(one.co_qualname)) for one, block in pairs]),
        "code_firstline": the_one("co_firstlineno", [places_of_int(block, one.co_firstlineno) for one, block in pairs]),
        "code_table": the_one("co_linetable", [places_of_word(block, id(one.co_linetable)) for one, block in pairs]),
        "code_names": the_one("co_localsplusnames", [_places_of_names(read, known, *pair) for pair in pairs]),
        # The instructions are the variable part, so they begin where the fixed part ends. The frames confirm it.
        "code_start": size,
    }


def _made(code: CodeType, line: int) -> CodeType:
    return code.replace(
        co_filename=f"/calibration/{line}.py",
        co_name=f"name{line}",
        co_qualname=f"Qualified.name{line}",
        co_firstlineno=line,
        co_linetable=bytes(code.co_linetable) + b"",
    )


def _places_of_names(read: Read, known: dict[str, int], code: CodeType, block: bytes) -> set[int]:
    """Where there is a pointer to a tuple of just the local variables' names."""
    names = code.co_varnames
    items = known["tuple_items"]
    found = set()
    for index, pointer in enumerate(words(block)):
        head = read(pointer, items + 8 * len(names))
        if len(head) < items + 8 * len(names):
            continue
        is_tuple = known["object_type"] in places_of_word(head[:items], id(tuple))
        is_long = known["tuple_size"] in places_of_word(head[:items], len(names))
        if is_tuple and is_long and words(head[items:]) == tuple(map(id, names)):
            found.add(index * 8)
    return found
