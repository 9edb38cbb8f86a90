"""The numbers of system calls, by machine; a test compares them with the headers where it runs. Pure."""

from __future__ import annotations

from fpm.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Machine:
    """What a filter must know of a kind of machine.

    `arch` is its AUDIT_ARCH_* (linux/audit.h), `column` its place in NUMBERS.
    """

    arch: int
    column: int
    foreign: int = 0
    """From this number on calls are of another kind (x32) that shares the arch; 0: there is none."""


MACHINES = {
    "x86_64": Machine(0xC000003E, 0, foreign=0x40000000),
    "aarch64": Machine(0xC00000B7, 1),
}
"""By the name that uname(2) gives. Both are little-endian, which fpm.kernel.bpf relies on."""

UNIFIED = frozenset({"ppc64le", "riscv64", "s390x", "loongarch64"})
"""Machines of which only the numbers from UNIFIED_FROM on are known, which they share with those above."""
UNIFIED_FROM = 424

LAST_KNOWN = 469
"""file_setattr(2), Linux 6.17: what has a higher number was not there when the lists were made."""

NUMBERS: dict[str, tuple[int | None, int | None]] = {
    "_sysctl": (156, None),
    "acct": (163, 89),
    "add_key": (248, 217),
    "adjtimex": (159, 171),
    "bpf": (321, 280),
    "capset": (126, 91),
    "chroot": (161, 51),
    "clock_adjtime": (305, 266),
    "clock_settime": (227, 112),
    "clone": (56, 220),
    "clone3": (435, 435),
    "create_module": (174, None),
    "delete_module": (176, 106),
    "fanotify_init": (300, 262),
    "fanotify_mark": (301, 263),
    "finit_module": (313, 273),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fsopen": (430, 430),
    "fspick": (433, 433),
    "get_kernel_syms": (177, None),
    "init_module": (175, 105),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425),
    "ioctl": (16, 29),
    "ioperm": (173, None),
    "iopl": (172, None),
    "kcmp": (312, 272),
    "kexec_file_load": (320, 294),
    "kexec_load": (246, 104),
    "ioprio_set": (251, 30),
    "keyctl": (250, 219),
    "landlock_add_rule": (445, 445),
    "landlock_create_ruleset": (444, 444),
    "landlock_restrict_self": (446, 446),
    "lookup_dcookie": (212, 18),
    "mbind": (237, 235),
    "migrate_pages": (256, 238),
    "modify_ldt": (154, None),
    "mount": (165, 40),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "move_pages": (279, 239),
    "name_to_handle_at": (303, 264),
    "nfsservctl": (180, 42),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "openat2": (437, 437),
    "open_tree_attr": (467, 467),
    "perf_event_open": (298, 241),
    "personality": (135, 92),
    "pidfd_getfd": (438, 438),
    "pivot_root": (155, 41),
    "process_madvise": (440, 440),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "query_module": (178, None),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "reboot": (169, 142),
    "remap_file_pages": (216, 234),
    "request_key": (249, 218),
    "seccomp": (317, 277),
    "set_mempolicy": (238, 237),
    "set_mempolicy_home_node": (450, 450),
    "setdomainname": (171, 162),
    "sethostname": (170, 161),
    "setns": (308, 268),
    "settimeofday": (164, 170),
    "socket": (41, 198),
    "socketpair": (53, 199),
    "swapoff": (168, 225),
    "swapon": (167, 224),
    "sysfs": (139, None),
    "syslog": (103, 116),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "uselib": (134, None),
    "userfaultfd": (323, 282),
    "ustat": (136, None),
    "vhangup": (153, 58),
    "vmsplice": (278, 75),
}
"""Name to the numbers on x86_64 and aarch64; None: this machine has no such call."""


OTHERS: dict[str, dict[str, int]] = {
    "ioprio_set": {"riscv64": 30, "loongarch64": 30, "ppc64le": 273, "s390x": 282},
    "keyctl": {"riscv64": 219, "loongarch64": 219, "ppc64le": 271, "s390x": 280},
}
"""Older calls that every pool needs, on the machines of UNIFIED."""


def number_of(name: str, machine: str) -> int | None:
    """Return the number of a call; None where the machine has no such call, or is not known.

    Raises:
        KeyError: the table has no such name.
    """
    numbers = NUMBERS[name]
    known = MACHINES.get(machine)
    if known is not None:
        return numbers[known.column]
    shared = numbers[0] or 0
    if machine in UNIFIED and shared >= UNIFIED_FROM:
        return shared
    return OTHERS.get(name, {}).get(machine)
