"""Pool directives for what the processes of a pool may take of the machine."""

from __future__ import annotations

from fpm.config.tables.entry import Directive, DirectiveGroup

BOUNDS = DirectiveGroup(
    "Pool: bounds",
    "pool",
    (
        Directive(
            "rlimit_files",
            "integer",
            "0",
            "Limit of open files (RLIMIT_NOFILE, soft and hard) of the pool's processes. 0 means that of `[global]`.",
        ),
        Directive(
            "rlimit_processes",
            "integer",
            "0",
            "Limit of processes and threads (RLIMIT_NPROC) of the pool's user, counted over all that this user runs; "
            "the pool's processes can make none beyond it. It does not hold for root. 0 means unchanged.",
            differs="PHP-FPM has no such limit: an application can take every process of the machine.",
        ),
        Directive(
            "rlimit_core",
            "limit",
            "0",
            "Limit of the size of a core file (RLIMIT_CORE, soft and hard) of the pool's processes, in bytes, or "
            "`unlimited`. 0 means that of `[global]`.",
        ),
    ),
)

GROUPS = (BOUNDS,)
