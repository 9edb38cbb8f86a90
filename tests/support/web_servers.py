"""The six web servers with the sites that `pyfpm init` writes, each unprivileged on a loopback port of its own.

A site is used as it is written, but for its port, and h2o's for user and files; around it is the least that makes a
configuration of it. As root, the servers run as www-data, as Debian's do.
"""

from __future__ import annotations

import http.client
import os
import shutil
import socket
import ssl
from collections.abc import Mapping
from pathlib import Path

from fpm.init.servers import SERVERS
from tests.support.directories import close_directory, open_directory
from tests.support.nginx import HttpReply
from tests.support.pools import free_port
from tests.support.processes import Child, spawn_logged
from tests.support.starting_servers import APACHE_MODULES, find_program
from tests.support.waiting import wait_until

IS_ROOT = os.geteuid() == 0

AROUND = {
    "nginx": """
daemon off;
pid {run}/nginx.pid;
error_log {run}/error.log;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {run}/body;
    fastcgi_temp_path {run}/fastcgi;
    proxy_temp_path {run}/proxy;
    uwsgi_temp_path {run}/uwsgi;
    scgi_temp_path {run}/scgi;
    include {site};
}}
""",
    "apache": """
ServerRoot {run}
ServerName localhost
Listen 127.0.0.1:{port}
PidFile {run}/apache.pid
DefaultRuntimeDir {run}
ErrorLog {run}/error.log
{modules}
StartServers 1
ThreadsPerChild 25
ServerLimit 1
MaxRequestWorkers 25
<Directory />
    Require all denied
</Directory>
Include {site}
""",
    "caddy": """
{{
    admin off
    auto_https off
}}
import {site}
""",
    "lighttpd": """
server.document-root = "{run}"
server.bind = "127.0.0.1"
server.port = {port}
server.errorlog = "{run}/error.log"
include "{site}"
""",
    "h2o": "",
    "haproxy": """
global
    maxconn 100
defaults
    timeout connect 10s
    timeout client 60s
    timeout server 60s
""",
}
MODULES = (
    "ssl",
    "mpm_event",
    "authz_core",
    "alias",
    "setenvif",
    "proxy",
    "proxy_fcgi",
    "headers",
    "remoteip",
    "log_config",
    "unixd",
)
WEB_USER = "www-data"
AS_WEB_USER = (
    ("/usr/bin/setpriv", f"--reuid={WEB_USER}", f"--regid={WEB_USER}", "--clear-groups", "--") if IS_ROOT else ()
)


def find_server(name: str) -> str | None:
    """The program of one of SERVERS; None if it is not installed."""
    return next((path for program in SERVERS[name].program if (path := find_program(program))), None)


def on_port(name: str, site: str, port: int, scheme: str) -> str:
    """The site on another port of the loopback interface."""
    changes: dict[str, tuple[tuple[str, str], ...]] = {
        "nginx": (("listen 80", f"listen 127.0.0.1:{port}"), ("    listen [::]:80;\n", "")),
        "apache": (("*:80>", f"127.0.0.1:{port}>"),),
        "caddy": (("http://shop.test {", "shop.test {"), ("shop.test {", f"{scheme}://shop.test:{port} {{")),
        "lighttpd": (),
        "h2o": (
            (":80", f":{port}"),
            ("port: 80\n", f"port: {port}\n      host: 127.0.0.1\n"),
            ("user: debian-h2o\n", ""),
        ),
        "haproxy": (("bind :80", f"bind 127.0.0.1:{port}"),),
    }
    for old, new in changes[name]:
        site = site.replace(old, new)
    return site


def with_certificate(name: str, site: str, file: str) -> str:
    """The site by HTTPS, with what its comments say to add; `file` has a certificate and its key."""
    old, new = {
        "nginx": (
            ";\n    server_name",
            f" ssl;\n    ssl_certificate {file};\n    ssl_certificate_key {file};\n    server_name",
        ),
        "apache": ("    ServerName", f"    SSLEngine on\n    SSLCertificateFile {file}\n    ServerName"),
        "caddy": ("shop.test {", f"shop.test {{\n    tls {file} {file}\n"),
        "lighttpd": (
            "$HTTP",
            f'server.modules += ("mod_openssl")\nssl.engine = "enable"\nssl.pemfile = "{file}"\n$HTTP',
        ),
        "h2o": ("      port: 80\n", f"      port: 80\n      ssl: {{certificate-file: {file}, key-file: {file}}}\n"),
        "haproxy": ("bind :80", f"bind :80 ssl crt {file}"),
    }[name]
    assert old in site
    return site.replace("    listen [::]:80;\n", "").replace(old, new, 1)


class WebServer:
    """A web server with one site.

    `name` is a key of SERVERS, `site` the text, which is for the domain shop.test, `certificate` the file of a
    certificate and its key: then it is by HTTPS.
    """

    def __init__(self, name: str, site: str, *, certificate: str = "") -> None:
        program = find_server(name)
        assert program, f"{name} is not installed"
        self.name = name
        self.directory = open_directory()
        self.run = self.directory / "run"
        self.run.mkdir()
        self.run.chmod(0o777)  # of its workers' user as well
        self.port = free_port()
        file = self.directory / "site"
        self._certificate = certificate
        text = with_certificate(name, site, certificate) if certificate else site
        text = on_port(name, text, self.port, "https" if certificate else "http")
        if name == "h2o":
            text = text.replace("/run/h2o.pid", f"{self.run}/h2o.pid").replace("/var/log/h2o/", f"{self.run}/")
        file.write_text(text)
        self._write_main(file)
        variables = {"PATH": "/usr/bin:/bin", "HOME": str(self.run), "TMPDIR": str(self.run)}
        command = [*AS_WEB_USER, *self._command(program, file)]
        self._process = Child(spawn_logged(command, variables, self.directory / "stderr.log"))
        try:
            wait_until(self._listening, message=f"{name} does not listen", timeout=60.0)
        except AssertionError:
            self.finish()
            raise

    def _write_main(self, site: Path) -> None:
        if self.name == "nginx":
            shutil.copy("/etc/nginx/fastcgi_params", self.directory / "fastcgi_params")
        text = AROUND[self.name].format(
            run=self.run,
            site=site,
            port=self.port,
            modules="\n".join(
                f"LoadModule {one}_module {APACHE_MODULES}/mod_{one}.so"
                for one in MODULES
                if (APACHE_MODULES / f"mod_{one}.so").exists()
            ),
        )
        (self.directory / "main").write_text(text)

    def _command(self, program: str, site: Path) -> list[str]:
        main = str(self.directory / "main")
        return {
            "nginx": [program, "-c", main, "-e", f"{self.run}/error.log"],
            "apache": [program, "-DFOREGROUND", "-f", main],
            "caddy": [program, "run", "--adapter", "caddyfile", "--config", main],
            "lighttpd": [program, "-D", "-f", main],
            "h2o": [program, "-c", str(site)],
            "haproxy": [program, "-db", "-f", main, "-f", str(site)],
        }[self.name]

    def _listening(self) -> bool:
        assert self._process.alive(), self.log()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def log(self) -> str:
        """What it has written."""
        files = [self.directory / "stderr.log", self.run / "error.log"]
        return "".join(file.read_text(errors="replace") for file in files if file.exists())

    def request(
        self, method: str, target: str, *, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> HttpReply:
        """One request on a connection of its own; the header Host is shop.test with the port, unless it is given."""
        sent = {"Host": f"shop.test:{self.port}", **(headers or {})}
        return HttpReply.ask(self._connection(), method, target, body, sent)

    def _connection(self) -> http.client.HTTPConnection:
        if not self._certificate:
            return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60.0)
        # The name is in the handshake as well: by it Caddy chooses the site.
        connection = http.client.HTTPSConnection("shop.test", self.port, timeout=60.0)
        context = ssl.create_default_context(cafile=self._certificate)
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=60.0)
        connection.sock = context.wrap_socket(plain, server_hostname="shop.test")
        return connection

    def finish(self) -> None:
        """Stop it and remove its directory."""
        self._process.finish()
        close_directory(self.directory)
