"""DWARF expressions (DWARF 5, section 2.5), as far as unwind tables use them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fpm.stacks.native.cursor import MASK, Cursor, NoSense
from fpm.stacks.native.image import Read

STEPS_MAX = 256
STACK_MAX = 64

_CONSTANTS = {0x08: "B", 0x09: "b", 0x0A: "H", 0x0B: "h", 0x0C: "I", 0x0D: "i", 0x0E: "Q", 0x0F: "q"}


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


_TWO: dict[int, Callable[[int, int], int]] = {
    0x1A: lambda a, b: a & b,
    0x1C: lambda a, b: a - b,
    0x1E: lambda a, b: a * b,
    0x21: lambda a, b: a | b,
    0x22: lambda a, b: a + b,
    0x24: lambda a, b: a << min(b, 64),
    0x25: lambda a, b: a >> min(b, 64),
    0x27: lambda a, b: a ^ b,
    0x29: lambda a, b: int(a == b),
    0x2A: lambda a, b: int(_signed(a) >= _signed(b)),
    0x2B: lambda a, b: int(_signed(a) > _signed(b)),
    0x2C: lambda a, b: int(_signed(a) <= _signed(b)),
    0x2D: lambda a, b: int(_signed(a) < _signed(b)),
    0x2E: lambda a, b: int(a != b),
}


def evaluate(expression: bytes, registers: Mapping[int, int], read: Read, *initial: int) -> int:
    """The value of an expression.

    Args:
        initial: what lies on its stack at the beginning.

    Raises:
        NoSense: it is none, or uses what is not known.
    """
    code, stack = Cursor(expression), list(initial)
    for _ in range(STEPS_MAX):
        if code.at_end:
            return _pop(stack)
        _step(code, code.byte(), stack, registers, read)
        if len(stack) > STACK_MAX:
            raise NoSense("an expression that piles up")
    raise NoSense("an expression without an end")


def _step(code: Cursor, operation: int, stack: list[int], registers: Mapping[int, int], read: Read) -> None:
    if 0x30 <= operation <= 0x4F:  # DW_OP_lit0 ..
        stack.append(operation - 0x30)
    elif 0x70 <= operation <= 0x8F:  # DW_OP_breg0 ..
        stack.append(_register(registers, operation - 0x70) + code.sleb() & MASK)
    elif operation == 0x92:  # DW_OP_bregx
        stack.append(_register(registers, code.uleb()) + code.sleb() & MASK)
    elif operation in _CONSTANTS:
        stack.append(code.number(_CONSTANTS[operation]) & MASK)
    elif operation == 0x10:  # DW_OP_constu
        stack.append(code.uleb() & MASK)
    elif operation == 0x11:  # DW_OP_consts
        stack.append(code.sleb() & MASK)
    elif operation == 0x06:  # DW_OP_deref
        stack.append(Cursor(read(_pop(stack), 8)).number("Q"))
    elif operation == 0x12:  # DW_OP_dup
        stack.append(_top(stack))
    elif operation == 0x13:  # DW_OP_drop
        _pop(stack)
    elif operation == 0x23:  # DW_OP_plus_uconst
        stack.append(_pop(stack) + code.uleb() & MASK)
    elif operation in _TWO:
        second, first = _pop(stack), _pop(stack)
        stack.append(_TWO[operation](first, second) & MASK)
    elif operation != 0x96:  # DW_OP_nop
        raise NoSense(f"operation {operation:#x}")


def _register(registers: Mapping[int, int], number: int) -> int:
    if number not in registers:
        raise NoSense(f"register {number} is not known")
    return registers[number]


def _pop(stack: list[int]) -> int:
    if not stack:
        raise NoSense("an expression without a value")
    return stack.pop()


def _top(stack: list[int]) -> int:
    if not stack:
        raise NoSense("an expression without a value")
    return stack[-1]
