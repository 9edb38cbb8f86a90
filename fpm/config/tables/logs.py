"""Pool directives for logs and time limits."""

from __future__ import annotations

from fpm.config.tables.entry import Directive
from fpm.config.tables.entry import Group

_TEN_YEARS = 315_360_000

LOGS = Group(
    "Pool: logs",
    "pool",
    (
        Directive(
            "access.log",
            "file",
            None,
            "Path of the access log. The file is made with mode 0600 and reopened on SIGUSR1, without a worker being "
            "replaced. It is outside of the `chroot`.",
            default_note="no access log",
        ),
        Directive(
            "access.format",
            "format",
            '%R - %u %t "%m %r" %s',
            "Form of a line of the access log: "
            "`%C` CPU in percent (`%{user}C`, `%{system}C`, `%{total}C`), `%d` duration in seconds "
            "(`%{milliseconds}d`, "
            "`%{microseconds}d`), `%{NAME}e` a variable of the request, `%f` the script, `%l` length of the request "
            "body, "
            "`%m` method, `%M` peak memory in bytes (`%{kilobytes}M`, `%{megabytes}M`), `%n` pool, `%{NAME}o` a "
            "header of "
            "the response, `%p` pid, `%P` pid of the parent, `%q` query string, `%Q` a `?` if there is one, `%r` path, "
            "`%R` address of the peer, `%s` status, `%t` time of the request (`%{strftime}t`), `%T` time of the line, "
            "`%u` authenticated user, `%%` a percent sign.",
            differs="Control characters are escaped.",
        ),
        Directive(
            "access.suppress_path",
            "url",
            None,
            "`access.suppress_path[] = /ping`: no line for successful GET and HEAD requests of exactly this path "
            "without "
            "a query and body. It can be written several times.",
            array="list",
        ),
        Directive(
            "catch_workers_output",
            "boolean",
            "yes",
            "Whether what workers write to standard output and standard error goes to the error log. "
            "It is thrown away otherwise.",
            differs="The default of PHP-FPM is no. A Python program's traceback goes to standard error.",
        ),
        Directive(
            "decorate_workers_output",
            "boolean",
            "yes",
            "Whether the lines of `catch_workers_output` get a time, level, pool and pid in front.",
        ),
    ),
)

LIMITS = Group(
    "Pool: slow requests and time limits",
    "pool",
    (
        Directive(
            "request_terminate_timeout",
            "time",
            "0",
            "A worker whose request takes longer is ended: its stack is written to `slowlog` (without one, to the "
            "error log), then it gets SIGTERM and, a second later, SIGKILL. The time begins when the request's "
            "variables are there. 0 is off.",
            differs="PHP-FPM writes no stack and never sends SIGKILL.",
            maximum=_TEN_YEARS,
        ),
        Directive(
            "request_terminate_timeout_track_finished",
            "boolean",
            "no",
            "Whether the time after the response (fpm.finish_request(), fpm.after_response()) counts for "
            "`request_terminate_timeout` and `request_slowlog_timeout` as well.",
        ),
        Directive(
            "request_interrupt",
            "boolean",
            "no",
            "Whether a request over `request_terminate_timeout` first gets fpm.RequestTimeout raised in it, so that "
            "the application can clean up and answer, or pyfpm answers 504 for it, and the worker lives. One that has "
            "not ended three seconds later is ended as ever.",
            differs="PHP-FPM has no such directive.",
        ),
        Directive(
            "background_timeout",
            "time",
            "0",
            "The time that work after the response may take, counted from the response. Then the worker is ended as "
            "for `request_terminate_timeout`. 0 is off.",
            differs="PHP-FPM has no such directive.",
            maximum=_TEN_YEARS,
        ),
        Directive(
            "slowlog",
            "file",
            None,
            "Path of the log that gets the stack of a request that takes longer than `request_slowlog_timeout`, and of "
            "one that is ended. Made with mode 0600 at the start and reopened on SIGUSR1; pools may share one. It is "
            "outside of the `chroot`.",
            differs="It is made whether or not there is a `request_slowlog_timeout`, and never waited for.",
        ),
        Directive(
            "slowlog.format",
            "choice",
            "text",
            "Form of an entry: `text`, the lines that PHP-FPM writes and some of our own, or `json`, one object in a "
            "line.",
            choices=("text", "json"),
            differs="PHP-FPM has no such directive.",
        ),
        Directive(
            "slowlog.native",
            "boolean",
            "no",
            "Whether the functions of C libraries are shown among those of Python. It takes longer to find them, but "
            "the worker is not stopped much longer for it.",
            differs="PHP-FPM has no such directive.",
        ),
        Directive(
            "request_slowlog_timeout",
            "time",
            "0",
            "The time after which a request is written to `slowlog`. 0 is off.",
            maximum=_TEN_YEARS,
        ),
        Directive(
            "request_slowlog_interval",
            "time",
            "0",
            "The time after which a request that is slow and goes on is written to `slowlog` again, and again, so "
            "that the log can tell where its time went. 0 is once for each request.",
            differs="PHP-FPM writes once.",
            maximum=_TEN_YEARS,
        ),
        Directive(
            "request_slowlog_trace_depth",
            "integer",
            "50",
            "The most lines of a stack in `slowlog`.",
            differs="The default of PHP-FPM is 20. Python's frameworks call deeper, and the newest calls come first.",
            minimum=1,
            maximum=10_000,
        ),
    ),
)

GROUPS = (LOGS, LIMITS)
