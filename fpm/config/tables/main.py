"""Directives of the `[global]` section."""

from __future__ import annotations

from fpm.config.tables.entry import Directive
from fpm.config.tables.entry import Group

_TEN_YEARS = 315_360_000

FACILITIES = (
    "auth authpriv cron daemon ftp kern lpr mail news syslog user uucp "
    "local0 local1 local2 local3 local4 local5 local6 local7"
)

GENERAL = Group(
    "Global directives",
    "global",
    (
        Directive(
            "pid",
            "file",
            None,
            "Path of the pid file. It is written when all is ready, with mode 0644, and removed at exit. "
            "The option `-g` comes before it. Under systemd none is needed.",
        ),
        Directive(
            "control",
            "file",
            None,
            "Path of the control socket, by which the other commands (`status`, `reload`, `stop`) reach the running "
            "daemon. It has mode 0600, and the daemon looks at the identity of whoever connects. "
            "It can only be set in the main file, so that the commands find it without reading every pool.",
            default_note="`/run/pyfpm/control.sock` for root, else `control.sock` in `$XDG_RUNTIME_DIR/pyfpm` or, "
            "where that "
            "variable is not set, in `/tmp/pyfpm-UID`. For another file than /etc/pyfpm/pyfpm.conf the name is made "
            "from "
            "the file's (`control-NAME-HASH.sock`), so that two daemons with two files never meet, and `pyfpm -c FILE` "
            "finds the right one.",
            differs="PHP-FPM has no control socket.",
        ),
        Directive(
            "daemonize",
            "boolean",
            "yes",
            "Whether a start that says neither foreground nor background (php-fpm's way, without a command) goes to "
            "the "
            "background. `run` and `-F` stay in the foreground, `start` and `-D` go to the background.",
        ),
        Directive(
            "process_control_timeout",
            "time",
            "30s",
            "How long workers may finish their request after a graceful stop or reload, before SIGTERM and then "
            "SIGKILL. "
            "0 is at once.",
            differs="The default of PHP-FPM is 0, which cuts requests off at every reload.",
            maximum=_TEN_YEARS,
        ),
        Directive(
            "emergency_restart_threshold",
            "integer",
            "0",
            "If this many workers of a pool die by SIGSEGV or SIGBUS within `emergency_restart_interval`, the pool is "
            "started anew. 0 is off.",
            differs="PHP-FPM restarts every pool; pyfpm restarts the pool that crashes.",
        ),
        Directive(
            "emergency_restart_interval",
            "time",
            "0",
            "The time in which `emergency_restart_threshold` counts. 0 is off.",
            maximum=_TEN_YEARS,
        ),
        Directive(
            "process.max",
            "integer",
            "0",
            "The most workers that all pools may have together. 0 is no limit.",
        ),
        Directive(
            "process.priority",
            "integer",
            None,
            "Nice value of the master and, unless they set their own, of the pools. Only root can lower it.",
            minimum=-19,
            maximum=20,
        ),
        Directive(
            "rlimit_files",
            "integer",
            "0",
            "Limit of open files (RLIMIT_NOFILE) of the master. 0 leaves it as it is.",
        ),
        Directive(
            "rlimit_core",
            "limit",
            "0",
            "Limit of the size of a core file (RLIMIT_CORE) of the master, in bytes, or `unlimited`. "
            "0 leaves it as it is.",
        ),
        Directive(
            "systemd_interval",
            "time",
            "10s",
            "How often the state line of `systemctl status` is brought up to date. 0 is never. With WatchdogSec= in "
            "the "
            "unit it is half of that time.",
            maximum=_TEN_YEARS,
        ),
    ),
)

LOOKING = Group(
    "Status of the daemon",
    "global",
    (
        Directive(
            "status_listen",
            "address",
            None,
            "One address at which the status of all pools is answered, by a process of its own (as `nobody`, if the "
            "daemon is root), also when every worker is busy or hangs. It speaks HTTP and FastCGI: `/` is a page for "
            "people, `/status` and `/status/POOL` are PHP-FPM's pages, `/metrics` is OpenMetrics for Prometheus, "
            "`/livez`, `/readyz` and `/readyz/POOL` are for probes (503 while stopping, or failed).",
            default_note="unset, no such process",
            differs="PHP-FPM has `pm.status_listen` only.",
        ),
        Directive(
            "status_listen.owner", "account", None, "Owner of the Unix socket.", default_note="the daemon's user"
        ),
        Directive(
            "status_listen.group", "account", None, "Group of the Unix socket.", default_note="the daemon's group"
        ),
        Directive("status_listen.mode", "mode", "0660", "Mode of the Unix socket, octal."),
        Directive(
            "status_allow",
            "networks",
            "127.0.0.0/8 ::1",
            "Who may connect to `status_listen` by TCP, divided by commas or blanks; and, if a web server passes "
            "requests on to it by FastCGI, whose it may pass on (REMOTE_ADDR).",
        ),
    ),
)

ERROR_LOG = Group(
    "The error log",
    "global",
    (
        Directive(
            "error_log",
            "file",
            None,
            "Path of the error log, or `syslog`. The file is made with mode 0600 and reopened on SIGUSR1.",
            default_note="standard error in the foreground, `syslog` in the background",
            differs="The default of PHP-FPM is a file in the directory it was compiled for.",
        ),
        Directive("syslog.ident", "text", "pyfpm", "Name under which lines go to syslog."),
        Directive(
            "syslog.facility",
            "choice",
            "daemon",
            "Facility under which lines go to syslog.",
            choices=tuple(FACILITIES.split()),
        ),
        Directive(
            "log_level",
            "choice",
            "notice",
            "Lines below this level are not written. `debug` also adds microseconds and the pid to each line.",
            choices=("debug", "notice", "warning", "error", "alert"),
            aliases=(("warn", "warning"),),
        ),
        Directive(
            "log_limit",
            "size",
            "1024",
            "The longest line of the logs, in bytes. Output of workers is wrapped at it, other lines are cut.",
            minimum=512,
            maximum=16 * 1024 * 1024,
        ),
        Directive(
            "log_buffering",
            "boolean",
            "yes",
            "Known for the sake of PHP-FPM's files. pyfpm always writes a line in one piece.",
            differs="PHP-FPM writes pieces of a line as they come when it is off.",
        ),
    ),
)

GROUPS = (GENERAL, LOOKING, ERROR_LOG)
