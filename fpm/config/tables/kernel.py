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
        Directive(
            "landlock",
            "words",
            None,
            "Files that the pool's processes and their children can reach, as in `read /srv/data write "
            "/srv/uploads`: after `read` paths to read and to execute from, after `write` paths below which "
            "everything is allowed. They are absolute, as seen in the jail, and must exist; what is below them "
            "belongs to them. Allowed in any case, as far as the user may: reading /usr, /bin, /sbin, /lib*, "
            "/etc, /proc, the interpreter's and the environment's directories, `chdir`, `pythonpath` and the "
            "directory of the application's file; writing /tmp, /var/tmp, /dev/shm, TMPDIR and devices such as "
            "/dev/null. The root as a whole is allowed only if it is named. Everything else is refused with "
            "EACCES. Connecting to sockets is not restricted, nor is what was open before, as logs are. From "
            "Linux 6.12 on the processes cannot signal others, nor connect to abstract sockets of others. Not "
            "only for root; needs `no_new_privs = yes` and a kernel with Landlock (5.13). Before 5.19 files "
            "cannot be moved between directories. The whole list is in docs/security.md.",
            default_note="no restriction",
        ),
        Directive(
            "apparmor_profile",
            "text",
            None,
            "Profile of AppArmor under which the pool's interpreter is executed; it must be loaded. With "
            "`no_new_privs`, a daemon that is confined itself can only give a part of its own profile.",
            differs="PHP-FPM changes the hat of its own profile (`apparmor_hat`).",
        ),
        Directive(
            "selinux_context",
            "text",
            None,
            "Security context (`user:role:type:level`) in which the pool's interpreter is executed. The policy must "
            "allow the transition, with `no_new_privs` also as nnp_transition.",
            differs="PHP-FPM has no such directive.",
        ),
    ),
)

GROUPS = (KERNEL,)
