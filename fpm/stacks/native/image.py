"""A program or library as it lies in memory: its unwind tables and the names of its functions (elf(5))."""

from __future__ import annotations

import struct
from bisect import bisect_right

from fpm.stacks.native.dwarf import DATAREL, OMIT, SDATA4, Cursor, NoSense
from fpm.stacks.reading.memory import Read

HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
PROGRAM_HEADER = struct.Struct("<IIQQQQQQ")
SYMBOL = struct.Struct("<IBBHQQ")
DYNAMIC = struct.Struct("<qQ")
PT_LOAD, PT_DYNAMIC, PT_GNU_EH_FRAME = 1, 2, 0x6474E550
DT_HASH, DT_STRTAB, DT_SYMTAB, DT_STRSZ, DT_GNU_HASH = 4, 5, 6, 10, 0x6FFFFEF5
STT_FUNC, STT_GNU_IFUNC = 2, 10
PROGRAM_HEADERS_MAX = 64
DYNAMIC_MAX = 512
SYMBOLS_MAX = 200_000
BUCKETS_MAX = 100_000
NAME_MAX = 512
"""Bytes of a function's name that are read."""
TABLE_MAX = 2_000_000
"""Entries of a table of functions that are believed."""


class Image:
    """One of them.

    Args:
        read: memory of the process.
        base: where its ELF header lies.

    Raises:
        NoSense: there is no ELF file of 64 bits at `base`.
    """

    def __init__(self, read: Read, base: int, path: str) -> None:
        self.path = path
        self._read = read
        header = read(base, HEADER.size)
        if len(header) < HEADER.size or not header.startswith(b"\x7fELF\x02\x01"):
            raise NoSense("no ELF header of 64 bits")
        _, _, _, _, _, offset, _, _, _, size, count, *_ = HEADER.unpack(header)
        if size != PROGRAM_HEADER.size or count > PROGRAM_HEADERS_MAX:
            raise NoSense("strange program headers")
        data = read(base + offset, size * count)
        headers = list(PROGRAM_HEADER.iter_unpack(data[: len(data) // size * size]))
        loads = [address for kind, _, file_offset, address, *_ in headers if kind == PT_LOAD and file_offset == 0]
        self.bias = base - (loads[0] if loads else 0)
        """What is added to an address in the file to have it in memory."""
        self._eh_frame_hdr = self._segment(headers, PT_GNU_EH_FRAME)
        self._dynamic = self._segment(headers, PT_DYNAMIC)
        self._names: list[tuple[int, int, int]] | None = None
        """Address, size, offset of the name; sorted."""
        self._strings = 0
        self._strings_size = 0

    def _segment(self, headers: list[tuple[int, ...]], kind: int) -> tuple[int, int]:
        """Address and size in memory; 0, 0 if there is none."""
        for found, _, _, address, _, _, size, _ in headers:
            if found == kind:
                return self.bias + address, size
        return 0, 0

    # ---------------------------------------------------------------- unwind tables

    def find_fde(self, pc: int) -> int:
        """The address of the frame description entry for a program counter, by the sorted table of .eh_frame_hdr
        (Linux Standard Base 5.0, Core, section 10.6.2).

        Raises:
            NoSense: there is none.
        """
        address, size = self._eh_frame_hdr
        head = Cursor(self._read(address, 32), address)
        version, pointer, count, table = head.byte(), head.byte(), head.byte(), head.byte()
        if version != 1 or count == OMIT or table != DATAREL | SDATA4:
            raise NoSense("no sorted table of functions")
        head.pointer(pointer, address)
        entries = head.pointer(count, address)
        if not 0 < entries <= min(TABLE_MAX, size // 8):
            raise NoSense("a table of functions without sense")
        first, last = address + head.position, entries - 1
        low, high = 0, last
        while low < high:
            middle = (low + high + 1) // 2
            if self._start_of(first + 8 * middle, address) <= pc:
                low = middle
            else:
                high = middle - 1
        cursor = Cursor(self._read(first + 8 * low, 8), first + 8 * low)
        if cursor.pointer(table, address) > pc:
            raise NoSense("no function there")
        return cursor.pointer(table, address)

    def _start_of(self, entry: int, base: int) -> int:
        return Cursor(self._read(entry, 4), entry).pointer(DATAREL | SDATA4, base)

    # ---------------------------------------------------------------- names

    def name_of(self, pc: int) -> str:
        """The exported function that this address is in; "" if it has no name there."""
        if self._names is None:
            try:
                self._names = self._read_symbols()
            except NoSense:
                self._names = []
        index = bisect_right(self._names, (pc, 1 << 64, 0)) - 1
        if index < 0:
            return ""
        start, size, name = self._names[index]
        if not start <= pc < start + max(size, 1):
            return ""
        room = min(NAME_MAX, max(self._strings_size - name, 0))
        return self._read(self._strings + name, room).partition(b"\0")[0].decode("utf-8", "replace")

    def _read_symbols(self) -> list[tuple[int, int, int]]:
        address, size = self._dynamic
        data = self._read(address, min(size, DYNAMIC_MAX * DYNAMIC.size))
        tags: dict[int, int] = {}
        for tag, value in DYNAMIC.iter_unpack(data[: len(data) // DYNAMIC.size * DYNAMIC.size]):
            tags.setdefault(tag, value)
        if DT_SYMTAB not in tags or DT_STRTAB not in tags:
            raise NoSense("no table of symbols")
        self._strings, self._strings_size = self._place(tags[DT_STRTAB]), tags.get(DT_STRSZ, 0)
        count = min(self._count_symbols(tags), SYMBOLS_MAX)
        table = self._read(self._place(tags[DT_SYMTAB]), count * SYMBOL.size)
        found = []
        for name, info, _, section, value, length in SYMBOL.iter_unpack(table[: len(table) // 24 * 24]):
            if section and info & 0xF in (STT_FUNC, STT_GNU_IFUNC):
                found.append((self.bias + value, length, name))
        return sorted(found)

    def _place(self, address: int) -> int:
        """The dynamic loader has added the bias to these addresses in most objects, but not in the vDSO."""
        return address if address >= self.bias else self.bias + address

    def _count_symbols(self, tags: dict[int, int]) -> int:
        if DT_HASH in tags:
            return Cursor(self._read(self._place(tags[DT_HASH]) + 4, 4)).number("I")
        if DT_GNU_HASH not in tags:
            raise NoSense("no hash table, so no number of symbols")
        return self._count_by_gnu_hash(self._place(tags[DT_GNU_HASH]))

    def _count_by_gnu_hash(self, table: int) -> int:
        """One more than the highest index; the last chain ends with an odd hash."""
        head = Cursor(self._read(table, 16))
        buckets, first, bloom = head.number("I"), head.number("I"), head.number("I")
        if buckets > BUCKETS_MAX or bloom > BUCKETS_MAX:
            raise NoSense("a hash table without sense")
        start = table + 16 + 8 * bloom
        data = self._read(start, 4 * buckets)
        last = max((number for (number,) in struct.iter_unpack("<I", data[: len(data) // 4 * 4])), default=0)
        if last < first or last > SYMBOLS_MAX:
            return first
        chains = start + 4 * buckets
        while last <= SYMBOLS_MAX:
            if Cursor(self._read(chains + 4 * (last - first), 4)).number("I") & 1:
                return last + 1
            last += 1
        raise NoSense("a hash table without an end")
