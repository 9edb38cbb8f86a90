"""Where a code object keeps its names, its first line, its location table and its instructions. Pure."""

from __future__ import annotations

from types import CodeType

from fpm.stacks.calibration.search import places_of_int, places_of_word, the_one, words
from fpm.stacks.reading.memory import Read

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
    """Fields of code objects.

    Args:
        known: what find_objects() has found.

    Raises:
        Doubt: one of them is not found for certain.
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
