"""What a thousand pools cost that nobody asks: start, memory, CPU, and a reload of all."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from bench import measure, tools
from bench.peers import PHP, PYFPM
from bench.results import Result
from bench.scenario import Alone, Options, scratch
from bench.servers import IS_ROOT, Pyfpm, Server, Setting, pool_text, start, start_master

MB = 1024 * 1024
IDLE = 5.0
"""Seconds without traffic."""


def pools(options: Options) -> Result:
    """A master with that many ondemand pools, beside PHP-FPM's."""
    title = f"{options.pools} ondemand pools, no traffic for {IDLE:g} s"
    result = Result("pools", title, ("ready", "rss", "pss", "idle", "woken", "reload"))
    starters: dict[str, Callable[[Path, int], Server]] = {PYFPM: start_pyfpm, PHP: start_php}
    for name, begin in starters.items():
        with scratch() as directory:
            try:
                before = time.monotonic()
                server = begin(directory, options.pools)
            except tools.Missing as error:
                result.note(f"{name} does not take part: {error}")
                continue
            ready = time.monotonic() - before
            try:
                result.add(name, ready=ready, **_look(server))
            finally:
                server.stop()
    return result


def _look(server: Server) -> dict[str, float]:
    pid = server.process.pid
    cpu, switches = measure.cpu_seconds(pid), measure.context_switches(pid)
    time.sleep(IDLE)
    found = {
        "idle": (measure.cpu_seconds(pid) - cpu) / IDLE * 1e3,
        "woken": (measure.context_switches(pid) - switches) / IDLE,
        "rss": measure.rss_bytes(pid) / MB,
        "pss": measure.pss_bytes(pid) / MB,
    }
    if isinstance(server, Pyfpm):
        before = time.monotonic()
        command = server.begin_reload()
        assert command is not None
        if command.wait(60) == 0:
            found["reload"] = time.monotonic() - before
    return found


def start_pyfpm(directory: Path, count: int) -> Server:
    """One pool file after the other in one text."""
    setting = Setting(directory)
    lines = ["pm = ondemand", "pm.max_children = 4"]
    text = "\n".join(pool_text(f"p{number}", setting, lines) for number in range(count))
    process, command = start_master(directory, text)
    return Pyfpm(PYFPM, process, directory / "p0.sock", command=command)


def start_php(directory: Path, count: int) -> Server:
    """The same pools for PHP-FPM; it is ready when it has made the last socket."""
    program = tools.php_fpm()
    text = f"[global]\ndaemonize = no\nerror_log = {directory}/error.log\n"
    user = "user = root\n" if IS_ROOT else ""
    for number in range(count):
        text += f"[p{number}]\nlisten = {directory}/p{number}.sock\npm = ondemand\npm.max_children = 4\n{user}"
    (directory / "php-fpm.conf").write_text(text)
    process = start([program, "-F", "-y", directory / "php-fpm.conf", *(["-R"] if IS_ROOT else [])], directory)
    server = Server(PHP, process, directory / "p0.sock")
    log = directory / "error.log"
    try:
        measure.wait_for(lambda: log.exists() and "ready to handle" in log.read_text(), "PHP-FPM is ready", timeout=60)
    except BaseException:
        server.stop()
        raise
    return server


GROUP = Alone("pools", pools)
