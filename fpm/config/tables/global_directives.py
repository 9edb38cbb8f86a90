"""Directives of the `[global]` section."""

from __future__ import annotations

from fpm.config.tables.entry import Directive, DirectiveGroup

_TEN_YEARS = 315_360_000

FACILITIES = (
    "auth authpriv cron daemon ftp kern lpr mail news syslog user uucp "
    "local0 local1 local2 local3 local4 local5 local6 local7"
)

GENERAL = DirectiveGroup(
    "Global directives",
    "global",
    (
        Directive(
            "pid",
            "file",
            None,
            "Path of the pid file. It is written when all pools are ready, with mode 0644, and removed at exit. "
            "The option `-g` takes precedence. Not needed under systemd.",
        ),
        Directive(
            "control",
            "file",
            None,
            "Path of the control socket, which the other commands (`status`, `reload`, `stop`) use to talk to the "
            "running daemon. It has mode 0600, and the daemon checks the identity of each client. "
            "It can only be set in the main file, so that the commands find it without reading every pool.",
            default_note="`/run/pyfpm/control.sock` for root, else `control.sock` in `$XDG_RUNTIME_DIR/pyfpm` or, if "
            "that variable is not set, in `/tmp/pyfpm-UID`. For a main file other than /etc/pyfpm/pyfpm.conf the name "
            "is derived from the name of the file (`control-NAME-HASH.sock`), so that daemons with different files "
            "never conflict, and `pyfpm -c FILE` finds the right one.",
            differs="PHP-FPM has no control socket.",
        ),
        Directive(
            "daemonize",
            "boolean",
            "yes",
            "Whether pyfpm goes into the background when started like php-fpm, with options but without a command. "
            "`run` and `-F` always stay in the foreground, `start` and `-D` always go into the background.",
        ),
        Directive(
            "process_control_timeout",
            "time",
            "30s",
            "Time that workers have to finish their request after a graceful stop or reload, before they get SIGTERM "
            "and then SIGKILL. 0 means at once.",
            differs="The default of PHP-FPM is 0, which cuts requests off at every reload.",
            maximum=_TEN_YEARS,
        ),
        Directive(
            "sigterm",
            "choice",
            "fast",
            "What SIGTERM does: `fast` stops at once, as in PHP-FPM; `graceful` lets in-flight requests finish first, "
            "as SIGQUIT does, up to `process_control_timeout`. Container platforms send SIGTERM.",
            choices=("fast", "graceful"),
            differs="PHP-FPM has no such directive; its images set STOPSIGNAL SIGQUIT.",
        ),
        Directive(
            "emergency_restart_threshold",
            "integer",
            "0",
            "If this many workers of a pool exit with SIGSEGV or SIGBUS within `emergency_restart_interval`, the pool "
            "is restarted. 0 means off.",
            differs="PHP-FPM restarts every pool; pyfpm restarts the pool that crashes.",
        ),
        Directive(
            "emergency_restart_interval",
            "time",
            "0",
            "Interval for `emergency_restart_threshold`. 0 means off.",
            maximum=_TEN_YEARS,
        ),
        Directive(
            "process.max",
            "integer",
            "0",
            "Maximum number of workers of all pools together. 0 means no limit.",
        ),
        Directive(
            "process.priority",
            "integer",
            None,
            "Nice value of the master and of the pools that do not set their own. Only root can lower it. A reload "
            "applies a change to the pools, the next start to the master.",
            minimum=-19,
            maximum=20,
        ),
        Directive(
            "rlimit_files",
            "integer",
            "0",
            "Limit of open files (RLIMIT_NOFILE, soft and hard) of the master, and of the pools that do not set their "
            "own. 0 means unchanged for pools, and as many as allowed for the master.",
        ),
        Directive(
            "rlimit_core",
            "limit",
            "0",
            "Limit of the size of a core file (RLIMIT_CORE, soft and hard) of the master, and of the pools that do not "
            "set their own, in bytes, or `unlimited`. 0 means unchanged.",
        ),
        Directive(
            "systemd_interval",
            "time",
            "10s",
            "Interval at which the status line of `systemctl status` is updated. 0 means never. With WatchdogSec= in "
            "the unit, half of that time is used.",
            maximum=_TEN_YEARS,
        ),
    ),
)

STATUS_SOCKET = DirectiveGroup(
    "Status of the daemon",
    "global",
    (
        Directive(
            "status_listen",
            "address",
            None,
            "One address for the status of all pools, for example `/run/pyfpm/status.sock`, answered by a separate "
            "process, even when every worker is busy or hangs. If the daemon runs as root, it is user `nobody`, or a "
            "user that nobody else has if a pool runs as `nobody`. At a Unix socket, owner, group and mode decide who "
            "may look; at a TCP address every user of the machine may, so query strings, errors and tracebacks are not "
            "shown there (`status_listen.details`). It accepts HTTP and FastCGI: `/` is an HTML "
            "page, `/status` and `/status/POOL` are PHP-FPM's pages, `/metrics` is OpenMetrics for Prometheus, "
            "`/livez`, `/readyz` and `/readyz/POOL` are for probes (503 while stopping, or if a pool has failed).",
            default_note="not set",
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
            "status_listen.details",
            "boolean",
            "no",
            "Whether query strings of requests, errors and tracebacks are shown at TCP addresses too, also at those of "
            "`pm.status_listen`.",
            differs="PHP-FPM shows query strings to every client that connects.",
        ),
        Directive(
            "status_listen.exemplars",
            "boolean",
            "no",
            "Whether `/metrics` names slow requests, of the last ones of each pool, at the buckets of the histogram of "
            "durations, with their processes: exemplars of OpenMetrics, which Grafana shows as points beside a graph. "
            "Query strings are among them only where they are shown (`status_listen.details`).",
        ),
        Directive(
            "status_listen.hosts",
            "words",
            None,
            "Names by which HTTP clients may address a TCP address, separated by commas or spaces, for example "
            "`web1.example.com`: others are refused, against web pages whose name is made to resolve to this machine. "
            "Addresses and `localhost` are always accepted. Also for `pm.status_listen`.",
        ),
        Directive(
            "status_allow",
            "networks",
            "127.0.0.0/8 ::1",
            "Addresses and networks that may connect to `status_listen` by TCP, separated by commas or spaces; and, if "
            "a web server forwards requests to it by FastCGI, which client addresses it may forward for (REMOTE_ADDR).",
        ),
        Directive(
            "status_history",
            "boolean",
            "yes",
            "Whether the past of the pools is kept: numbers of every 5 seconds, for 6 hours at falling resolution. "
            "The rates, percentiles, curves and marks of the status pages, `pyfpm status` and `pyfpm top` are "
            "drawn from them. The process that answers at `status_listen` keeps it; without such an address it is "
            "started five seconds after the daemon is ready. A file beside the control socket (its path with "
            "`.history` for `.sock`) keeps it over upgrades and restarts. With `no` only what somebody asks for is "
            "known, and there is a process only while there is an address.",
            differs="PHP-FPM keeps no past.",
        ),
    ),
)

ERROR_LOG = DirectiveGroup(
    "The error log",
    "global",
    (
        Directive(
            "error_log",
            "file",
            None,
            "Path of the error log, or `syslog`. The file is created with mode 0600 and reopened on SIGUSR1.",
            default_note="standard error in the foreground, `syslog` in the background",
            differs="The default of PHP-FPM is a file in a directory set at compile time.",
        ),
        Directive("syslog.ident", "text", "pyfpm", "Program name in syslog."),
        Directive(
            "syslog.facility",
            "choice",
            "daemon",
            "Facility for syslog.",
            choices=tuple(FACILITIES.split()),
        ),
        Directive(
            "log_level",
            "choice",
            "notice",
            "Lines below this level are not logged. `debug` also adds microseconds and the pid to each line.",
            choices=("debug", "notice", "warning", "error", "alert"),
            aliases=(("warn", "warning"),),
        ),
        Directive(
            "log_format",
            "choice",
            "text",
            "Format of the error log: `text`, PHP-FPM's lines, or `json`, one object per line with `time` (UTC), "
            "`level`, `pool`, `event`, `pid` and `message`, for collectors that read the output of a container. A "
            "traceback is one message, and so is each line that an application prints (with `stream`).",
            choices=("text", "json"),
            differs="PHP-FPM has no such directive.",
        ),
        Directive(
            "log_limit",
            "size",
            "1024",
            "Maximum length of a log line, in bytes. Longer output of workers is wrapped, other lines are truncated.",
            minimum=512,
            maximum=16 * 1024 * 1024,
        ),
        Directive(
            "log_buffering",
            "boolean",
            "yes",
            "Accepted for compatibility with PHP-FPM's files. pyfpm always writes a line with a single write.",
            differs="When it is off, PHP-FPM writes parts of a line as they arrive.",
        ),
    ),
)

GROUPS = (GENERAL, STATUS_SOCKET, ERROR_LOG)
