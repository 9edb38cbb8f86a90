"""The members of NGINX Unit's JSON, of an application of Python and of `settings`: data. Pure."""

from __future__ import annotations

from fpm.convert.option import Option, Peer

_ONE = "a worker of pyfpm serves one request at a time: processes times threads workers serve as many"

OPTIONS = (
    Option("type", "", "needless", "pools run Python; python or venv names the interpreter"),
    Option("module", "app", "module"),
    Option("callable", "app", "callable"),
    Option("factory", "app", "factory"),
    Option("prefix", "script_name", "text"),
    Option("path", "pythonpath", "path_list"),
    Option("home", "venv", "venv"),
    Option("working_directory", "chdir", "text"),
    Option("user", "user", "text"),
    Option("group", "group", "text"),
    Option("environment", "env", "variable"),
    Option("processes", "pm.max_children", "workers", "a number is pm = static"),
    Option("processes.max", "pm.max_children", "workers"),
    Option("processes.spare", "pm.min_spare_servers", "least", "0 is pm = ondemand"),
    Option("processes.idle_timeout", "pm.process_idle_timeout", "seconds", "with pm = ondemand"),
    Option("limits.timeout", "request_terminate_timeout", "seconds", "the worker is terminated, its stack is logged"),
    Option("limits.requests", "pm.max_requests", "number"),
    Option("limits.shm", "", "needless", "FastCGI shares no memory with the web server"),
    Option("threads", "pm.max_children", "threads", _ONE),
    Option("thread_stack_size", "", "needless", "requests run in the main thread"),
    Option("protocol", "", "missing", "WSGI only; `asgi` needs an adapter in the application"),
    Option("stdout", "", "missing", "the workers' output goes to the error log (catch_workers_output)"),
    Option("stderr", "", "missing", "the workers' output goes to the error log (catch_workers_output)"),
    Option("isolation.rootfs", "rootfs", "text"),
    Option("isolation.namespaces", "", "missing", "write namespaces = mount pid net ipc uts user cgroup, or some"),
    Option("isolation.uidmap", "", "missing", "user namespaces map the pool's user only", ("isolation.gidmap",)),
    Option("isolation.automount", "", "missing", "chroot.automount = yes mounts what Python needs"),
    Option(
        "isolation.cgroup",
        "",
        "missing",
        "cgroup = yes, and cgroup.memory_max and the like",
        ("isolation.cgroup.path",),
    ),
    Option("isolation.new_privs", "no_new_privs", "no"),
)

UNIT = Peer("unit", "NGINX Unit", OPTIONS)
