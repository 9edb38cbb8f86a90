"""Cases that load servers in turn: A B C, C B A, A B C ... so that what changes on the machine meets all of them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from bench import load, measure
from bench.load import Load, Outcome
from bench.peers import PEERS, PYFPM, Starter
from bench.results import Result
from bench.scenario import Options, scratch
from bench.servers import Pyfpm, Server, Setting
from bench.targets import not_kept
from bench.tools import Missing
from bench.web import Site, Web
from fpm.scoreboard.hot_path import HotPath

WARM_UP = 0.3
"""Seconds of load on each server before the first round."""
MB = 1e6


@dataclass(frozen=True)
class Contestant:
    """A server, and how nginx leads to it."""

    peer: str
    keepalive: int = 0
    streams: bool = False
    label: str = ""

    @property
    def name(self) -> str:
        """What the report calls it."""
        return self.label or self.peer

    def site(self, server: Server) -> Site:
        """Where nginx has it."""
        return Site(server, self.keepalive, self.streams)


@dataclass(frozen=True)
class LoadCase:
    """One thing to ask of several servers.

    Attributes:
        usual: it is part of the short run.
        at_half: the load comes at half the rate that the slowest of them can answer, the same for all.
        rounds: at most so many.
        bare: these peers also take part with connections that are not kept.
        note: what else a reader has to know.
    """

    name: str
    title: str
    load: Load
    peers: Sequence[str]
    measures: tuple[str, ...] = ("cpu", "user", "system", "rate", "p50", "p99")
    keepalive: int = 0
    bare: Sequence[str] = ()
    streams: bool = False
    at_half: bool = False
    rounds: int = 100
    usual: bool = True
    note: str = ""

    def contestants(self) -> list[Contestant]:
        """In the order of the report."""
        kept = [Contestant(peer, self.keepalive, self.streams) for peer in self.peers]
        return [*kept, *(Contestant(peer, label=not_kept(peer)) for peer in self.bare)]


@dataclass
class Arena:
    """Servers that run at the same time, all with the same application, behind one nginx."""

    servers: dict[str, Server]
    web: Web
    missing: dict[str, str]


@dataclass
class Group:
    """Cases that share their servers. `prepare` may put files beside them and say more about the setting."""

    cases: Sequence[LoadCase]
    prepare: Callable[[Setting, Sequence[LoadCase]], Setting] = field(default=lambda setting, cases: setting)

    def run(self, chosen: Sequence[str], options: Options) -> Iterator[Result]:
        """Measure the chosen ones."""
        cases = [case for case in self.cases if case.name in chosen]
        if not cases:
            return
        with scratch() as directory, ExitStack() as stack:
            setting = self.prepare(Setting(directory, options.workers), cases)
            arena = start_arena(stack, setting, [one for case in cases for one in case.contestants()])
            for case in cases:
                yield run_case(arena, case, options)


def start_arena(
    stack: ExitStack, setting: Setting, contestants: Sequence[Contestant], peers: Mapping[str, Starter] = PEERS
) -> Arena:
    """Start every server that takes part; those that are missing are noted and left out."""
    servers: dict[str, Server] = {}
    missing: dict[str, str] = {}
    for peer in dict.fromkeys(one.peer for one in contestants):
        try:
            servers[peer] = peers[peer](setting)
        except (Missing, OSError, RuntimeError) as error:
            missing[peer] = f"{peer} does not take part: {error}"
            print(missing[peer], file=sys.stderr)
            continue
        stack.callback(servers[peer].stop)
    present = [one for one in contestants if one.peer in servers]
    sites = dict.fromkeys(one.site(servers[one.peer]) for one in present)
    web = Web(setting.directory, list(sites))
    stack.callback(web.stop)
    return Arena(servers, web, missing)


def run_case(arena: Arena, case: LoadCase, options: Options) -> Result:
    """All rounds of one case."""
    result = Result(
        case.name, f"{case.title}; {options.workers} workers", case.measures, notes=[case.note] if case.note else []
    )
    present = [one for one in case.contestants() if one.peer in arena.servers]
    for one in case.contestants():
        if one.peer in arena.missing:
            result.note(arena.missing[one.peer])
    ours = arena.servers.get(PYFPM)
    if isinstance(ours, Pyfpm) and ours.hot_path() != HotPath.COMPILED:
        result.note("pyfpm had no compiled hot path in this run")
    for one in list(present):
        try:
            slice_of(arena, one, replace(case.load, seconds=min(WARM_UP, case.load.seconds)))
        except RuntimeError as error:
            result.note(f"{one.name} does not take part: {error}")
            present.remove(one)
    what = options.scaled(case.load)
    if case.at_half:
        what = replace(what, rate=half_of_saturation(arena, present, what))
        result.title += f"; {what.rate:,.0f} requests/s, which is half of what the slowest can answer"
    for number in range(options.at_most(case.rounds, case.rounds)):
        for one in present if number % 2 == 0 else reversed(present):
            outcome, measured = slice_of(arena, one, what)
            result.add(one.name, **measured)
            if outcome.failed:
                result.note(f"{one.name}: some requests failed")
    result.samples = {one.name: result.samples[one.name] for one in present}
    return result


def half_of_saturation(arena: Arena, present: Sequence[Contestant], what: Load) -> float:
    """Requests a second: half the least of their rates under as much load as they take, the better one of two each."""
    rates: dict[str, float] = {}
    for one in [*present, *reversed(present)]:
        outcome, _ = slice_of(arena, one, replace(what, seconds=1.0))
        rates[one.name] = max(rates.get(one.name, 0.0), outcome.rate)
    return min(rates.values()) / 2


def slice_of(arena: Arena, one: Contestant, what: Load) -> tuple[Outcome, dict[str, float]]:
    """Load one server for a moment; what its processes took for that."""
    server = arena.servers[one.peer]
    pids = server.family()
    measure.forget_peaks(pids)
    peaks = measure.peaks(pids)
    before = measure.usage(pids)
    outcome = load.run(arena.web.port, one.site(server).host, what)
    spent = measure.usage(pids) - before
    cpu = spent.total / outcome.requests * 1e6
    return outcome, {
        "cpu": cpu,
        "user": cpu * spent.user_part,
        "system": cpu * (1 - spent.user_part),
        "master": spent.master / outcome.seconds * 100,
        "rate": outcome.rate,
        "throughput": max(outcome.bytes, what.upload * outcome.requests) / outcome.seconds / MB,
        "p50": outcome.p50 * 1e3,
        "p99": outcome.p99 * 1e3,
        "grown": max(peak - peaks.get(pid, peak) for pid, peak in measure.peaks(pids).items()) / MB,
        "failed": outcome.failed,
    }
