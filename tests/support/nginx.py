"""A real nginx for a test, listening on a Unix socket, so that test files need no free port."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests.support.directories import close_directory, open_directory
from tests.support.processes import Child, spawn_logged
from tests.support.waiting import wait_until

CONFIGURATION = """
{user}
worker_processes 1;
daemon off;
pid {directory}/nginx.pid;
error_log {directory}/error.log notice;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    fastcgi_temp_path {directory}/fastcgi;
    proxy_temp_path {directory}/proxy;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    client_max_body_size 0;
    {http}
    server {{
        listen unix:{directory}/http.sock;
        {server}
    }}
}}
"""


@dataclass(frozen=True)
class HttpReply:
    """One HTTP response. `headers` by lower-case name; repeated ones are in `all_headers`."""

    status: int
    reason: str
    headers: dict[str, str]
    all_headers: list[tuple[str, str]]
    body: bytes

    @classmethod
    def ask(
        cls,
        connection: http.client.HTTPConnection,
        method: str,
        target: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> HttpReply:
        """Send one request on a connection that is then closed; an iterable body goes chunked."""
        try:
            connection.request(method, target, body=body, headers=dict(headers or {}))  # type: ignore[arg-type]
            response = connection.getresponse()
            pairs = response.getheaders()
            by_name = {name.lower(): value for name, value in pairs}
            return cls(response.status, response.reason, by_name, pairs, response.read())
        finally:
            connection.close()


class UnixHttp(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str, *, timeout: float = 60.0) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Connect to the path instead of host and port."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Nginx:
    """An nginx with Debian's own fastcgi_params beside its configuration.

    `server` is the inside of the server block, for example
    `location / { include fastcgi_params; fastcgi_pass unix:PATH; }`; `http` goes before it (upstream blocks).
    """

    def __init__(self, server: str, *, http: str = "") -> None:
        program = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
        assert program, "nginx is not installed (Debian: nginx-light)"
        self.directory = open_directory()
        self.socket_path = str(self.directory / "http.sock")
        configuration = self.directory / "nginx.conf"
        shutil.copy("/etc/nginx/fastcgi_params", self.directory / "fastcgi_params")
        user = "user nobody nogroup;" if os.geteuid() == 0 else ""
        configuration.write_text(CONFIGURATION.format(directory=self.directory, user=user, http=http, server=server))
        command = [program, "-c", str(configuration), "-e", str(self.directory / "error.log")]
        self._process = Child(spawn_logged(command, {"PATH": "/usr/bin:/bin"}, self.directory / "stderr.log"))
        wait_until(self._listening, message="nginx does not listen")

    def _listening(self) -> bool:
        assert self._process.alive(), self.error_log()
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(self.socket_path) == 0

    def error_log(self) -> str:
        """What nginx wrote to its error log and to standard error."""
        files: list[Path] = [self.directory / "stderr.log", self.directory / "error.log"]
        return "".join(file.read_text() for file in files if file.exists())

    def connection(self, *, timeout: float = 60.0) -> UnixHttp:
        """A new HTTP connection; the caller closes it."""
        return UnixHttp(self.socket_path, timeout=timeout)

    def request(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 60.0,
    ) -> HttpReply:
        """One request on a connection of its own; an iterable body goes chunked."""
        return HttpReply.ask(self.connection(timeout=timeout), method, path, body, headers)

    def get(self, path: str = "/", *, headers: Mapping[str, str] | None = None, timeout: float = 60.0) -> HttpReply:
        """GET."""
        return self.request("GET", path, headers=headers, timeout=timeout)

    def reload(self) -> None:
        """Read the configuration again (SIGHUP)."""
        self._process.signal(signal.SIGHUP)

    def finish(self) -> None:
        """Stop it and remove its directory."""
        self._process.finish()
        close_directory(self.directory)


class StartNginx(Protocol):
    """The fixture `nginx`: start a web server with this inside of its server block."""

    def __call__(self, server: str, *, http: str = "") -> Nginx: ...
