"""What a thread does, by made-up registers."""

from __future__ import annotations

import struct

import pytest

from fpm.tracer.syscall_text import Context, describe
from fpm.tracer.warmup import FRAMES, warm_up

NAMES = {0: "read", 7: "poll", 45: "recvfrom", 202: "futex", 219: "restart_syscall", 230: "clock_nanosleep"}
LINKS = {3: "socket:[123]", 4: "/tmp/a\nb", 5: "x" * 5000}


def x86(number: int, *arguments: int, rip: int = 0x1000) -> dict[str, int]:
    values = dict(zip(("rdi", "rsi", "rdx", "r10", "r8", "r9"), (*arguments, *[0] * 6), strict=False))
    return {"orig_rax": number % (1 << 64), "rax": -512 % (1 << 64), "rip": rip, **values}


def context(memory: dict[int, bytes] | None = None, names: dict[int, str] = NAMES) -> Context:
    return Context(names, lambda address, size: (memory or {}).get(address, b"")[:size], lambda fd: LINKS.get(fd, ""))


@pytest.mark.parametrize(
    ("registers", "phrase"),
    [
        (x86(-1), "running"),
        (x86(45, 3), "in recvfrom(3 <socket:[123]>)"),
        (x86(0, 4), "in read(4 </tmp/a?b>)"),
        (x86(0, 5), f"in read(5 <{'x' * 200}>)"),
        (x86(0, 9), "in read(9)"),
        (x86(0, 0xFFFFFFFF), "in read(-1)"),
        (x86(0, (1 << 64) - 1), "in read(-1)"),
        (x86(202, 3), "waiting for a lock"),
        (x86(230), "in clock_nanosleep()"),
        (x86(999), "in system call 999()"),
        (x86(219), "in restart_syscall()"),
        (x86(7, 0x5000, 1), "in poll()"),
        (x86(7, 0x5000, 1 << 40), "in poll()"),
        ({}, "running"),
    ],
)
def test_a_system_call_is_named(registers: dict[str, int], phrase: str) -> None:
    assert describe(registers, context()) == phrase


def test_poll_names_what_it_waits_for() -> None:
    entries = b"".join(struct.pack("=ihh", fd, 1, 0) for fd in (3, -1, 9, 8))
    assert describe(x86(7, 0x5000, 1), context({0x5000: entries})) == "in poll(3 <socket:[123]>)"
    assert describe(x86(7, 0x5000, 4), context({0x5000: entries})) == "in poll(3 <socket:[123]>, 9, ...)"
    assert describe(x86(7, 0x5000, 3), context({0x5000: entries[:11]})) == "in poll(3 <socket:[123]>)"


@pytest.mark.parametrize(
    ("address", "memory", "shown"),
    [
        (0x5000, {0x5000: b"/srv/a\nb\xff\0rest"}, "/srv/a?b\ufffd"),
        (0x5FFE, {0x5FFE: b"/s", 0x6000: b"rv\0"}, "/srv"),
        (0x5FFE, {0x5FFE: b"/s"}, "/s"),
        (0x5000, {0x5000: b"x" * 5000}, "x" * 200),
        (0x5000, {}, ""),
    ],
)
def test_a_path_is_read_as_far_as_it_is_there(address: int, memory: dict[int, bytes], shown: str) -> None:
    names = {257: "openat", 4: "stat"}
    assert describe(x86(257, 0, address), context(memory, names)) == f"in openat({shown})"
    assert describe(x86(4, address), context(memory, names)) == f"in stat({shown})"


def test_a_call_that_was_restarted_has_its_own_name() -> None:
    """After a first interruption the number is restart_syscall's; the instructions still have poll's."""
    code = {0x1000 - 7: b"\xb8\x07\x00\x00\x00\x0f\x05"}
    assert describe(x86(219, 0, 0), context(code)) == "in poll()"
    assert describe(x86(219, 0, 0), context({0x1000 - 7: b"\xb9\x07\0\0\0\x0f\x05"})) == "in restart_syscall()"


def test_aarch64_is_told_by_the_instruction() -> None:
    registers = {f"x{number}": 0 for number in range(31)} | {"x8": 45, "x0": 3, "pc": 0x2000}
    assert describe(registers, context({0x2000: b"\x01\x00\x00\xd4"})) == "in recvfrom(3 <socket:[123]>)"
    assert describe(registers, context({0x2000: b"\x1f\x20\x03\xd5"})) == "running"
    assert describe(registers, context()) == "running"


def test_the_rehearsal_goes_all_the_way() -> None:
    (thread,) = warm_up()
    assert (len(thread.frames), thread.note) == (FRAMES, "")
    assert {frame.code.function for frame in thread.frames} == {"application"}
