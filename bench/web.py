"""One nginx before all servers."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import measure, tools
from bench.servers import Server, slug

CONFIGURATION = """
{user}
worker_processes 1;
daemon off;
pid {directory}/nginx.pid;
error_log {directory}/nginx.log warn;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    server_names_hash_bucket_size 128;
    client_body_temp_path {directory}/body;
    fastcgi_temp_path {directory}/fastcgi;
    proxy_temp_path {directory}/proxy;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    fastcgi_max_temp_file_size 0;
    proxy_max_temp_file_size 0;
    uwsgi_max_temp_file_size 0;
    client_max_body_size 0;
    keepalive_requests 100000000;
{sites}
}}
"""
IDLE = "200ms"
"""After which a kept connection is closed: PHP-FPM's workers serve nobody else as long as theirs are open."""
HTTP_KEPT = 'proxy_http_version 1.1; proxy_set_header Connection "";'


@dataclass(frozen=True)
class Site:
    """A virtual host that leads to a server.

    Attributes:
        keepalive: connections to the server that are kept while they are idle; 0: each serves one request.
        streams: a request's body is passed on while it comes, not when it is whole.
    """

    server: Server
    keepalive: int = 0
    streams: bool = False

    @property
    def host(self) -> str:
        """What a client has to ask for."""
        return f"{slug(self.server.name)}-{self.keepalive}{'-streams' if self.streams else ''}"

    def text(self, port: int, *, is_default: bool = False) -> str:
        """Its part of nginx's configuration."""
        module = "proxy" if self.server.protocol == "http" else self.server.protocol
        lines = [] if module == "proxy" else [f"include {module}_params;", self.server.parameters]
        target, upstream = f"unix:{self.server.socket}", ""
        if self.keepalive:
            kept = f"keepalive {self.keepalive}; keepalive_timeout {IDLE};"
            upstream = f"upstream {self.host} {{ server {target}; {kept} }}\n"
            target = self.host
            lines += ["fastcgi_keep_conn on;"] if module == "fastcgi" else []
            lines += [HTTP_KEPT] if module == "proxy" else []
        if module == "proxy":
            target = f"http://{target}:/" if target.startswith("unix") else f"http://{target}"
        lines += [f"{module}_request_buffering off;"] if self.streams else []
        lines += [f"{module}_read_timeout 120;", f"{module}_pass {target};"]
        listen = f"127.0.0.1:{port}" + (" default_server backlog=4096" if is_default else "")
        location = f"location / {{ {' '.join(line for line in lines if line)} }}"
        return f"{upstream}server {{ listen {listen}; server_name {self.host}; {location} }}"


class Web:
    """A running nginx on a free port of the loopback address; the first site is also the one without a name."""

    def __init__(self, directory: Path, sites: Sequence[Site]) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        texts = [site.text(self.port, is_default=number == 0) for number, site in enumerate(sites)]
        texts = texts or [f"server {{ listen 127.0.0.1:{self.port}; return 404; }}"]
        user = "user root;" if os.geteuid() == 0 else ""
        for name in ("fastcgi_params", "uwsgi_params"):
            shutil.copy(f"/etc/nginx/{name}", directory)
        file = directory / "nginx.conf"
        file.write_text(CONFIGURATION.format(directory=directory, user=user, sites="\n".join(texts)))
        program = shutil.which("nginx", path=tools.search_path()) or "nginx"
        self._process = subprocess.Popen([program, "-c", file, "-e", directory / "nginx.log"], stdin=subprocess.DEVNULL)
        try:
            measure.wait_for(self._listening, "nginx listens")
        except BaseException:
            self.stop()
            raise

    def _listening(self) -> bool:
        if self._process.poll() is not None:
            raise RuntimeError(f"nginx ended with status {self._process.returncode}")
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        """Stop nginx."""
        self._process.terminate()
        self._process.wait(10)
