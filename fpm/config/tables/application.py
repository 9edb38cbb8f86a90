"""Pool directives for the Python application: what runs, and how."""

from __future__ import annotations

from fpm.config.tables.entry import Directive, DirectiveGroup

APPLICATION = DirectiveGroup(
    "Pool: the application",
    "pool",
    (
        Directive(
            "app",
            "application",
            None,
            "The WSGI application: `module:callable`, `path/to/file.py:callable` (a file may also end in "
            "`.wsgi`), or with `()` at the end a function "
            "that returns it (`module:factory()`). The path of a file is relative to `chdir`, else to "
            "`prefix`. A module is looked up in `chdir`, in `pythonpath` and in the packages of the pool's Python. "
            "`script:/path/app.fcgi` is a program that serves its application itself with "
            "`fpm.WSGIServer(application).run()`, followed by its arguments, quoted as in a shell; "
            "`script:-m module` is a program started as a module. It is run up to that call.",
            differs="In PHP-FPM the web server chooses the file to run; a pool of pyfpm runs one application.",
            mandatory=True,
        ),
        Directive(
            "python",
            "path",
            None,
            "The Python interpreter of this pool. The pool's user must be able to execute it and to read its library. "
            "With `chroot`, the path is relative to it.",
            default_note="the interpreter that runs pyfpm",
        ),
        Directive(
            "venv",
            "path",
            None,
            "A virtual environment: the same as `python = DIR/bin/python`. Only one of the two can be set.",
        ),
        Directive(
            "pythonpath",
            "text",
            None,
            "Directories in which modules are looked up first, separated by `:`. "
            "Relative paths are relative to `chdir`, else to `prefix`.",
        ),
        Directive(
            "security.limit_extensions",
            "extensions",
            None,
            "Extensions that the file of `app = script:PATH` or of `app = file.py:callable` may have, as in "
            "`.py .wsgi .fcgi`. No effect on an application that is named by its module.",
            default_note="any",
            differs="In PHP-FPM the default is `.php .phar`, and a request for another file is refused with 403. Here "
            "the web server cannot choose the file, and a wrong one is an error of the configuration.",
        ),
        Directive(
            "preload",
            "choice",
            "auto",
            "Whether the application is imported once, in the template, and shared by the workers forked from it. "
            "With `auto` the template checks after the import whether there are threads or connections that do not "
            "survive a fork; if so, a line is logged and each worker imports the application itself. With `no` "
            "workers always import it, with `yes` there is no check. Handlers (atexit) and processes of the import "
            "end with the template, not with a worker; ports and random generators made at import are named in the "
            "log.",
            choices=("auto", "yes", "no"),
            aliases=(("on", "yes"), ("true", "yes"), ("off", "no"), ("false", "no")),
        ),
        Directive(
            "preload.warmup",
            "words",
            None,
            "Requests that the application answers in the template, after the import and before the first fork, as in "
            "`GET / GET /login`: what a first request imports and makes is then shared by the workers. They come from "
            "127.0.0.1, for the host `localhost`, and no request number counts them. One that is not answered, or with "
            "a status from 400 on, is named in the log, and the pool starts all the same. They are part of what "
            "`startup_timeout` limits. With `preload = auto`, if there are threads or connections after them, a line "
            "is logged and the template does without them. A comma is written `%2C`.",
        ),
        Directive(
            "startup_timeout",
            "time",
            "60s",
            "Time that the import of the application may take before the pool counts as failed. 0 means no limit.",
            maximum=315_360_000,
            applies="live",
        ),
        Directive(
            "reload.check",
            "check",
            None,
            "A request that a new generation must answer before it takes over: method, path, HTTP status and timeout, "
            "as in `GET /healthz 200 5s`. It does not go through the web server. Status and timeout may be omitted "
            "(`200`, `5s`).",
            differs="PHP-FPM checks nothing before a reload.",
            applies="live",
        ),
        Directive(
            "script_name",
            "mount",
            "auto",
            'Where the application is mounted: `auto`, a prefix as in `/shop`, or `""` for the root. '
            "With `auto`, a request without PATH_INFO is for an application at the root: SCRIPT_NAME is empty and "
            "PATH_INFO is the decoded path, so that nginx needs only `include fastcgi_params`.",
        ),
        Directive(
            "request_body_spool",
            "boolean",
            "no",
            "Whether a request body of unknown length is first read completely, into a temporary file if it is large, "
            "so that CONTENT_LENGTH can be set. For applications that do not read the body without it.",
        ),
        Directive(
            "hotpath",
            "boolean",
            "yes",
            "Whether workers use the compiled part of pyfpm, where there is one. With `no`, and where it cannot be "
            "loaded (the installation found no C compiler, the pool's Python is not CPython or is for another kind of "
            "machine, /proc is missing in the `chroot`), plain Python does the same, with more CPU time for each "
            "request. The log says why, and the status which of the two is in force.",
        ),
        Directive(
            "request_statistics",
            "boolean",
            "yes",
            "Whether workers count requests, errors, time, CPU time and growth of the memory for each pattern of path, "
            "as in `/orders/<n>`, for `pyfpm top --by url` and the pool's page. It costs at most 3 % of a "
            "request that does nothing, and in plain Python (`hotpath = no`) up to 10 %. Response classes and "
            "durations of the pool as a whole are counted in any case.",
            applies="live",
        ),
        Directive(
            "read_timeout",
            "time",
            "1h",
            "Time that the application waits for the next piece of a request's body before reading it fails, the "
            "connection is closed, and a line is logged. It matters where the web server passes the body on as it "
            "comes (nginx: `fastcgi_request_buffering off`). 0 means no limit.",
            differs="PHP-FPM waits without limit.",
            applies="live",
        ),
        Directive(
            "send_timeout",
            "time",
            "1h",
            "Time in which the web server must take something of a response, however little, before the response is "
            "cut off, the connection closed, and a line logged. A web server that buffers may take nothing for as "
            "long as its client needs for what is buffered: nginx keeps up to 1 GiB in a file "
            "(`fastcgi_max_temp_file_size`). 0 means no limit.",
            differs="PHP-FPM waits without limit.",
            applies="live",
        ),
    ),
)

GROUPS = (APPLICATION,)
