"""Pool directives for logs and time limits."""

from __future__ import annotations

from fpm.config.tables.entry import Directive, DirectiveGroup

_TEN_YEARS = 315_360_000

LOGS = DirectiveGroup(
    "Pool: logs",
    "pool",
    (
        Directive(
            "access.log",
            "file",
            None,
            "Path of the access log. The file is created with mode 0600 and reopened on SIGUSR1, without replacing "
            "any worker. It is outside the `chroot`. Where the pool's user can make and remove files, root opens none: "
            "the file is opened and made as the pool's user, must be a regular one, and belongs to that user. "
            "What is no file (`/dev/stderr`, a FIFO), and the error log itself, is written by the master, to which "
            "workers give their lines through a pipe; lines that look like the master's are marked.",
            default_note="no access log",
            applies="live",
        ),
        Directive(
            "access.format",
            "format",
            '%R - %u %t "%m %r" %s',
            "Format of an access log line: `%C` CPU in percent (`%{user}C`, `%{system}C`, `%{total}C`), `%d` duration "
            "in seconds (`%{milliseconds}d`, `%{microseconds}d`), `%{NAME}e` a variable of the request, `%f` the "
            "script, `%l` length of the request body, `%m` method, `%M` peak memory in bytes (`%{kilobytes}M`, "
            "`%{megabytes}M`), `%n` pool, `%{NAME}o` a response header, `%p` pid, `%P` pid of the parent, `%q` query "
            "string, `%Q` a `?` if there is one, `%r` path, `%R` client address, `%s` status, `%t` time of the "
            "request (`%{strftime}t`), `%T` time at which the line is written, `%u` authenticated user, `%%` a percent "
            "sign. `access.format = json` writes an object per line, with `time` (UTC), `pool`, `event` (`request`), "
            "`pid`, `client`, `user`, `method`, `path`, `query`, `status`, `seconds` and `request_bytes`; long paths "
            "and queries are cut.",
            differs="Control characters are escaped. PHP-FPM has no `json`.",
            applies="live",
        ),
        Directive(
            "access.suppress_path",
            "url",
            None,
            "`access.suppress_path[] = /ping`: do not log successful GET and HEAD requests for exactly this path "
            "without query string and body. Can be used several times.",
            array="list",
            applies="live",
        ),
        Directive(
            "catch_workers_output",
            "boolean",
            "yes",
            "Whether output of workers to standard output and standard error goes to the error log. "
            "Otherwise it is discarded.",
            differs="The default of PHP-FPM is no. Python writes tracebacks to standard error.",
        ),
        Directive(
            "decorate_workers_output",
            "boolean",
            "yes",
            "Whether the lines of `catch_workers_output` are prefixed with time, level, pool and pid. "
            "Without that, the first character of a line that begins as an entry of pyfpm's is escaped.",
            applies="live",
        ),
    ),
)

LIMITS = DirectiveGroup(
    "Pool: slow requests and time limits",
    "pool",
    (
        Directive(
            "request_terminate_timeout",
            "time",
            "0",
            "A worker whose request takes longer is terminated: its stack is written to `slowlog` (without one, to "
            "the error log), then it gets SIGTERM and, a second later, SIGKILL. The time starts when the request's "
            "variables have been received. 0 means off.",
            differs="PHP-FPM writes no stack and never sends SIGKILL.",
            maximum=_TEN_YEARS,
            applies="live",
        ),
        Directive(
            "request_terminate_timeout_track_finished",
            "boolean",
            "no",
            "Whether the time after the response (fpm.finish_request(), fpm.after_response()) counts for "
            "`request_terminate_timeout` and `request_slowlog_timeout` as well.",
            applies="live",
        ),
        Directive(
            "request_interrupt",
            "boolean",
            "no",
            "Whether fpm.RequestTimeout is first raised in a request that exceeds `request_terminate_timeout`, so that "
            "the application can clean up and answer (otherwise pyfpm answers 504), and the worker survives. If the "
            "request is still running three seconds later, the worker is terminated as usual.",
            differs="PHP-FPM has no such directive.",
            applies="live",
        ),
        Directive(
            "background_timeout",
            "time",
            "0",
            "Time that work after the response may take, counted from the response. Then the worker is terminated as "
            "for `request_terminate_timeout`. 0 means off.",
            differs="PHP-FPM has no such directive.",
            maximum=_TEN_YEARS,
            applies="live",
        ),
        Directive(
            "slowlog",
            "file",
            None,
            "Path of the log for stacks of requests that take longer than `request_slowlog_timeout`, and of processes "
            "that are terminated. Created with mode 0600 at startup and reopened on SIGUSR1; pools may share one. It "
            "is outside the `chroot`. In a directory of the pool's user it is opened as that user, see `access.log`.",
            differs="It is created even without `request_slowlog_timeout`, and writing to it never blocks.",
            applies="live",
        ),
        Directive(
            "slowlog.format",
            "choice",
            "text",
            "Format of an entry: `text`, the lines that PHP-FPM writes with some additional ones, or `json`, one "
            "object per line.",
            choices=("text", "json"),
            differs="PHP-FPM has no such directive.",
            applies="live",
        ),
        Directive(
            "slowlog.native",
            "boolean",
            "no",
            "Whether the functions of C libraries are shown among those of Python. Finding them takes longer, but "
            "the worker is not stopped much longer.",
            differs="PHP-FPM has no such directive.",
            applies="live",
        ),
        Directive(
            "request_slowlog_timeout",
            "time",
            "0",
            "Time after which a request is logged to `slowlog`. 0 means off.",
            maximum=_TEN_YEARS,
            applies="live",
        ),
        Directive(
            "request_slowlog_interval",
            "time",
            "0",
            "Interval at which a slow request that is still running is logged to `slowlog` again, so that the log "
            "shows where its time went. 0 means once per request.",
            differs="PHP-FPM logs a slow request once.",
            maximum=_TEN_YEARS,
            applies="live",
        ),
        Directive(
            "request_slowlog_trace_depth",
            "integer",
            "50",
            "Maximum number of lines of a stack in `slowlog`.",
            differs="The default of PHP-FPM is 20. Stacks of Python frameworks are deeper, and the newest calls come "
            "first.",
            minimum=1,
            maximum=10_000,
            applies="live",
        ),
    ),
)

GROUPS = (LOGS, LIMITS)
