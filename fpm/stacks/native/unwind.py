"""From a thread's registers and a copy of its stack to the list of its native calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fpm.frozen import dataclass
from fpm.stacks.native.dwarf import MASK, Cursor, NoSense, evaluate
from fpm.stacks.native.image import Image
from fpm.stacks.native.process import Maps, Registers
from fpm.stacks.native.tables import Function, Rule, RuleKind, Rules, read_function
from fpm.stacks.reading.memory import Read
from fpm.stacks.trace import Frame

STACK_MAX = 256 * 1024
"""Bytes of a thread's stack that are copied while it is stopped."""
FRAMES_MAX = 256


@dataclass(frozen=True, slots=True)
class NativeCall:
    """One of them."""

    name: str
    """"" if its library does not export it."""
    path: str
    """Of its program or library."""
    pc: int
    offset: int
    """Of `pc` in the library."""


@dataclass(frozen=True, slots=True)
class StackCopy:
    """What must be kept of a thread while it is stopped."""

    registers: Registers
    start: int
    data: bytes


def copy_stack(registers: Registers, read: Read, end: int) -> StackCopy:
    """The newest STACK_MAX bytes of a stopped thread's stack, which is mapped up to `end`."""
    start = registers.stack_pointer
    return StackCopy(registers, start, read(start, max(min(STACK_MAX, end - start), 0)))


class Unwinder:
    """The programs and libraries of one process, read as they are met.

    Args:
        read: memory of the process, which may run on: only what does not change is read, beside the copied stacks.
    """

    def __init__(self, maps: Maps, read: Read) -> None:
        self._maps = maps
        self._read = read
        self._images: dict[int, Image | None] = {}
        self._functions: dict[int, Function] = {}

    def unwind(self, copy: StackCopy) -> tuple[list[NativeCall], str]:
        """The native calls of a thread, the newest first, and why they end before its beginning ("" if they do not)."""
        registers, pc, calls = dict(copy.registers.values), copy.registers.pc, list[NativeCall]()
        step = _Step(copy, self._read)
        interrupted = True  # the pc is the instruction itself, not the one after a call
        try:
            while pc and len(calls) < FRAMES_MAX:
                looked_up = pc if interrupted else pc - 1
                image = self._image_at(looked_up)
                calls.append(_call(image, pc, looked_up))
                function = self._function_at(image, looked_up)
                before = registers.get(step.pointer, 0), pc
                registers, pc = step.caller(function, function.rules_at(looked_up), registers)
                interrupted = function.common.is_signal
                if (registers.get(step.pointer, 0), pc) == before:
                    raise NoSense("a frame that is its own caller")
        except NoSense as error:
            return calls, str(error)
        return calls, "" if len(calls) < FRAMES_MAX else "too many"

    def _image_at(self, pc: int) -> Image:
        mapping = self._maps.image_of(pc)
        if mapping is None:
            raise NoSense(f"{pc:#x} is in no program or library")
        if mapping.start not in self._images:
            try:
                self._images[mapping.start] = Image(self._read, mapping.start, mapping.path)
            except NoSense:
                self._images[mapping.start] = None
        image = self._images[mapping.start]
        if image is None:
            raise NoSense(f"{mapping.path} is not an ELF file of 64 bits")
        return image

    def _function_at(self, image: Image, pc: int) -> Function:
        entry = image.find_fde(pc)
        function = self._functions.get(entry)
        if function is None:
            function = self._functions[entry] = read_function(self._read, entry)
        if not function.start <= pc < function.start + function.size:
            raise NoSense(f"no unwind table for {pc:#x} in {image.path}")
        return function


def _call(image: Image, pc: int, looked_up: int) -> NativeCall:
    return NativeCall(image.name_of(looked_up), image.path, pc, pc - image.bias)


class _Step:
    """One frame to the next."""

    def __init__(self, copy: StackCopy, read: Read) -> None:
        self._copy = copy
        self._memory = read
        self._machine = copy.registers.machine
        self.pointer = self._machine.stack_pointer

    def read(self, address: int, size: int) -> bytes:
        """The stack as it was; other memory as it is."""
        start = address - self._copy.start
        if 0 <= start < len(self._copy.data):
            return self._copy.data[start : start + size]
        return self._memory(address, size)

    def caller(self, function: Function, rules: Rules, registers: Mapping[int, int]) -> tuple[dict[int, int], int]:
        """Registers and program counter of the caller; 0 where the thread began.

        Raises:
            NoSense: the tables or the stack cannot be followed.
        """
        cfa = self._cfa(rules.cfa, registers)
        found = dict(registers)
        for number, rule in rules.registers.items():
            value = self._value(rule, cfa, registers, number)
            if value is None:
                found.pop(number, None)
            else:
                found[number] = value
        returns = function.common.return_register
        if rules.registers.get(returns, _SAME).kind is RuleKind.UNDEFINED:
            return found, 0
        pc = found.get(returns, 0) & self._machine.pointer_mask
        if self.pointer not in rules.registers:
            found[self.pointer] = cfa
        return found, pc

    def _cfa(self, rule: Rule, registers: Mapping[int, int]) -> int:
        if rule.kind is RuleKind.VAL_EXPRESSION:
            return evaluate(rule.expression, registers, self.read)
        if rule.kind is not RuleKind.REGISTER or rule.number not in registers:
            raise NoSense("no canonical frame address")
        return registers[rule.number] + rule.offset & MASK

    def _value(self, rule: Rule, cfa: int, registers: Mapping[int, int], number: int) -> int | None:
        if rule.kind is RuleKind.OFFSET:
            return Cursor(self.read(cfa + rule.offset & MASK, 8)).number("Q")
        if rule.kind is RuleKind.VAL_OFFSET:
            return cfa + rule.offset & MASK
        if rule.kind is RuleKind.REGISTER:
            return registers.get(rule.number)
        if rule.kind is RuleKind.EXPRESSION:
            return Cursor(self.read(evaluate(rule.expression, registers, self.read, cfa), 8)).number("Q")
        if rule.kind is RuleKind.VAL_EXPRESSION:
            return evaluate(rule.expression, registers, self.read, cfa)
        return registers.get(number) if rule.kind is RuleKind.SAME else None


_SAME = Rule(RuleKind.SAME)


LOOPS = frozenset({"_PyEval_EvalFrameDefault"})
"""The function of CPython that executes frames (Python/ceval.c)."""


def merge(frames: Sequence[Frame], calls: Sequence[NativeCall], *, whole: bool) -> tuple[Frame, ...]:
    """One list, the newest first.

    Args:
        frames: Python's, the newest first; `entry` marks those with which a run of the loop began.
        calls: native ones, the newest first.
        whole: neither of them ends early.

    The interpreter's own functions are left out, but for those that run now. If two whole stacks do not fit together,
    the native calls that run now stand before Python's frames and the others are left out.
    """
    loops = [index for index, call in enumerate(calls) if call.name in LOOPS]
    if not loops:
        return tuple(frames) if frames else tuple(map(native_frame, calls))
    newest = [native_frame(call) for call in calls[: loops[0]]]
    if whole and len(loops) != sum(frame.entry for frame in frames):
        return (*newest, *frames)
    merged, left = newest, list(frames)
    for index, following in zip(loops, [*loops[1:], len(calls)], strict=True):
        run = _run_length(left)
        merged += left[:run]
        del left[:run]
        if left:
            between = calls[index + 1 : following]
            merged += [native_frame(call) for call in between if call.path != calls[loops[0]].path]
    return (*merged, *left)


def _run_length(frames: Sequence[Frame]) -> int:
    """How many of them, from the newest on, one run of the loop executes."""
    entries = (index for index, frame in enumerate(frames) if frame.entry)
    return next(entries, len(frames) - 1) + 1


def native_frame(call: NativeCall) -> Frame:
    """As a frame; a function without a name is told by its place in the library."""
    library = call.path.rpartition("/")[2]
    name = call.name or f"{library}+{call.offset:#x}"
    return Frame(function=name, file=call.path, line=0, address=call.pc, native=True)
