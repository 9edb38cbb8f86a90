"""Runs a filter of system calls as the kernel does (linux/filter.h, what seccomp(2) has of it), in plain Python."""

from __future__ import annotations

import struct

LOAD, JUMP, JUMP_EQUAL, JUMP_FROM, JUMP_ANY, RETURN = 0x20, 0x05, 0x15, 0x35, 0x45, 0x06
ALLOW, ERRNO, KILL = 0x7FFF0000, 0x00050000, 0x80000000
INSTRUCTIONS_MAX = 4096
"""BPF_MAXINSNS."""


def run(program: bytes, arch: int, number: int, arguments: tuple[int, ...] = ()) -> int:
    """Return the action for a call; AssertionError if the kernel would refuse the program, or it went wrong."""
    code = list(struct.iter_unpack("<HBBI", program))
    assert 0 < len(code) <= INSTRUCTIONS_MAX
    padded = [value & (2**64 - 1) for value in (*arguments, *[0] * 6)][:6]
    data = struct.pack("<IIQ6Q", number & 0xFFFFFFFF, arch, 0, *padded)
    at = register = 0
    while True:
        assert at < len(code), "it runs past its end"
        what, if_true, if_false, constant = code[at]
        at += 1
        if what == LOAD:
            assert constant in range(0, len(data), 4)
            (register,) = struct.unpack_from("<I", data, constant)
        elif what == JUMP_EQUAL:
            at += if_true if register == constant else if_false
        elif what == JUMP_FROM:
            at += if_true if register >= constant else if_false
        elif what == JUMP_ANY:
            at += if_true if register & constant else if_false
        else:
            assert what == RETURN, f"instruction {what:#x}"
            return int(constant)
