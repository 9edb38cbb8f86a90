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
            "the pool's processes can make none beyond it. It does not hold for root. 0 means unchanged. "
            "`rlimit_nproc` is the same directive.",
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

_OWN = "PHP-FPM has no such directive."

CGROUP = DirectiveGroup(
    "Pool: control group",
    "pool",
    (
        Directive(
            "cgroup",
            "choice",
            "auto",
            "Whether the pool's template and workers, with all that they start, have a control group of their own "
            "(cgroup v2), whose CPU time, memory and pressure (PSI) are shown in the status. `auto`: if one of the "
            "directives below is set. It needs a delegated group: `Delegate=yes` in the systemd unit, or root in a "
            "container that may write /sys/fs/cgroup. See `docs/bounds.md`.",
            choices=("auto", "yes"),
            differs=_OWN,
        ),
        Directive(
            "cgroup.memory_max",
            "size",
            None,
            "Memory of all the pool's processes together, their page cache included; what goes beyond it is reclaimed, "
            "and if that is not enough, the kernel kills one of them (memory.max).",
            default_note="no limit",
            minimum=1 << 20,
            maximum=2**53,
            applies="live",
            differs=_OWN,
        ),
        Directive(
            "cgroup.memory_high",
            "size",
            None,
            "Memory of all the pool's processes together beyond which they are slowed down while memory is reclaimed "
            "(memory.high). Nothing is killed.",
            default_note="no limit",
            minimum=1 << 20,
            maximum=2**53,
            applies="live",
            differs=_OWN,
        ),
        Directive(
            "cgroup.cpu_max",
            "share",
            None,
            "CPU time of all the pool's processes together: a percentage of one CPU, as in `150%`, or as the kernel "
            "writes it, microseconds of each period of microseconds (cpu.max), as in `50000 100000`.",
            default_note="no limit",
            applies="live",
            differs=_OWN,
        ),
        Directive(
            "cgroup.cpu_weight",
            "integer",
            None,
            "Share of the CPUs that the pool gets while they are busy, beside those of other groups (cpu.weight).",
            default_note="100, as every group",
            minimum=1,
            maximum=10000,
            applies="live",
            differs=_OWN,
        ),
        Directive(
            "cgroup.pids_max",
            "integer",
            None,
            "Processes and threads of the pool, whatever user they have (pids.max).",
            default_note="no limit",
            minimum=1,
            maximum=4194304,
            applies="live",
            differs=_OWN,
        ),
        Directive(
            "cgroup.io_weight",
            "integer",
            None,
            "Share of busy disks that the pool gets beside other groups (io.weight); the kernel must have it enabled "
            "for the disk (io.cost.qos).",
            default_note="100, as every group",
            minimum=1,
            maximum=10000,
            applies="live",
            differs=_OWN,
        ),
    ),
)

GROUPS = (BOUNDS, CGROUP)
