"""What to do about busy workers, by what they are busy with. Pure."""

from __future__ import annotations

from fpm.explain import waits

_LIMIT = "request_terminate_timeout ends requests that take too long"
SERVICES = {
    53: "DNS",
    3306: "MySQL",
    5432: "PostgreSQL",
    5672: "RabbitMQ",
    6379: "Redis",
    6432: "PgBouncer",
    9200: "Elasticsearch",
    11211: "memcached",
    27017: "MongoDB",
}
"""What usually listens on these ports."""
_ADVICE = {
    waits.COMPUTING: "`pyfpm trace {pid} --native` shows the C functions. Unless it releases the interpreter's "
    f"lock (GIL), no other thread and no signal handler of the worker runs meanwhile; {_LIMIT}.",
    waits.LOCK: "`pyfpm trace {pid} --full` shows all of its threads. A lock that a request takes should have a "
    f"timeout; {_LIMIT}.",
    waits.INTERPRETER: "`pyfpm trace {pid} --full` shows which of its threads computes.",
    waits.NETWORK: f"Check {{service}}. The client should have a timeout of its own; {_LIMIT}.",
    waits.CHILD: f"`ps --ppid {{pid}}` shows its child processes. Give subprocess calls a timeout; {_LIMIT}.",
    waits.FILE: "Check the disk or the network file system under this path. A FIFO waits for its other end.",
    waits.ASLEEP: "The application sleeps while a client waits: look for time.sleep() or a retry loop.",
    waits.SQLITE: "SQLite has one writer at a time: keep transactions short, and set `PRAGMA journal_mode = WAL`, so "
    "that readers need not wait. The wait ends with 'database is locked' after the timeout of sqlite3.connect().",
    waits.KERNEL: "Check disks and network file systems: the kernel waits for one, and the process cannot be stopped "
    "until then.",
    waits.UNKNOWN: f"`pyfpm trace {{pid}}` shows its stack; {_LIMIT}.",
    "slow-upload": "Let the web server buffer request bodies (nginx: fastcgi_request_buffering on, which is its "
    "default), so that a slow client does not keep a worker.",
    "slow-client": "Let the web server buffer responses (nginx: fastcgi_buffering on), so that a slow client does not "
    "keep a worker.",
    "background": "background_timeout ends work that takes too long, pm.background_max keeps workers for requests; "
    "long work belongs in a task queue.",
    "recursion": "Look for the condition that should have stopped it; deeper than sys.getrecursionlimit() it "
    "fails with RecursionError.",
}


def advice_for(kind: str, target: str, pid: int) -> str:
    """Say what to do about a kind of finding; `target` is the address that is waited for."""
    port = target.rpartition(":")[2]
    name = SERVICES.get(int(port) if port.isascii() and port.isdigit() and len(port) < 6 else 0, "")
    service = f"{target} ({name})" if name else target
    if service.startswith("socket:[") or not service:
        service = "what the socket is connected to"
    # Not str.format: the target is the application's text.
    return _ADVICE.get(kind, "").replace("{pid}", str(pid)).replace("{service}", service)
