"""Pool directives of the process manager."""

from __future__ import annotations

from fpm.config.tables.entry import Directive
from fpm.config.tables.entry import Group

MAX_CHILDREN = 32768
"""More workers than any machine has been seen to run; a scoreboard counts its slots in 16 bits."""

MANAGER = Group(
    "Pool: the process manager",
    "pool",
    (
        Directive(
            "pm",
            "choice",
            None,
            "How many workers there are. `static`: always `pm.max_children`. `dynamic`: as many as requests need, "
            "with some "
            "to spare. `ondemand`: none until a request comes.",
            choices=("static", "dynamic", "ondemand"),
            mandatory=True,
        ),
        Directive(
            "pm.max_children",
            "integer",
            None,
            "The most workers at a time, which is the most requests served at a time.",
            minimum=1,
            maximum=MAX_CHILDREN,
            mandatory=True,
        ),
        Directive(
            "pm.start_servers",
            "integer",
            None,
            "With `dynamic`: workers made at start.",
            default_note="half-way between `pm.min_spare_servers` and `pm.max_spare_servers`",
            maximum=MAX_CHILDREN,
        ),
        Directive(
            "pm.min_spare_servers",
            "integer",
            None,
            "With `dynamic`, and mandatory there: if fewer workers are idle, more are made.",
            maximum=MAX_CHILDREN,
        ),
        Directive(
            "pm.max_spare_servers",
            "integer",
            None,
            "With `dynamic`, and mandatory there: if more workers are idle, the surplus goes.",
            maximum=MAX_CHILDREN,
        ),
        Directive(
            "pm.max_spawn_rate",
            "integer",
            "32",
            "With `dynamic`: the most workers made a second to restore `pm.min_spare_servers`.",
            differs="Connections that wait while nobody is idle get workers at once, up to `pm.max_children`.",
            minimum=1,
            maximum=MAX_CHILDREN,
        ),
        Directive(
            "pm.process_idle_timeout",
            "time",
            "10s",
            "With `ondemand`: an idle worker goes after this time.",
            maximum=315_360_000,
        ),
        Directive(
            "pm.max_requests",
            "integer",
            "0",
            "A worker is replaced after this many requests, against leaks of memory. 0 is never.",
        ),
        Directive(
            "pm.max_requests_jitter",
            "integer",
            None,
            "Up to this many requests, by chance, are added to `pm.max_requests` for each worker, so that not all "
            "of them "
            "are replaced at the same moment.",
            default_note="a tenth of `pm.max_requests`",
            differs="PHP-FPM has no jitter.",
        ),
        Directive(
            "pm.max_memory",
            "size",
            "0",
            "A worker that has ever used more memory than this (its peak resident size, with what it shares with "
            "its template) is replaced after its request, against leaks; the new one is made first, and the log says "
            "how much it was. A worker that is larger from its start on serves without the limit, which is said "
            "once. 0 is never.",
            differs="PHP-FPM has no such directive.",
        ),
        Directive(
            "pm.background_max",
            "integer",
            "0",
            "How many workers may be busy with work after their response (fpm.finish_request(), "
            "fpm.after_response()) at once, so that it cannot keep all workers from the clients. While there are so "
            "many, the work of others is done before their response ends. 0 is no limit.",
            differs="PHP-FPM has no such directive.",
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
            "no",
            "Whether the pool's processes may write core files and be traced by their user although their identity was "
            "changed (PR_SET_DUMPABLE).",
        ),
    ),
)

LOOKING = Group(
    "Pool: status and ping",
    "pool",
    (
        Directive(
            "pm.status_path",
            "url",
            None,
            "Path under which the status page is seen through the web server, as in `/status`. "
            "Formats are chosen by the query: `?json`, `?xml`, `?html`, `?openmetrics`, with `full` for each process.",
            differs="After PHP-FPM's own values come more of pyfpm's, in each format but `?openmetrics`.",
        ),
        Directive(
            "pm.status_listen",
            "address",
            None,
            "Another address at which `pm.status_path` (or /status) and `ping.path` (or /ping) are answered by "
            "FastCGI, never by the pool's workers: also when all of them are busy or hang, and without counting as a "
            "request. A Unix socket has owner, group and mode of `listen`; `listen.allowed_clients` counts here, too.",
            differs="PHP-FPM answers with a hidden pool of its own. See also `status_listen` in `[global]`.",
        ),
        Directive(
            "pm.status_allow",
            "networks",
            "127.0.0.0/8 ::1",
            "Who may see the status and ping pages through the web server (REMOTE_ADDR), divided by commas or blanks. "
            "Others get what the application answers. A client that speaks FastCGI itself and sends no REMOTE_ADDR is "
            "allowed.",
            differs="PHP-FPM leaves it to the web server. A WSGI application is mostly mounted at the root, where "
            "every "
            "path reaches it, the status page too.",
        ),
        Directive("ping.path", "url", None, "Path under which a worker answers `ping.response`, as in `/ping`."),
        Directive("ping.response", "text", "pong", "The answer to `ping.path`."),
    ),
)

GROUPS = (MANAGER, LOOKING)
