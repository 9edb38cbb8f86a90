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
        Directive(
            "rlimit_as",
            "limit",
            "0",
            "Limit of the address space (RLIMIT_AS, soft and hard) of each process of the pool, at least 64M, or "
            "`unlimited`: beyond it Python raises MemoryError. It counts what is mapped, used or not, so it must be "
            "much larger than the memory that a worker needs; `pm.max_memory` counts what is used. 0 means unchanged.",
            minimum=64 << 20,
            differs="PHP-FPM has no such limit.",
        ),
        Directive(
            "rlimit_fsize",
            "limit",
            "0",
            "Limit of the size of a file (RLIMIT_FSIZE, soft and hard) that the pool's processes may write, at least "
            "1M, or `unlimited`: a write beyond it fails (EFBIG). It holds for `access.log` as well: lines that would "
            "make it larger are lost until it is rotated. 0 means unchanged.",
            minimum=1 << 20,
            differs="PHP-FPM has no such limit.",
        ),
        Directive(
            "rlimit_memlock",
            "limit",
            "0",
            "Limit of the memory that a process of the pool may lock (RLIMIT_MEMLOCK, soft and hard), or `unlimited`. "
            "0 means unchanged.",
            differs="PHP-FPM has no such limit.",
        ),
        Directive(
            "cpu_affinity",
            "cpus",
            None,
            "The CPUs on which the pool's processes may run, as in `0-3,6`. CPUs that are not online, or that the "
            "daemon may not use, make the pool fail.",
            default_note="those of the daemon",
            differs="PHP-FPM has no such directive.",
        ),
        Directive(
            "io_priority",
            "priority",
            None,
            "Priority of the pool's processes at disks whose scheduler knows priorities, such as bfq: `idle`, "
            "`best-effort` and a level from 0 (first) to 7 (last), or `realtime` and such a level (only for root). "
            "See ioprio_set(2).",
            default_note="best effort, with a level according to the nice value",
            differs="PHP-FPM has no such directive.",
        ),
        Directive(
            "oom_score_adjust",
            "integer",
            None,
            "How readily the kernel kills the pool's processes when the machine's memory has run out, from -1000 "
            "(never) to 1000 (first); see proc_pid_oom_score_adj(5). Only root can lower it.",
            default_note="that of the daemon",
            minimum=-1000,
            maximum=1000,
            differs="PHP-FPM has no such directive.",
        ),
    ),
)

GROUPS = (BOUNDS,)
