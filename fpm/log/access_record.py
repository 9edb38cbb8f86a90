"""What the access log knows of a request. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


class AccessRecord:
    """One request, filled in by the worker. A plain class, because it is created for every request.

    Texts are latin-1 as in a WSGI environ. Times are epoch seconds, durations microseconds, sizes bytes.

    It has many attributes: each is what a letter of access.format stands for.
    """

    __slots__ = (
        "accepted",
        "content_length",
        "cpu_system",
        "cpu_user",
        "duration",
        "headers",
        "memory",
        "method",
        "params",
        "parent_pid",
        "pid",
        "pool",
        "query",
        "remote",
        "script",
        "status",
        "uri",
        "user",
        "written",
    )

    def __init__(self) -> None:
        self.pool = ""
        self.pid = 0
        self.parent_pid = 0
        self.method = ""
        self.uri = ""
        """The path without the query."""
        self.query = ""
        self.script = ""
        self.user = ""
        self.remote = ""
        """The address of the FastCGI peer, "" for a Unix socket."""
        self.status = 0
        self.content_length = 0
        """Of the request's body, as declared."""
        self.accepted = 0.0
        self.written = 0.0
        self.duration = 0
        self.cpu_user = 0
        self.cpu_system = 0
        """CPU time; where only the sum is known it may stand in cpu_user."""
        self.memory = 0
        self.params: Mapping[str, str] = {}
        self.headers: Iterable[tuple[str, str]] = ()
        """Of the response."""
