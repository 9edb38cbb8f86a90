"""Any memory at all ends a native stack; nothing raises, loops or reads without bounds."""

from __future__ import annotations

import ctypes
import os
import random
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fpm.stacks.native.dwarf import Cursor, NoSense, evaluate
from fpm.stacks.native.image import Image
from fpm.stacks.native.process import X86_64, Maps, Registers, parse_maps
from fpm.stacks.native.tables import REGISTERS_MAX, read_function
from fpm.stacks.native.unwind import FRAMES_MAX, StackCopy, Unwinder
from fpm.stacks.reading.memory import Read

BASE = 0x10000
READ_MAX = 8 << 20
IS_X86 = os.uname().machine == "x86_64"


def memory(data: bytes, base: int = BASE) -> Read:
    def read(address: int, size: int) -> bytes:
        assert size <= READ_MAX, f"{size} bytes at once"
        start = address - base
        return data[start : start + size] if 0 <= start < len(data) else b""

    return read


def own_memory(address: int, size: int) -> bytes:
    """What lies there in this process, as /proc/PID/mem gives it."""
    fd = os.open("/proc/self/mem", os.O_RDONLY)
    try:
        return os.pread(fd, size, address)
    except (OSError, OverflowError):
        return b""
    finally:
        os.close(fd)


def own_maps() -> Maps:
    with open("/proc/self/maps") as file:
        return parse_maps(file.read())


def address_of(function: str) -> int:
    found = ctypes.cast(getattr(ctypes.CDLL(None), function), ctypes.c_void_p).value
    assert found is not None
    return found


@pytest.fixture(scope="module")
def libc() -> tuple[int, bytes, int]:
    """Where the C library lies here, what is in its first megabytes, and the address of qsort_r in it."""
    pc = address_of("qsort_r")
    mapping = own_maps().image_of(pc)
    assert mapping is not None
    pages = [
        own_memory(address, 4096).ljust(4096, b"\0")
        for address in range(mapping.start, mapping.start + (3 << 20), 4096)
    ]
    return mapping.start, b"".join(pages), pc


@pytest.mark.skipif(not IS_X86, reason="the register numbers below are those of x86-64")
def test_a_function_of_the_c_library_is_found_with_its_name_and_table(libc: tuple[int, bytes, int]) -> None:
    base, _, pc = libc
    image = Image(own_memory, base, "libc.so.6")
    assert image.name_of(pc) == "qsort_r"
    function = read_function(own_memory, image.find_fde(pc))
    assert function.start <= pc < function.start + function.size
    at_entry = function.rules_at(pc)
    # The return address lies right below the canonical frame address (System V ABI, AMD64, section 3.2.2).
    assert at_entry.cfa.offset == 8
    assert at_entry.registers[16].offset == -8


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_damaged_library_ends_the_stack(libc: tuple[int, bytes, int], data: st.DataObject) -> None:
    base, whole, pc = libc
    chance = random.Random(data.draw(st.integers(0, 2**32)))
    damaged = bytearray(whole)
    # The header and the tables that are really looked at, so that most damage matters.
    image = Image(memory(whole, base), base, "libc")
    entry = image.find_fde(pc)
    places = [base, image._eh_frame_hdr[0], entry, image._dynamic[0]]
    for _ in range(data.draw(st.integers(1, 30))):
        place = chance.choice(places) - base + chance.randrange(96)
        if place < len(damaged):
            damaged[place] = chance.randrange(256)
    maps = parse_maps(f"{base:x}-{base + len(whole):x} r-xp 00000000 08:01 1 /lib/libc.so.6\n")
    stack = chance.randbytes(4096)
    registers = Registers(X86_64, {number: 0x7000 + 64 * number for number in range(16)}, pc)
    calls, why = Unwinder(maps, memory(bytes(damaged), base)).unwind(StackCopy(registers, 0x7000, stack))
    assert len(calls) <= FRAMES_MAX
    assert why or calls


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=600), st.integers(0, 2**64 - 1))
def test_any_bytes_are_no_image_or_one_that_answers(data: bytes, pc: int) -> None:
    try:
        image = Image(memory(b"\x7fELF\x02\x01" + data), BASE, "x")
    except NoSense:
        return
    image.name_of(pc)
    with pytest.raises(NoSense):
        image.find_fde(pc)


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=400), st.integers(0, 2**64 - 1))
def test_any_bytes_are_no_function_or_one_with_rules(data: bytes, pc: int) -> None:
    common = struct.pack("<II", len(data) + 9, 0) + b"\x01zR\0\x01\x78\x10\x01\x1b" + data[:200]
    common = struct.pack("<I", len(common) - 4) + common[4:]
    entry = struct.pack("<II", len(data) + 4, len(common) + 4) + data
    try:
        rules = read_function(memory(common + entry), BASE + len(common)).rules_at(pc)
    except NoSense:
        return
    assert len(rules.registers) <= REGISTERS_MAX


@settings(max_examples=1000, deadline=None)
@given(st.binary(max_size=80))
def test_any_expression_ends(data: bytes) -> None:
    try:
        value = evaluate(data, {7: 0x7FFF}, memory(bytes(64)), 1)
    except NoSense:
        return
    assert 0 <= value < 2**64


@given(st.text(max_size=300))
def test_any_text_is_a_table_of_mappings(text: str) -> None:
    assert parse_maps(text).find(1 << 70) is None


@pytest.mark.parametrize(
    ("data", "value"), [(b"\x02", 2), (b"\x7f", -1), (b"\x80\x01", 128), (b"\x80\x7f", -128), (b"\xff\x00", 127)]
)
def test_signed_numbers(data: bytes, value: int) -> None:
    assert Cursor(data).sleb() == value


def test_a_number_without_an_end() -> None:
    with pytest.raises(NoSense, match="without an end"):
        Cursor(b"\xff" * 40).uleb()


MAPS = """\
5000-6000 r--p 00000000 08:01 1 /lib/a b.so (deleted)
6000-7000 r-xp 00001000 08:01 1 /lib/a b.so (deleted)
7000-8000 rw-p 00000000 00:00 0
8000-9000 rw-p 00002000 08:01 1 /lib/a b.so (deleted)
9000-a000 r-xp 00001000 08:01 2 /lib/other.so
b000-c000 r-xp 00000000 00:00 0 [vdso]
"""


@pytest.mark.parametrize(
    ("address", "start"),
    [(0x6500, 0x5000), (0x8000, 0x5000), (0x7000, None), (0x9000, None), (0xB123, 0xB000), (0xC000, None)],
)
def test_the_image_of_an_address(address: int, start: int | None) -> None:
    found = parse_maps(MAPS).image_of(address)
    assert (found and found.start) == start
