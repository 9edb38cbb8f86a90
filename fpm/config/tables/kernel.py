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
    ),
)

GROUPS = (KERNEL,)
