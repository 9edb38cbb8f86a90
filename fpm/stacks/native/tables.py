"""Call frame information: the entries of .eh_frame, and the rules that their instructions give for one address
(DWARF 5, section 6.4; Linux Standard Base 5.0, Core, section 10.6.1)."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from fpm.stacks.native.dwarf import ABSPTR, MASK, OMIT, Cursor, NoSense
from fpm.stacks.reading.memory import Read

ENTRY_MAX = 64 * 1024
"""Bytes of one entry."""
STEPS_MAX = 20_000
"""Instructions for one function."""
REGISTERS_MAX = 128
REMEMBERED_MAX = 64


class RuleKind(Enum):
    """Where the caller's value of a register is."""

    UNDEFINED = "undefined"
    SAME = "same"
    OFFSET = "at an offset from the canonical frame address"
    VAL_OFFSET = "the canonical frame address and an offset"
    REGISTER = "in another register"
    EXPRESSION = "at the address that an expression gives"
    VAL_EXPRESSION = "what an expression gives"


@dataclass(frozen=True, slots=True)
class Rule:
    """For one register, or (REGISTER with `offset`, or VAL_EXPRESSION) for the canonical frame address."""

    kind: RuleKind
    number: int = 0
    offset: int = 0
    expression: bytes = b""


@dataclass(slots=True)
class Rules:
    """One row of the table."""

    cfa: Rule = field(default_factory=lambda: Rule(RuleKind.UNDEFINED))
    registers: dict[int, Rule] = field(default_factory=dict)

    def copy(self) -> Rules:
        """For DW_CFA_remember_state."""
        return Rules(self.cfa, dict(self.registers))


@dataclass(frozen=True, slots=True)
class Common:
    """A common information entry."""

    code_factor: int
    data_factor: int
    return_register: int
    encoding: int
    augmented: bool
    is_signal: bool
    """A frame that the kernel has made for a signal handler: its caller's pc is where it was interrupted."""
    instructions: bytes


@dataclass(frozen=True, slots=True)
class Function:
    """A frame description entry."""

    common: Common
    start: int
    size: int
    instructions: bytes

    def rules_at(self, pc: int) -> Rules:
        """The row for this address.

        Raises:
            NoSense: the instructions are none.
        """
        initial = _Machine(self.common, Rules(), self.start).run(self.common.instructions, MASK)
        return _Machine(self.common, initial, self.start).run(self.instructions, pc)


def read_function(read: Read, address: int) -> Function:
    """The entry at an address.

    Raises:
        NoSense: there is none.
    """
    body = _read_entry(read, address)
    distance = body.number("I")
    common = _read_common(read, body.origin - distance)
    start = body.pointer(common.encoding)
    size = body.pointer(common.encoding & 0x0F)
    if common.augmented:
        body.block()
    return Function(common, start, size, body.data[body.position :])


class _Entry(Cursor):
    """The body of an entry, after its length."""

    def __init__(self, data: bytes, origin: int) -> None:
        super().__init__(data, origin)
        self.origin = origin


def _read_entry(read: Read, address: int) -> _Entry:
    length = Cursor(read(address, 4)).number("I")
    if not 4 <= length <= ENTRY_MAX:
        raise NoSense("an entry of strange length")
    data = read(address + 4, length)
    if len(data) < length:
        raise NoSense("an entry that cannot be read")
    return _Entry(data, address + 4)


def _read_common(read: Read, address: int) -> Common:
    body = _read_entry(read, address)
    if body.number("I") != 0:
        raise NoSense("not a common entry")
    version = body.byte()
    augmentation = body.text()
    code_factor, data_factor = body.uleb(), body.sleb()
    return_register = body.byte() if version == 1 else body.uleb()
    encoding = ABSPTR
    if augmentation.startswith(b"z"):
        encoding = _read_augmentation(Cursor(body.block()), augmentation[1:])
    elif augmentation:
        raise NoSense(f"augmentation {augmentation!r}")
    return Common(
        code_factor=code_factor,
        data_factor=data_factor,
        return_register=return_register,
        encoding=encoding,
        augmented=augmentation.startswith(b"z"),
        is_signal=b"S" in augmentation,
        instructions=body.data[body.position :],
    )


def _read_augmentation(data: Cursor, letters: bytes) -> int:
    """The encoding of the function's addresses."""
    encoding = ABSPTR
    for letter in letters:
        if letter == ord("R"):
            encoding = data.byte()
        elif letter == ord("P"):
            personality = data.byte()
            if personality != OMIT:
                data.pointer(personality & 0x0F)
        elif letter == ord("L"):
            data.byte()
        elif letter not in b"SB":
            break  # what follows cannot be understood, and the encoding comes before it in all that compilers make
    return encoding


class _Machine:
    """Runs instructions up to an address."""

    def __init__(self, common: Common, initial: Rules, start: int) -> None:
        self._common = common
        self._initial = initial
        self._rules = initial.copy()
        self._location = start
        self._remembered: list[Rules] = []

    def run(self, instructions: bytes, pc: int) -> Rules:
        code = Cursor(instructions)
        for _ in range(STEPS_MAX):
            if code.at_end:
                return self._rules
            if self._step(code, code.byte(), pc):
                return self._rules
        raise NoSense("instructions without an end")

    def _step(self, code: Cursor, instruction: int, pc: int) -> bool:
        """One instruction; True if it begins a row beyond `pc`."""
        high, low = instruction & 0xC0, instruction & 0x3F
        if high == 0x40:  # DW_CFA_advance_loc
            return self._advance(low * self._common.code_factor, pc)
        if high == 0x80:  # DW_CFA_offset
            self._set(low, Rule(RuleKind.OFFSET, offset=code.uleb() * self._common.data_factor))
        elif high == 0xC0:  # DW_CFA_restore
            self._restore(low)
        elif instruction in (0x02, 0x03, 0x04):  # DW_CFA_advance_loc1, 2, 4
            delta = code.number({2: "B", 3: "H", 4: "I"}[instruction])
            return self._advance(delta * self._common.code_factor, pc)
        elif instruction == 0x01:  # DW_CFA_set_loc
            self._location = code.pointer(self._common.encoding & 0x0F)
            return self._location > pc
        elif 0x0A <= instruction <= 0x0B:
            self._remember(instruction == 0x0A)
        elif instruction in _CFA:
            self._define(code, instruction)
        else:
            self._register(code, instruction)
        return False

    def _advance(self, delta: int, pc: int) -> bool:
        self._location += delta
        return self._location > pc

    def _set(self, register: int, rule: Rule) -> None:
        if register >= REGISTERS_MAX:
            raise NoSense(f"register {register}")
        self._rules.registers[register] = rule

    def _restore(self, register: int) -> None:
        rule = self._initial.registers.get(register)
        if rule is None:
            self._rules.registers.pop(register, None)
        else:
            self._rules.registers[register] = rule

    def _remember(self, push: bool) -> None:
        if push:
            if len(self._remembered) >= REMEMBERED_MAX:
                raise NoSense("too many remembered states")
            self._remembered.append(self._rules.copy())
        elif self._remembered:
            self._rules = self._remembered.pop()
        else:
            raise NoSense("a state that was not remembered")

    def _define(self, code: Cursor, instruction: int) -> None:
        """How the canonical frame address is computed."""
        cfa, factor = self._rules.cfa, self._common.data_factor
        if instruction == 0x0C:  # DW_CFA_def_cfa
            cfa = Rule(RuleKind.REGISTER, code.uleb(), code.uleb())
        elif instruction == 0x12:  # DW_CFA_def_cfa_sf
            cfa = Rule(RuleKind.REGISTER, code.uleb(), code.sleb() * factor)
        elif instruction == 0x0D:  # DW_CFA_def_cfa_register
            cfa = Rule(RuleKind.REGISTER, code.uleb(), cfa.offset)
        elif instruction == 0x0E:  # DW_CFA_def_cfa_offset
            cfa = Rule(RuleKind.REGISTER, cfa.number, code.uleb())
        elif instruction == 0x13:  # DW_CFA_def_cfa_offset_sf
            cfa = Rule(RuleKind.REGISTER, cfa.number, code.sleb() * factor)
        else:  # DW_CFA_def_cfa_expression
            cfa = Rule(RuleKind.VAL_EXPRESSION, expression=code.block())
        self._rules.cfa = cfa

    def _register(self, code: Cursor, instruction: int) -> None:
        """Where a register is, or an instruction without a meaning for us."""
        factor = self._common.data_factor
        if instruction == 0x00 or instruction == 0x2D:  # DW_CFA_nop, DW_CFA_AARCH64_negate_ra_state
            return
        if instruction == 0x2E:  # DW_CFA_GNU_args_size
            code.uleb()
            return
        register = code.uleb()
        if instruction == 0x05:  # DW_CFA_offset_extended
            self._set(register, Rule(RuleKind.OFFSET, offset=code.uleb() * factor))
        elif instruction == 0x11:  # DW_CFA_offset_extended_sf
            self._set(register, Rule(RuleKind.OFFSET, offset=code.sleb() * factor))
        elif instruction == 0x06:  # DW_CFA_restore_extended
            self._restore(register)
        elif instruction in (0x07, 0x08):  # DW_CFA_undefined, DW_CFA_same_value
            self._set(register, Rule(RuleKind.UNDEFINED if instruction == 0x07 else RuleKind.SAME))
        elif instruction == 0x09:  # DW_CFA_register
            self._set(register, Rule(RuleKind.REGISTER, code.uleb()))
        elif instruction in (0x10, 0x16):  # DW_CFA_expression, DW_CFA_val_expression
            kind = RuleKind.EXPRESSION if instruction == 0x10 else RuleKind.VAL_EXPRESSION
            self._set(register, Rule(kind, expression=code.block()))
        elif instruction == 0x14:  # DW_CFA_val_offset
            self._set(register, Rule(RuleKind.VAL_OFFSET, offset=code.uleb() * factor))
        else:
            raise NoSense(f"instruction {instruction:#x}")


_CFA = frozenset({0x0C, 0x0D, 0x0E, 0x0F, 0x12, 0x13})
