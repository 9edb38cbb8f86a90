"""Pool directives for what the processes of a pool see: file system, processes, network."""

from __future__ import annotations

from fpm.config.tables.entry import Directive, DirectiveGroup

JAIL = DirectiveGroup(
    "Pool: jail",
    "pool",
    (
        Directive(
            "chroot",
            "path",
            None,
            "Directory that becomes the root of the pool's processes. `$prefix` at its start is the pool's prefix. "
            "An interpreter and its libraries must exist inside. Only for root.",
            differs="The application is imported inside the chroot, not before.",
        ),
        Directive(
            "chroot.automount",
            "boolean",
            "no",
            "Whether what the interpreter needs is made visible inside the `chroot`.",
            version="later",
        ),
        Directive(
            "rootfs",
            "path",
            None,
            "Directory tree that becomes the root file system of the pool's processes, in a separate mount namespace.",
            version="later",
        ),
        Directive(
            "namespaces",
            "words",
            None,
            "Separate namespaces for the pool, a list of words.",
            choices=("mount", "pid", "ipc", "uts", "user", "cgroup", "network"),
            version="later",
        ),
        Directive(
            "network",
            "text",
            "host",
            "Network of the pool's processes: `host`, `none`, or `netns:NAME` for one created by ip-netns(8).",
            version="later",
        ),
    ),
)

GROUPS = (JAIL,)
