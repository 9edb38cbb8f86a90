"""Pool directives of the process manager."""

from __future__ import annotations

from fpm.config.tables.entry import Directive, DirectiveGroup

MAX_CHILDREN = 32768
"""More workers than any machine is known to run; a scoreboard counts its slots in 16 bits."""
MEMORY_MAX = 2**50
"""Bytes; more than any machine is known to have."""

MANAGER = DirectiveGroup(
    "Pool: the process manager",
    "pool",
    (
        Directive(
            "pm",
            "choice",
            None,
            "How the number of workers is controlled. `static`: always `pm.max_children`. `dynamic`: according to "
            "load, with some idle workers in reserve. `ondemand`: none until a request arrives.",
            choices=("static", "dynamic", "ondemand"),
            mandatory=True,
            applies="live",
        ),
        Directive(
            "pm.max_children",
            "integer",
            None,
            "Maximum number of workers, and so of requests served at the same time.",
            minimum=1,
            maximum=MAX_CHILDREN,
            mandatory=True,
            applies="live",
        ),
        Directive(
            "pm.start_servers",
            "integer",
            None,
            "With `dynamic`: number of workers created at startup.",
            default_note="halfway between `pm.min_spare_servers` and `pm.max_spare_servers`",
            maximum=MAX_CHILDREN,
            applies="live",
        ),
        Directive(
            "pm.min_spare_servers",
            "integer",
            None,
            "With `dynamic`, where it is mandatory: if fewer workers are idle, more are created.",
            maximum=MAX_CHILDREN,
            applies="live",
        ),
        Directive(
            "pm.max_spare_servers",
            "integer",
            None,
            "With `dynamic`, where it is mandatory: if more workers are idle, the surplus is stopped.",
            maximum=MAX_CHILDREN,
            applies="live",
        ),
        Directive(
            "pm.max_spawn_rate",
            "integer",
            "32",
            "With `dynamic`: maximum number of workers created per second to restore `pm.min_spare_servers`.",
            differs="If connections wait while no worker is idle, workers are created at once, up to "
            "`pm.max_children`.",
            minimum=1,
            maximum=MAX_CHILDREN,
            applies="live",
        ),
        Directive(
            "pm.process_idle_timeout",
            "time",
            "10s",
            "With `ondemand`: time after which an idle worker is stopped.",
            maximum=315_360_000,
            applies="live",
        ),
        Directive(
            "pm.max_requests",
            "integer",
            "0",
            "Number of requests after which a worker is replaced, as a protection against memory leaks. 0 means never.",
            applies="live",
        ),
        Directive(
            "pm.max_requests_jitter",
            "integer",
            None,
            "Maximum random number of requests added to `pm.max_requests` for each worker, so that they are not all "
            "replaced at the same time.",
            default_note="a tenth of `pm.max_requests`",
            differs="PHP-FPM has no jitter.",
            applies="live",
        ),
        Directive(
            "pm.max_memory",
            "size",
            "0",
            "A worker whose peak resident size (including memory shared with its template) exceeds this is replaced "
            "after its request, as a protection against memory leaks; the new one is started first, and the size is "
            "logged. Every five seconds the master also looks at idle workers and at those with a request that lasts, "
            "which is not cut off. If a worker exceeds the limit from the start, the limit is not applied and one "
            "warning is logged. 0 means no limit.",
            differs="PHP-FPM has no such directive.",
            maximum=MEMORY_MAX,
            applies="live",
        ),
        Directive(
            "pm.max_memory_hard",
            "size",
            "0",
            "A worker whose resident size (including memory shared with its template) exceeds this is killed. Its "
            "stack is written to the slow log before, and its request, its size and the limit to the error log. If it "
            "is idle, it is only replaced. The master looks every two seconds, and does not count the processes that "
            "a worker has started (`cgroup.memory_max` is exact and counts all). It must be greater than "
            "`pm.max_memory`. 0 means no limit.",
            differs="PHP-FPM has no such directive.",
            maximum=MEMORY_MAX,
            applies="live",
        ),
        Directive(
            "pm.memory_soft",
            "size",
            "0",
            "If the processes of the pool (workers and templates) together use more memory than this, no spare "
            "workers are created beyond one, and with `dynamic` and `ondemand` idle workers beyond "
            "`pm.min_spare_servers` (or one) are stopped, the largest first. It is logged when this begins, and when "
            "it ends because less than nine tenths are used. What they use is the sum of their proportional set sizes "
            "(PSS), which count shared memory once, corrected between two measurements by the growth of their "
            "resident sizes. Where the PSS cannot be read (root without CAP_SYS_PTRACE), it is the resident size of "
            "the template and what that of each worker exceeds it by. 0 means no limit.",
            differs="PHP-FPM has no such directive.",
            maximum=MEMORY_MAX,
            applies="live",
        ),
        Directive(
            "pm.memory_hard",
            "size",
            "0",
            "As `pm.memory_soft`. If the pool uses more than this, it also does not grow, and one worker every two "
            "seconds has to leave: the largest idle one as long as there are two, then the largest busy one after its "
            "request. It is not replaced before the pool uses less. One worker always remains. It must be greater "
            "than `pm.memory_soft`. 0 means no limit.",
            differs="PHP-FPM has no such directive.",
            maximum=MEMORY_MAX,
            applies="live",
        ),
        Directive(
            "pm.background_max",
            "integer",
            "0",
            "Maximum number of workers that may be busy with work after their response (fpm.finish_request(), "
            "fpm.after_response()) at the same time, so that such work cannot occupy all workers. When the limit is "
            "reached, other workers do the work before their response ends. 0 means no limit.",
            differs="PHP-FPM has no such directive.",
            applies="live",
        ),
        Directive(
            "process.priority",
            "integer",
            None,
            "Nice value of the pool's processes. Only root can lower it.",
            default_note="that of `[global]`",
            minimum=-19,
            maximum=20,
        ),
        Directive(
            "process.dumpable",
            "boolean",
            None,
            "Whether the pool's processes may write core files, and be traced and looked into (/proc/PID/mem, environ) "
            "by other processes of their user, although their identity was changed (PR_SET_DUMPABLE).",
            default_note="`no`; `yes` where root lacks CAP_SYS_PTRACE (most containers) and pyfpm could not read the "
            "stacks of slow requests otherwise",
            differs="PHP-FPM's processes are never dumpable by default, so it cannot read their stacks there.",
        ),
    ),
)

PAGES = DirectiveGroup(
    "Pool: status and ping",
    "pool",
    (
        Directive(
            "pm.status_path",
            "url",
            None,
            "Path of the status page through the web server, for example `/status`. "
            "The query string selects the format: `?json`, `?xml`, `?html`, `?openmetrics`, with `full` for each "
            "process.",
            differs="After PHP-FPM's values there are additional ones, in all formats except `?openmetrics`.",
            applies="live",
        ),
        Directive(
            "pm.status_listen",
            "address",
            None,
            "Another FastCGI address at which `pm.status_path` (or /status) and `ping.path` (or /ping) are answered, "
            "never by the pool's workers: even when all of them are busy or hang, and without counting as a "
            "request. A Unix socket has owner, group and mode of `listen`; `listen.allowed_clients` also applies.",
            differs="PHP-FPM uses a separate hidden pool. See also `status_listen` in `[global]`.",
            applies="live",
        ),
        Directive(
            "pm.status_allow",
            "networks",
            "127.0.0.0/8 ::1",
            "Client addresses and networks (REMOTE_ADDR) that may see the status and ping pages through the web "
            "server, separated by commas or spaces. For other clients the application answers. A FastCGI client that "
            "sends no REMOTE_ADDR is allowed.",
            differs="PHP-FPM leaves access control to the web server. A WSGI application is usually mounted at the "
            "root, where every path reaches it, including that of the status page.",
            applies="live",
        ),
        Directive(
            "ping.path",
            "url",
            None,
            "Path at which a worker answers `ping.response`, for example `/ping`.",
            applies="live",
        ),
        Directive("ping.response", "text", "pong", "Response to `ping.path`.", applies="live"),
    ),
)

GROUPS = (MANAGER, PAGES)
