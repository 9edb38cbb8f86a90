"""Filters of system calls as programs for the kernel: seccomp(2), linux/filter.h. Pure.

The kernel hands a program the number of a call, the architecture it is of, and the arguments (struct seccomp_data); it
returns an action. The program looks for the number by bisection, and only then at arguments. A call that is allowed
whatever its arguments are is remembered by the kernel (since 5.11), which then does not run the program for it.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from errno import ENOSYS
from typing import Literal

from fpm.frozen import dataclass
from fpm.kernel.calls import LAST_KNOWN, MACHINES, number_of

ALLOW = 0x7FFF0000
KILL = 0x80000000
"""SECCOMP_RET_KILL_PROCESS: a program that repeats until a call works would otherwise do so for ever."""
_ERRNO = 0x00050000

INSTRUCTION = struct.Struct("<HBBI")
"""struct sock_filter: code, jump if true, jump if false, constant."""
_LOAD, _JUMP_EQUAL, _JUMP_FROM, _JUMP_ANY, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16
"""Offsets in struct seccomp_data."""
_JUMP_MAX = 255
_NO_CALL = 0xFFFFFFFF
"""-1, what a tracer sets to have a call left out."""

Code = list[tuple[int, int, int, int]]


@dataclass(frozen=True, slots=True)
class Test:
    """A question about the lower 32 bits of an argument, which is all that the calls in question look at."""

    argument: int
    question: Literal["is", "any of"]
    value: int
    action: int | Check
    """What to do if the answer is yes."""


@dataclass(frozen=True, slots=True)
class Check:
    """The first test that holds decides."""

    tests: tuple[Test, ...]
    otherwise: int


Action = int | Check
"""A number is what the program returns, SECCOMP_RET_*."""


def refuse(number: int) -> int:
    """Return the action that makes a call fail with an errno."""
    return _ERRNO | number


def compile_filter(denied: Mapping[str, Action], machine: str) -> bytes:
    """Make a filter that allows every call but these.

    Calls of another architecture end the process; those that are newer than the table of numbers do not exist for it.

    Args:
        denied: by the names in fpm.kernel.calls.
        machine: as uname(2) calls it.

    Returns:
        An array of struct sock_filter.

    Raises:
        KeyError: there are no numbers for this machine.
    """
    known = MACHINES[machine]
    code: Code = [(_LOAD, 0, 0, _ARCH), (_JUMP_EQUAL, 1, 0, known.arch), (_RETURN, 0, 0, KILL), (_LOAD, 0, 0, _NUMBER)]
    numbered = {number: action for name, action in denied.items() if (number := number_of(name, machine)) is not None}
    return b"".join(INSTRUCTION.pack(*one) for one in code + _bisect(_intervals(numbered, known.foreign)))


def _intervals(numbered: Mapping[int, Action], foreign: int) -> list[tuple[int, Action]]:
    """Cut the range of numbers where the action changes: first numbers with what holds from there on."""
    starts: dict[int, Action] = {0: ALLOW}
    for number, action in sorted(numbered.items()):
        starts[number] = action
        starts[number + 1] = ALLOW
    starts[LAST_KNOWN + 1] = refuse(ENOSYS)
    if foreign:
        starts[foreign] = KILL
    starts[_NO_CALL] = refuse(ENOSYS)
    found: list[tuple[int, Action]] = []
    for start, action in sorted(starts.items(), key=lambda one: one[0]):
        if not found or found[-1][1] != action:
            found.append((start, action))
    return found


def _bisect(intervals: list[tuple[int, Action]]) -> Code:
    if len(intervals) == 1:
        return _act(intervals[0][1])
    middle = len(intervals) // 2
    below, above = _bisect(intervals[:middle]), _bisect(intervals[middle:])
    if len(below) > _JUMP_MAX:
        raise AssertionError(f"a jump over {len(below)} instructions: more calls than one jump can pass over")
    return [(_JUMP_FROM, len(below), 0, intervals[middle][0]), *below, *above]


def _act(action: Action) -> Code:
    if isinstance(action, int):
        return [(_RETURN, 0, 0, action)]
    code: Code = []
    for test in action.tests:
        inner = _act(test.action)
        jump = _JUMP_EQUAL if test.question == "is" else _JUMP_ANY
        code += [(_LOAD, 0, 0, _ARGUMENTS + 8 * test.argument), (jump, 0, len(inner), test.value), *inner]
    return [*code, (_RETURN, 0, 0, action.otherwise)]
