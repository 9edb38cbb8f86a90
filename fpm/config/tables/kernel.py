"""Pool directives for what the processes of a pool may ask of the kernel."""

from __future__ import annotations

from fpm.config.tables.entry import Directive, DirectiveGroup

KERNEL = DirectiveGroup(
    "Pool: less kernel",
    "pool",
    (
        Directive(
            "no_new_privs",
            "boolean",
            "yes",
            "Whether the pool's processes and their children are prevented from gaining privileges through setuid and "
            "setgid programs or file capabilities (PR_SET_NO_NEW_PRIVS). An application that runs `sudo`, `crontab`, "
            "or Postfix's `sendmail` (which is setgid) needs `no`; sending mail by SMTP does not.",
            differs="PHP-FPM allows a pool to run setuid programs.",
        ),
        Directive(
            "umask",
            "mode",
            None,
            "Permissions that files made by the pool's processes do not get, as in `027`. If it is set, it is also put "
            "back after the import of the application; what a request sets stays.",
            default_note="that of the daemon; the import of the application may change it",
            differs="PHP-FPM has no such directive.",
        ),
        Directive(
            "seccomp",
            "choice",
            "off",
            "Which system calls the kernel refuses to the pool's processes and their children. `default` refuses "
            "what container runtimes refuse: mounts, namespaces, modules, clocks, keyrings, bpf(2), io_uring(7), "
            "input for other terminals. `strict` refuses in addition what web applications do not need: "
            "debugging, and sockets other than Unix, IPv4, IPv6 and what looking up names and addresses needs. A "
            "refused call fails with EPERM; clone3(2) and calls newer than this version of pyfpm with ENOSYS, so "
            "that libraries use older ones. Programs of another architecture (i386, x32) are killed by SIGSYS. It"
            " needs `no_new_privs = yes`, and x86_64 or aarch64. docs/seccomp.md lists the calls.",
            choices=("off", "default", "strict"),
            aliases=(("no", "off"), ("false", "off")),
            differs="PHP-FPM has no filter of system calls.",
        ),
    ),
)

GROUPS = (KERNEL,)
