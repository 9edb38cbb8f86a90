"""Memory of 8 workers with the same Django site after 1,000 requests; one server after the other."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from bench import load, measure
from bench.cases.pairs import Contestant, start_arena
from bench.load import Load
from bench.peers import GUNICORN, PEERS, PLAIN, PRELOAD, PYFPM, UWSGI, Starter, start_pyfpm
from bench.results import Result
from bench.scenario import Alone, Options, scratch
from bench.servers import Server, Setting, knows

WORKERS = 8
MB = 1024 * 1024
LOADS = [Load("/", connections=8, requests=900, seconds=30.0), Load("/admin/login/", 8, 30.0, requests=100)]
WARMED = "pyfpm, preload.warmup"


def start_warmed(setting: Setting) -> Server:
    """The template answers a request for each page before it forks."""
    return start_pyfpm(setting.having("preload.warmup = GET / GET /admin/login/"), name=WARMED)


def memory(options: Options) -> Result:
    """PSS of all processes, and what a worker has alone."""
    title = f"{WORKERS} Django workers (admin, auth, sessions) after 1,000 requests"
    result = Result("memory", title, ("pss", "alone", "master_pss"))
    starters: dict[str, Starter] = {name: PEERS[name] for name in (PYFPM, PLAIN, GUNICORN, PRELOAD, UWSGI)}
    if knows("preload.warmup"):
        starters[WARMED] = start_warmed
    for name, start in [*starters.items()] * options.at_most(1, 3):
        with scratch() as directory:
            _one(result, name, start, directory)
    return result


def _one(result: Result, name: str, start: Starter, directory: Path) -> None:
    setting = Setting(directory, WORKERS, application="django_app:application")
    with ExitStack() as stack:
        arena = start_arena(stack, setting, [Contestant(name)], {name: start})
        if name not in arena.servers:
            result.note(arena.missing[name])
            return
        server = arena.servers[name]
        for what in LOADS:
            outcome = load.run(arena.web.port, Contestant(name).site(server).host, what)
            if outcome.failed:
                result.note(f"{name}: {outcome.failed} requests failed")
        workers = server.workers()
        result.add(
            name,
            pss=sum(measure.pss_bytes(pid) for pid in server.family()) / MB,
            alone=sum(measure.uss_bytes(pid) for pid in workers) / len(workers) / MB,
            master_pss=measure.pss_bytes(server.process.pid) / MB,
        )


GROUP = Alone("memory", memory)
