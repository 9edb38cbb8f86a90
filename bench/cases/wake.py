"""The first answer of an ondemand pool that has no worker, with its template still there and without.

PHP-FPM has no template: a worker that it starts imports nothing, and compiles the script if its cache is gone.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

from bench import load, measure, tools
from bench.cases.pairs import Arena, Contestant, start_arena
from bench.load import Load
from bench.peers import PHP, PLAIN, PYFPM
from bench.results import Result
from bench.scenario import Case, Named, Options, scratch
from bench.servers import Pyfpm, Server, Setting

APPLICATION = "django_app"
IDLE = "pm.process_idle_timeout = 1s"
ALONE = f"""
import io, sys, time
times = [time.perf_counter()]
import {APPLICATION}
times.append(time.perf_counter())
environ = {{"REQUEST_METHOD": "GET", "PATH_INFO": "/ok", "SERVER_NAME": "a", "SERVER_PORT": "80"}}
environ |= {{"wsgi.input": io.BytesIO(), "wsgi.url_scheme": "http", "wsgi.errors": sys.stderr}}
assert b"".join({APPLICATION}.application(environ, lambda status, headers: None)) == b"ok\\n"
print(times[1] - times[0], time.perf_counter() - times[1])
"""
"""What the application takes by itself for its import and its first request, in seconds."""
ONE = Load("/ok", connections=1, requests=1, seconds=20.0)
PEERS = (PYFPM, PLAIN, PHP)


class Group:
    """Both cases come from the same waits: a cold wake leaves a template, which wakes warm a second later."""

    cases: Sequence[Case] = (Named("wake-cold"), Named("wake-warm"))

    def run(self, chosen: Sequence[str], options: Options) -> Iterator[Result]:
        """Measure both if one is chosen."""
        if not any(case.name in chosen for case in self.cases):
            return
        text = "First byte from an ondemand pool without workers; Django"
        cold = Result("wake-cold", f"{text}, nothing imported", ("first", "import", "request"))
        warm = Result("wake-warm", f"{text}, template present", ("first",))
        with scratch() as directory, ExitStack() as stack:
            setting = Setting(directory, 4, application=f"{APPLICATION}:application").having("pm = ondemand", IDLE)
            arena = start_arena(stack, setting, [Contestant(peer) for peer in PEERS])
            for _ in range(options.at_most(3, 5)):
                _round(arena, cold, warm)
        yield from (cold, warm)


def _round(arena: Arena, cold: Result, warm: Result) -> None:
    """Each wakes from nothing, then with what that has left."""
    for server in arena.servers.values():
        _wait(server, templates=False)
    for name, server in arena.servers.items():
        imported, asked = alone() if isinstance(server, Pyfpm) else (0.0, 0.0)
        cold.add(name, first=_first(arena, name, server))
        if imported:
            cold.add(name, request=asked * 1e3, **{"import": imported * 1e3})
        _wait(server, templates=True)
        if not isinstance(server, Pyfpm) or server.templates():  # it may have left in the meantime
            warm.add(name, first=_first(arena, name, server))


def _first(arena: Arena, name: str, server: Server) -> float:
    return load.run(arena.web.port, Contestant(name).site(server).host, ONE).first * 1e3


def _wait(server: Server, *, templates: bool) -> None:
    """Until no worker is there, and no template unless one may be."""

    def gone() -> bool:
        return not server.workers() and (templates or not isinstance(server, Pyfpm) or not server.templates())

    measure.wait_for(gone, f"{server.name} is idle", timeout=30)


def alone() -> tuple[float, float]:
    """Seconds of the application's import and of its first request, in an interpreter of its own."""
    command = [str(tools.venv() / "python"), "-c", ALONE]
    done = subprocess.run(command, cwd=tools.APPS, capture_output=True, text=True, check=True, timeout=60)
    imported, asked = map(float, done.stdout.split())
    return imported, asked


GROUP = Group()
