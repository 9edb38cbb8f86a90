"""Web servers that start a FastCGI program by themselves, its listening socket on descriptor 0: lighttpd and Apache.

Each runs in the foreground on a Unix socket or a loopback port, with its files in a directory of its own; as root its
workers, and so the program, are www-data.
"""

from __future__ import annotations

import http.client
import os
import shutil
import socket
from pathlib import Path

import psutil

import fpm
from tests.support.directories import close_directory, open_directory
from tests.support.flup_script import write_script
from tests.support.nginx import HttpReply
from tests.support.pools import free_port
from tests.support.processes import Child, descendants, spawn_logged
from tests.support.waiting import wait_until

IS_ROOT = os.geteuid() == 0
WEB_USER = "www-data"
APACHE_MODULES = Path("/usr/lib/apache2/modules")

LIGHTTPD = """
server.modules = ("mod_fastcgi")
server.document-root = "{directory}/www"
server.bind = "127.0.0.1"
server.port = {port}
server.errorlog = "{directory}/run/error.log"
{user}
fastcgi.server = ("/" => ((
    "socket" => "{directory}/run/board.sock",
    "bin-path" => "{directory}/board.fcgi",
    "max-procs" => 1,
    "check-local" => "disable",
    "fix-root-scriptname" => "enable",
    "bin-environment" => ("PYTHONPATH" => "{directory}/lib", "COLOUR" => "red")
)))
"""

APACHE = """
ServerRoot {directory}
ServerName localhost
Listen 127.0.0.1:{port}
PidFile {directory}/run/apache.pid
DefaultRuntimeDir {directory}/run
ErrorLog {directory}/run/error.log
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule alias_module {modules}/mod_alias.so
LoadModule fcgid_module {modules}/mod_fcgid.so
StartServers 1
ThreadsPerChild 25
ServerLimit 1
MaxRequestWorkers 25
{user}
DocumentRoot {directory}/www
FcgidIPCDir {directory}/run
FcgidProcessTableFile {directory}/run/fcgid_shm
FcgidMaxProcessesPerClass 2
FcgidMaxRequestLen 16777216
FcgidInitialEnv PYTHONPATH {directory}/lib
FcgidInitialEnv COLOUR red
ScriptAlias / {directory}/board.fcgi/
<Directory {directory}>
    SetHandler fcgid-script
    Options +ExecCGI
    Require all granted
</Directory>
"""


def find_program(name: str) -> str | None:
    """Where the web server is, also outside of an ordinary user's PATH."""
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


class StartingServer:
    """A web server with tests/apps/board.fcgi at its root. `server` is "lighttpd" or "apache2"."""

    def __init__(self, server: str) -> None:
        program = find_program(server)
        assert program, f"{server} is not installed"
        self.directory = open_directory()
        for name in ("www", "run", "lib"):
            (self.directory / name).mkdir()
        if IS_ROOT:
            shutil.chown(self.directory / "run", WEB_USER, WEB_USER)
        # The web server's user can read neither this checkout nor its virtual environment everywhere.
        for package in (fpm, psutil):
            source = Path(package.__file__ or "").parent
            shutil.copytree(source, self.directory / "lib" / source.name)
        write_script(self.directory)
        self.port = free_port()
        configuration = self.directory / "server.conf"
        configuration.write_text(self._text(server))
        foreground = (
            ["-D", "-f", str(configuration)] if server == "lighttpd" else ["-DFOREGROUND", "-f", str(configuration)]
        )
        variables = {"PATH": "/usr/bin:/bin", "TMPDIR": str(self.directory / "run")}
        self.process = Child(spawn_logged([program, *foreground], variables, self.directory / "stderr.log"))
        wait_until(self._listening, message=f"{server} does not listen", timeout=60.0)

    def _text(self, server: str) -> str:
        values = {"directory": self.directory, "port": self.port, "modules": APACHE_MODULES, "user": ""}
        if server == "lighttpd":
            if IS_ROOT:
                values["user"] = f'server.username = "{WEB_USER}"\nserver.groupname = "{WEB_USER}"'
            return LIGHTTPD.format(**values)
        if IS_ROOT:
            values["user"] = f"User {WEB_USER}\nGroup {WEB_USER}"
        return APACHE.format(**values)

    def _listening(self) -> bool:
        assert self.process.alive(), self.log()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def log(self) -> str:
        """Everything that it and the script wrote."""
        files = [self.directory / "stderr.log", self.directory / "run/error.log"]
        return "".join(file.read_text(errors="replace") for file in files if file.exists())

    def request(
        self, method: str, path: str, *, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> HttpReply:
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60.0)
        return HttpReply.ask(connection, method, path, body, headers)

    def family(self) -> list[psutil.Process]:
        """All its descendants."""
        return descendants(self.process.pid)

    def finish(self) -> None:
        """Stop it as its init script would, and remove its directory."""
        self.process.finish()
        close_directory(self.directory)
