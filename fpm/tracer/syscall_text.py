"""What a stopped thread was doing, in one phrase, by its registers. Pure.

A thread stops on its way out of the kernel, so the registers still say which system call it was in: on x86-64
as ptrace(2) has it (orig_rax, negative if there is none), on aarch64 by the instruction that is about to be executed
again.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping

from fpm.frozen import dataclass

RUNNING = "running"
LOCK = "waiting for a lock"
LINK_MAX = 200
"""Characters of what a descriptor is."""
LOCKS = frozenset({"futex", "futex_wait", "futex_waitv"})
POLLS = frozenset({"poll", "ppoll"})
POLL_FD = struct.Struct("=ihh")
POLLED_MAX = 3
"""Descriptors that are named of those that poll(2) waits for."""
_CALLS = """
    read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 recvfrom recvmsg recvmmsg sendto sendmsg
    sendmmsg accept accept4 connect shutdown bind listen getsockopt setsockopt getpeername getsockname epoll_wait
    epoll_pwait epoll_pwait2 epoll_ctl flock fcntl fsync fdatasync sync_file_range ftruncate fallocate fstat lseek
    ioctl getdents getdents64 sendfile splice tee vmsplice fchmod fchown fchdir close syncfs io_uring_enter
    """
FIRST_IS_DESCRIPTOR = frozenset(_CALLS.split())
AARCH64_CALL = b"\x01\x00\x00\xd4"
"""svc #0"""
X86_64_CALL = b"\x0f\x05"
"""syscall"""
X86_64_SET_NUMBER = 0xB8
"""mov $n, %eax"""
RESTART = "restart_syscall"


@dataclass(frozen=True, slots=True)
class Call:
    """A system call that a thread is in."""

    number: int
    arguments: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Context:
    """What describe() may ask about the process."""

    names: Mapping[int, str]
    """Of system calls."""
    read: Callable[[int, int], bytes]
    """The process's memory."""
    link: Callable[[int], str]
    """What one of its descriptors is, "" if it is not told."""


def describe(registers: Mapping[str, int], context: Context) -> str:
    """Put into words what a stopped thread was doing."""
    call = _find_call(registers, context)
    if call is None:
        return RUNNING
    name = context.names.get(call.number, f"system call {call.number}")
    if name in LOCKS:
        return LOCK
    if name in FIRST_IS_DESCRIPTOR:
        return f"in {name}({_descriptor(call.arguments[0], context)})"
    if name in POLLS:
        return f"in {name}({_polled(call.arguments[0], call.arguments[1], context)})"
    return f"in {name}()"


def _find_call(registers: Mapping[str, int], context: Context) -> Call | None:
    if "orig_rax" in registers:
        number = registers["orig_rax"]
        if number >= 1 << 63:
            return None
        if context.names.get(number) == RESTART:
            number = _restarted(registers["rip"], number, context)
        return Call(number, tuple(registers[name] for name in ("rdi", "rsi", "rdx", "r10", "r8", "r9")))
    if "x8" in registers:
        if context.read(registers["pc"], len(AARCH64_CALL)) != AARCH64_CALL:
            return None
        return Call(registers["x8"], tuple(registers[f"x{number}"] for number in range(6)))
    return None


def _restarted(pc: int, number: int, context: Context) -> int:
    """Find the number of a call with a timeout that goes on under another number after an interruption."""
    code = context.read(pc - 7, 7)
    if len(code) == 7 and code[0] == X86_64_SET_NUMBER and code.endswith(X86_64_CALL):
        return int.from_bytes(code[1:5], "little")
    return number


def _descriptor(value: int, context: Context) -> str:
    fd = value & 0xFFFFFFFF
    if fd >= 1 << 31:
        return str(fd - (1 << 32))
    link = context.link(fd)
    shown = "".join(char if char.isprintable() else "?" for char in link[:LINK_MAX])
    return f"{fd} <{shown}>" if shown else str(fd)


def _polled(address: int, count: int, context: Context) -> str:
    data = context.read(address, POLL_FD.size * min(count, POLLED_MAX)) if 0 < count < 1 << 20 else b""
    whole = len(data) - len(data) % POLL_FD.size
    fds = [_descriptor(fd, context) for fd, _, _ in POLL_FD.iter_unpack(data[:whole]) if fd >= 0]
    return ", ".join([*fds, *(["..."] if fds and count > POLLED_MAX else [])])
