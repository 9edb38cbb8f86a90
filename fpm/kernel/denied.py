"""Which system calls `seccomp` denies, and why. `docs/seccomp.md` is written for administrators. Pure.

The lists follow Docker's default profile and the groups of systemd (systemd.exec(5), SystemCallFilter=), turned from
"what is allowed" into "what is denied": an application, its libraries and what it executes keep all that is usual.
"""

from __future__ import annotations

from errno import ENOSYS, EPERM
from typing import Literal

from fpm.kernel.bpf import ALLOW, Action, Check, Test, refuse

Level = Literal["default", "strict"]

GROUPS: dict[str, tuple[str, ...]] = {
    "mounts and roots": (
        *("mount", "umount2", "pivot_root", "chroot", "move_mount", "open_tree", "open_tree_attr", "fsopen"),
        *("fsconfig", "fsmount", "fspick", "mount_setattr"),
    ),
    "namespaces": ("unshare", "setns"),
    "other kernels, modules, power, swap": (
        *("kexec_load", "kexec_file_load", "reboot", "swapon", "swapoff", "create_module", "init_module"),
        *("finit_module", "delete_module", "get_kernel_syms", "query_module"),
    ),
    "clocks": ("settimeofday", "clock_settime", "adjtimex", "clock_adjtime"),
    "the machine as a whole": (
        *("acct", "quotactl", "quotactl_fd", "syslog", "vhangup", "sethostname", "setdomainname", "iopl", "ioperm"),
    ),
    "programs in the kernel, and looking into it": (
        *("bpf", "perf_event_open", "userfaultfd", "fanotify_init", "fanotify_mark", "lookup_dcookie"),
        *("io_uring_setup", "io_uring_enter", "io_uring_register"),
    ),
    "keyrings": ("add_key", "request_key", "keyctl"),
    "files by handles, past directories": ("open_by_handle_at", "name_to_handle_at"),
    "memory and descriptors of others": ("kcmp", "process_madvise", "pidfd_getfd", "move_pages", "migrate_pages"),
    "obsolete": ("uselib", "ustat", "sysfs", "nfsservctl", "_sysctl"),
}
"""Denied with EPERM by `default`, whatever their arguments."""

STRICT_GROUPS: dict[str, tuple[str, ...]] = {
    "debugging": ("ptrace", "process_vm_readv", "process_vm_writev"),
    "other kinds of execution": ("personality", "modify_ldt"),
    "placement and odd ways of memory": (
        *("mbind", "set_mempolicy", "set_mempolicy_home_node", "remap_file_pages", "vmsplice"),
    ),
}
"""Denied with EPERM by `strict` in addition."""

# linux/sched.h: CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET; CLONE_NEWTIME is not for clone(2).
CLONE_NEW = 0x7E020000
TIOCSTI = 0x5412
"""Puts input into a terminal: the shell from which the daemon was started, or su(1)'s, would execute it."""
TIOCLINUX = 0x541C
"""The same by way of the console's selection."""
AF_UNIX, AF_INET, AF_INET6, AF_NETLINK, AF_VSOCK = 1, 2, 10, 16, 40
NETLINK_ROUTE, NETLINK_SOCK_DIAG = 0, 4
"""Addresses for getaddrinfo(3) and getifaddrs(3); the listen queue for the status page (fpm.system.listen_queue)."""

_PERSONALITIES = (0, 8, 0x20000, 0x20008, 0xFFFFFFFF)
"""PER_LINUX and PER_LINUX32, both with UNAME26 as well, and the question which one it is."""

_ARGUMENTS: dict[str, Action] = {
    "clone": Check((Test(0, "any of", CLONE_NEW, refuse(EPERM)),), ALLOW),
    # Its flags lie in memory, where a filter cannot look; C libraries then use clone(2).
    "clone3": refuse(ENOSYS),
    "ioctl": Check(tuple(Test(1, "is", request, refuse(EPERM)) for request in (TIOCSTI, TIOCLINUX)), ALLOW),
    "personality": Check(tuple(Test(0, "is", value, ALLOW) for value in _PERSONALITIES), refuse(EPERM)),
    # To the host of a virtual machine.
    "socket": Check((Test(0, "is", AF_VSOCK, refuse(EPERM)),), ALLOW),
}
_NETLINK = Check(
    tuple(Test(2, "is", protocol, ALLOW) for protocol in (NETLINK_ROUTE, NETLINK_SOCK_DIAG)), refuse(EPERM)
)
_FAMILIES = tuple(Test(0, "is", family, ALLOW) for family in (AF_UNIX, AF_INET, AF_INET6))
_STRICT_ARGUMENTS: dict[str, Action] = {
    "socket": Check((*_FAMILIES, Test(0, "is", AF_NETLINK, _NETLINK)), refuse(EPERM)),
    "socketpair": Check((Test(0, "is", AF_UNIX, ALLOW),), refuse(EPERM)),
}


def denied(level: Level) -> dict[str, Action]:
    """Return what is done about each call that is not simply allowed, by its name."""
    groups, arguments = GROUPS, _ARGUMENTS
    if level == "strict":
        groups, arguments = groups | STRICT_GROUPS, arguments | _STRICT_ARGUMENTS
    return arguments | {name: refuse(EPERM) for names in groups.values() for name in names}
