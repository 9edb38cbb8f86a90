"""One nginx before all contestants, and the load: ab(1), or threads of our own."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path

from bench import measure
from bench.servers import Server

CONFIGURATION = """
{user}
worker_processes 1;
daemon off;
pid {directory}/nginx.pid;
error_log {directory}/nginx.log warn;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    fastcgi_temp_path {directory}/fastcgi;
    proxy_temp_path {directory}/proxy;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    keepalive_requests 1000000;
    server {{
        listen 127.0.0.1:{port} backlog=1024;
{locations}
    }}
}}
"""


class Web:
    """A running nginx on a free port of the loopback address; `/0/`, `/1/` ... lead to the servers in their order."""

    def __init__(self, directory: Path, servers: list[Server]) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        locations = "\n".join(f"        location /{i}/ {{ {s.directive} }}" for i, s in enumerate(servers))
        user = "user root;" if os.geteuid() == 0 else ""
        shutil.copy("/etc/nginx/fastcgi_params", directory)
        file = directory / "nginx.conf"
        file.write_text(CONFIGURATION.format(directory=directory, user=user, port=self.port, locations=locations))
        program = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin") or "nginx"
        self._process = subprocess.Popen([program, "-c", file, "-e", directory / "nginx.log"], stdin=subprocess.DEVNULL)
        measure.wait_for(self._listening, "nginx listens")

    def _listening(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def load(self, number: int, *, requests: int, concurrency: int) -> float:
        """Requests a second, by ab with keep-alive towards nginx.

        Raises:
            RuntimeError: not every request was answered with 200.
        """
        url = f"http://127.0.0.1:{self.port}/{number}/"
        command = ["ab", "-q", "-k", "-n", str(requests), "-c", str(concurrency), "-s", "30", url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        rate = re.search(r"Requests per second: +([0-9.]+)", done.stdout)
        failed = re.search(r"(?:Failed requests|Non-2xx responses): +[1-9]", done.stdout)
        if done.returncode or not rate or failed:
            raise RuntimeError(f"load on {url} failed: {done.stdout} {done.stderr}")
        return float(rate[1])

    def burst(self, number: int, *, requests: int, seconds: float) -> list[float]:
        """Answer times in seconds, sorted, of requests sent at once that each take `seconds` in the worker."""
        times: list[float] = []
        start = threading.Barrier(requests)

        def one() -> None:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
            connection.connect()
            start.wait(30)
            begin = time.monotonic()
            connection.request("GET", f"/{number}/?{seconds}")
            response = connection.getresponse()
            response.read()
            connection.close()
            if response.status == 200:
                times.append(time.monotonic() - begin)

        threads = [threading.Thread(target=one) for _ in range(requests)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        if len(times) != requests:
            raise RuntimeError(f"only {len(times)} of {requests} requests were answered")
        return sorted(times)

    def stop(self) -> None:
        """Stop nginx."""
        self._process.terminate()
        self._process.wait(10)
