"""The filter of system calls as a program: which calls it refuses, on each machine, and that its numbers are right."""

from __future__ import annotations

import re
from errno import ENOSYS, EPERM
from pathlib import Path
from typing import get_args

import pytest

from fpm.kernel import denied
from fpm.kernel.bpf import compile_filter
from fpm.kernel.calls import LAST_KNOWN, MACHINES, NUMBERS, UNIFIED, number_of
from fpm.kernel.denied import GROUPS, STRICT_GROUPS, Level
from tests.support.bpf import ALLOW, ERRNO, KILL, run

LEVELS = get_args(Level)
REFUSED = ERRNO | EPERM
UNKNOWN = ERRNO | ENOSYS
HEADERS = {
    "x86_64": ("/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "/usr/include/asm/unistd_64.h"),
    "aarch64": ("/usr/include/asm-generic/unistd.h",),
}
I386, ARM = 0x40000003, 0x40000028

pytestmark = pytest.mark.parametrize("machine", sorted(MACHINES))


def asked(machine: str, level: Level, name: str, *arguments: int) -> int:
    """What the filter of a level says to a call by its name."""
    number = number_of(name, machine)
    assert number is not None
    return run(compile_filter(denied.denied(level), machine), MACHINES[machine].arch, number, arguments)


def header(machine: str) -> dict[str, int]:
    """Names and numbers in the kernel's header of a machine; empty if it is not installed here."""
    for path in map(Path, HEADERS[machine]):
        if path.exists():
            found = re.findall(r"^#define __NR_(\w+)\s+(\d+)$", path.read_text(), re.MULTILINE)
            return {name: int(number) for name, number in found}
    return {}


def test_numbers_are_those_of_the_headers(machine: str) -> None:
    known = header(machine)
    if not known:
        pytest.skip(f"no headers of {machine} here: {HEADERS[machine]}")
    newest = max(number for number in known.values())
    assert newest <= LAST_KNOWN, "the lists are older than the kernel's headers: look what is new"
    for name in NUMBERS:
        ours = number_of(name, machine)
        if ours is None or ours <= newest:
            assert known.get(name) == ours, name


@pytest.mark.parametrize("level", LEVELS)
def test_each_number_gets_what_the_lists_say(machine: str, level: Level) -> None:
    program = compile_filter(denied.denied(level), machine)
    groups = GROUPS | STRICT_GROUPS if level == "strict" else GROUPS
    refused = {number_of(name, machine) for names in groups.values() for name in names}
    asks = {number_of(name, machine) for name in denied.denied(level)} - refused
    for number in range(LAST_KNOWN + 1):
        if number not in asks:
            said = run(program, MACHINES[machine].arch, number)
            assert said == (REFUSED if number in refused else ALLOW), number
    for number in (LAST_KNOWN + 1, 1000, 0x3FFFFFFF, -1):
        assert run(program, MACHINES[machine].arch, number) == UNKNOWN, number


def test_no_other_architecture_gets_through(machine: str) -> None:
    program = compile_filter(denied.denied("default"), machine)
    others = {known.arch for known in MACHINES.values()} - {MACHINES[machine].arch}
    for arch in (I386, ARM, 0, *others):
        for number in (*range(LAST_KNOWN + 1), -1):
            assert run(program, arch, number) == KILL
    if machine == "x86_64":
        for number in (0x40000000, 0x40000000 | 165, 0x40000000 | 520, 0xFFFFFFFE):
            assert run(program, MACHINES[machine].arch, number) == KILL


@pytest.mark.parametrize("level", LEVELS)
def test_new_processes_but_no_new_namespaces(machine: str, level: Level) -> None:
    threads = 0x3D0F00  # what pthread_create(3) asks for
    for flags in (0, 17, 0x4111, threads, 0x01200011):
        assert asked(machine, level, "clone", flags) == ALLOW, hex(flags)
    for bit in (0x20000, *[1 << number for number in range(25, 31)]):
        assert asked(machine, level, "clone", bit | 17) == REFUSED, hex(bit)
    assert asked(machine, level, "clone3", 0, 88) == UNKNOWN


@pytest.mark.parametrize("level", LEVELS)
def test_input_for_terminals_is_refused_however_it_is_written(machine: str, level: Level) -> None:
    for request in (0x5412, 0x541C):
        for upper in (0, 1 << 32, 0xFFFFFFFF << 32):
            assert asked(machine, level, "ioctl", 0, upper | request) == REFUSED
    for request in (0x5401, 0x541B, 0x5421):
        assert asked(machine, level, "ioctl", 0, request, 0x5412) == ALLOW


def test_personalities(machine: str) -> None:
    for value in (0, 8, 0x20000, 0x20008, 0xFFFFFFFF):
        assert asked(machine, "default", "personality", value) == ALLOW
        assert asked(machine, "strict", "personality", value) == REFUSED
    for value in (0x40000, 0x400000, 1):
        assert asked(machine, "default", "personality", value) == REFUSED


def test_families_of_sockets(machine: str) -> None:
    usual = [(1, 0), (2, 6), (2, 17), (10, 6), (16, 0), (16, 4)]
    for family, protocol in usual:
        assert asked(machine, "strict", "socket", family, 1, protocol) == ALLOW
        assert asked(machine, "default", "socket", family, 1, protocol) == ALLOW
    for family, protocol in [(17, 3), (38, 0), (16, 12), (16, 9), (29, 1), (44, 0), (4, 0), (0, 0)]:
        assert asked(machine, "strict", "socket", family, 3, protocol) == REFUSED
        assert asked(machine, "default", "socket", family, 3, protocol) == ALLOW
    for level in LEVELS:
        assert asked(machine, level, "socket", 40, 1, 0) == REFUSED
    assert asked(machine, "strict", "socketpair", 1, 1, 0) == ALLOW
    assert asked(machine, "strict", "socketpair", 30, 1, 0) == REFUSED


def test_what_is_allowed_needs_no_look_at_arguments(machine: str) -> None:
    """The kernel remembers such calls and does not run the program for them again."""
    for level in LEVELS:
        asks = [name for name, action in denied.denied(level).items() if not isinstance(action, int)]
        assert set(asks) <= {"clone", "ioctl", "personality", "socket", "socketpair"}


def test_an_unknown_machine_is_refused(machine: str) -> None:
    with pytest.raises(KeyError):
        compile_filter(denied.denied("default"), f"{machine} with 32 bits")


@pytest.mark.parametrize("other", sorted(UNIFIED))
def test_other_machines_share_the_numbers_of_new_calls(machine: str, other: str) -> None:
    """Landlock needs no more than these, so it works there as well."""
    for name in ("landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self"):
        assert number_of(name, other) == number_of(name, machine)
    for name in ("mount", "seccomp", "iopl"):
        assert number_of(name, other) is None
    assert number_of("landlock_add_rule", "i686 with 32 bits") is None
