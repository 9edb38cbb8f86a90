"""What differs between processors: the numbers of their registers in DWARF, and what the kernel calls them."""

from __future__ import annotations

from bisect import bisect_right
from collections import abc
from collections.abc import Iterable

from fpm.frozen import dataclass


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
    values: abc.Mapping[int, int]
    pc: int

    @property
    def stack_pointer(self) -> int:
        """Where its stack ends at this moment."""
        return self.values.get(self.machine.stack_pointer, 0)


def take_registers(machine: Machine, named: abc.Mapping[str, int]) -> Registers:
    """From the kernel's names and values; what is missing is not known."""
    values = {number: named[name] for number, name in enumerate(machine.registers) if name in named}
    return Registers(machine, values, named.get(machine.pc, 0))


MAPPINGS_MAX = 65536
"""The kernel's default bound (vm.max_map_count)."""


@dataclass(frozen=True, slots=True)
class Mapping:
    """One line of it."""

    start: int
    end: int
    offset: int
    path: str
    """"" for memory without a file; "[stack]", "[vdso]" and the like as they are."""


class Maps:
    """All mappings of a process, in order."""

    def __init__(self, mappings: Iterable[Mapping]) -> None:
        self._all = sorted(mappings, key=lambda mapping: mapping.start)
        self._starts = [mapping.start for mapping in self._all]

    def find(self, address: int) -> Mapping | None:
        """The one that this address is in."""
        index = bisect_right(self._starts, address) - 1
        if index < 0 or address >= self._all[index].end:
            return None
        return self._all[index]

    def image_of(self, address: int) -> Mapping | None:
        """The first mapping of the program or library that this address is in: where its ELF header lies."""
        index = bisect_right(self._starts, address) - 1
        if index < 0 or address >= self._all[index].end:
            return None
        path = self._all[index].path
        while path and index >= 0 and self._all[index].path in (path, ""):
            if self._all[index].path == path and self._all[index].offset == 0:
                return self._all[index]
            index -= 1
        return None


def parse_maps(text: str) -> Maps:
    """From the file's text; lines that are none are left out."""
    return Maps(found for line in text.splitlines()[:MAPPINGS_MAX] if (found := _parse_line(line)) is not None)


def _parse_line(line: str) -> Mapping | None:
    try:
        span, _rights, offset, _device, _inode, *path = line.split(None, 5)
        start, end = (int(number, 16) for number in span.split("-"))
        return Mapping(start, end, int(offset, 16), path[0] if path else "")
    except ValueError:
        return None
