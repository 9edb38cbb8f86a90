"""50 requests at once that each take half a second, on a server with two idle workers that may have 50."""

from __future__ import annotations

from contextlib import ExitStack

from bench import load, measure
from bench.cases.pairs import Contestant, start_arena
from bench.load import Load
from bench.peers import CHEAPER, PHP, PLAIN, PYFPM
from bench.results import Result
from bench.scenario import Alone, Options, scratch
from bench.servers import Server, Setting

PEERS = (PYFPM, PLAIN, PHP)
"""uWSGI's --cheaper also takes part in the full run; it takes 9 s."""
REQUESTS = 50
POOL = ("pm = dynamic", "pm.start_servers = 2", "pm.min_spare_servers = 2", "pm.max_spare_servers = 4")
BURST = Load("/slow", connections=REQUESTS, requests=REQUESTS)


def burst(options: Options) -> Result:
    """Time until the last answer."""
    title = f"{REQUESTS} requests of 0.5 s at once, 2 idle workers, at most {REQUESTS}; Django, PHP-FPM a script"
    result = Result("burst", title, ("last", "p50"))
    for _ in range(options.at_most(1, 3)):  # each starts the servers anew, since a burst leaves workers behind
        peers = PEERS if options.stretch == 1.0 else (*PEERS, CHEAPER)
        with scratch() as directory, ExitStack() as stack:
            setting = Setting(directory, REQUESTS, application="django_app:application").having(*POOL)
            arena = start_arena(stack, setting, [Contestant(peer) for peer in peers])
            for reason in arena.missing.values():
                result.note(reason)
            for name, server in arena.servers.items():
                _wait_for_two(server)
                outcome = load.run(arena.web.port, Contestant(name).site(server).host, BURST)
                result.add(name, last=outcome.most * 1e3, p50=outcome.p50 * 1e3)
                if outcome.failed:
                    result.note(f"{name}: {outcome.failed} requests failed")
    return result


def _wait_for_two(server: Server) -> None:
    # uWSGI's master has all its workers' places; those that are not needed yet have no process.
    measure.wait_for(lambda: len(server.workers()) == 2, f"{server.name} has 2 idle workers")


GROUP = Alone("burst", burst)
