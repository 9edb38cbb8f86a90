"""What differs between processors: the numbers of their registers in DWARF, and what the kernel calls them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Machine:
    """One processor's calling convention."""

    registers: tuple[str, ...]
    """The kernel's names (struct user_regs_struct) in the order of DWARF's numbers."""
    pc: str
    stack_pointer: int
    """DWARF's number."""
    pointer_mask: int
    """The bits of a return address that are one: aarch64 may sign it."""


X86_64 = Machine(
    ("rax", "rdx", "rcx", "rbx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"),
    pc="rip",
    stack_pointer=7,
    pointer_mask=(1 << 64) - 1,
)
"""System V ABI, AMD64 supplement, figure 3.36."""
AARCH64 = Machine(
    (*(f"x{number}" for number in range(31)), "sp"), pc="pc", stack_pointer=31, pointer_mask=(1 << 48) - 1
)
"""DWARF for the Arm 64-bit Architecture, section 4.1."""
MACHINES = {"x86_64": X86_64, "aarch64": AARCH64}
"""By os.uname().machine."""


@dataclass(frozen=True, slots=True)
class Registers:
    """A thread's registers by DWARF's numbers."""

    machine: Machine
    values: Mapping[int, int]
    pc: int

    @property
    def stack_pointer(self) -> int:
        """Where its stack ends at this moment."""
        return self.values.get(self.machine.stack_pointer, 0)


def take_registers(machine: Machine, named: Mapping[str, int]) -> Registers:
    """From the kernel's names and values; what is missing is not known."""
    values = {number: named[name] for number, name in enumerate(machine.registers) if name in named}
    return Registers(machine, values, named.get(machine.pc, 0))
