"""What a stopped thread was doing, in one phrase, by its registers. Pure.

A thread stops on its way out of the kernel, so the registers still say which system call it was in: on x86-64
as ptrace(2) has it (orig_rax, negative if there is none), on aarch64 by the instruction that is about to be executed
again.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping

from fpm.frozen import dataclass
from fpm.system.addresses import ADDRESS_MAX, read_address

RUNNING = "running"
LOCK = "waiting for a lock"
LINK_MAX = 200
"""Characters of what a descriptor is."""
LOCKS = frozenset({"futex", "futex_wait", "futex_waitv"})
POLLS = frozenset({"poll", "ppoll"})
SELECTS = frozenset({"select", "pselect6"})
EPOLLS = frozenset({"epoll_wait", "epoll_pwait", "epoll_pwait2"})
POLL_FD = struct.Struct("=ihh")
POLLED_MAX = 3
"""Descriptors that are named of those that poll(2) and the like wait for."""
SELECTED_MAX = 1024
"""FD_SETSIZE, select(2)."""
_CALLS = """
    read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 recvfrom recvmsg recvmmsg sendto sendmsg
    sendmmsg accept accept4 connect shutdown bind listen getsockopt setsockopt getpeername getsockname epoll_wait
    epoll_pwait epoll_pwait2 epoll_ctl flock fcntl fsync fdatasync sync_file_range ftruncate fallocate fstat lseek
    ioctl getdents getdents64 sendfile splice tee vmsplice fchmod fchown fchdir close syncfs io_uring_enter
    """
FIRST_IS_DESCRIPTOR = frozenset(_CALLS.split())
_FIRST = "open creat stat lstat access unlink rename mkdir rmdir readlink chmod truncate statfs execve"
FIRST_IS_PATH = frozenset(_FIRST.split())
_SECOND = "openat openat2 newfstatat statx unlinkat renameat renameat2 mkdirat readlinkat faccessat faccessat2"
SECOND_IS_PATH = frozenset(_SECOND.split())
PAGE = 4096
"""No mapping ends within one, on any machine."""
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
    watched: Callable[[int], list[int]] = lambda fd: []
    """Some of the descriptors that an epoll(7) instance watches."""


def describe(registers: Mapping[str, int], context: Context) -> str:
    """Put into words what a stopped thread was doing."""
    call = _find_call(registers, context)
    if call is None:
        return RUNNING
    name = context.names.get(call.number, f"system call {call.number}")
    if name in LOCKS:
        return LOCK
    return f"in {name}({_arguments(name, call.arguments, context)})"


def _arguments(name: str, values: tuple[int, ...], context: Context) -> str:
    """Say of a call's arguments what tells for whom or what it waits."""
    if name == "connect":
        address = read_address(context.read(values[1], min(values[2], ADDRESS_MAX)))
        return _name(_number(values[0]), address) if address else _descriptor(values[0], context)
    if name in EPOLLS:
        watched = _listed(context.watched(_number(values[0])), context)
        return watched or _descriptor(values[0], context)
    if name in FIRST_IS_DESCRIPTOR:
        return _descriptor(values[0], context)
    if name in POLLS:
        return _listed(_polled(values[0], values[1], context), context)
    if name in SELECTS:
        return _listed(_selected(values, context), context)
    if name in FIRST_IS_PATH or name in SECOND_IS_PATH:
        return _path(values[name in SECOND_IS_PATH], context)
    if name == "wait4" and _number(values[0]) > 0:
        return str(_number(values[0]))
    return ""


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


def _number(value: int) -> int:
    """Read an int out of a register."""
    low = value & 0xFFFFFFFF
    return low if low < 1 << 31 else low - (1 << 32)


def _descriptor(value: int, context: Context) -> str:
    fd = _number(value)
    return _name(fd, context.link(fd)) if fd >= 0 else str(fd)


def _name(fd: int, link: str) -> str:
    shown = _printable(link)
    return f"{fd} <{shown}>" if shown else str(fd)


def _path(address: int, context: Context) -> str:
    """Read the beginning of a path; what lies on a page that is not there must not hide what is on the one before."""
    size = min(LINK_MAX, PAGE - address % PAGE)
    data = context.read(address, size)
    if b"\0" not in data and len(data) == size < LINK_MAX:
        data += context.read(address + size, LINK_MAX - size)
    return _printable(data.partition(b"\0")[0].decode(errors="replace"))


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text[:LINK_MAX])


def _listed(fds: list[int], context: Context) -> str:
    named = [_descriptor(fd, context) for fd in fds[:POLLED_MAX] if fd >= 0]
    return ", ".join([*named, *(["..."] if named and len(fds) > POLLED_MAX else [])])


def _polled(address: int, count: int, context: Context) -> list[int]:
    """List the descriptors of poll(2), one more than are named."""
    data = context.read(address, POLL_FD.size * min(count, POLLED_MAX + 1)) if 0 < count < 1 << 20 else b""
    whole = len(data) - len(data) % POLL_FD.size
    return [fd for fd, _, _ in POLL_FD.iter_unpack(data[:whole])]


def _selected(values: tuple[int, ...], context: Context) -> list[int]:
    """List the descriptors that select(2) waits for to become readable or writable."""
    count = min(max(_number(values[0]), 0), SELECTED_MAX)
    fds: list[int] = []
    for address in values[1:3]:
        bits = int.from_bytes(context.read(address, (count + 7) // 8) if address and count else b"", "little")
        fds += [fd for fd in range(count) if bits >> fd & 1 and fd not in fds]
    return fds
