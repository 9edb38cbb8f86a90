"""`python -m bench`: comparisons side by side in one run, on loopback only; every number is of this machine.

throughput   hello world through one nginx on Unix sockets; the workers' CPU time for a request, and requests a second
burst        50 requests of 0.5 s at once on a pool with 2 idle workers
pools        a master with 1,000 ondemand pools and no traffic
broken       a deploy of a syntax error under traffic, and its repair (only if named)
good         reloads of good code under load (only if named)
trace        how long a process stands still while its stack is read, beside py-spy (only if named)
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from contextlib import ExitStack

from bench import measure, reload, servers, trace
from bench.scenario import goal, scratch
from bench.servers import Server
from bench.web import Web

MIB = 1024 * 1024


def throughput(options: argparse.Namespace) -> bool:
    """CPU time of the workers for a request, beside the peers'."""
    cpu: dict[str, list[float]] = {}
    rates: dict[str, list[float]] = {}
    with scratch() as directory, ExitStack() as stack:
        starters = [servers.start_pyfpm, servers.start_uwsgi, servers.start_gunicorn, servers.start_flup]
        running: list[Server] = []
        for starter in starters:
            server = starter(directory, options.workers)
            if server is not None:
                stack.callback(server.stop)
                running.append(server)
        web = Web(directory, running)
        stack.callback(web.stop)
        for number in range(len(running)):
            web.load(number, requests=500, concurrency=options.concurrency)
        for _ in range(options.rounds):
            for number, server in enumerate(running):
                pids = server.workers()
                before = sum(measure.cpu_seconds(pid) for pid in pids)
                rate = web.load(number, requests=options.requests, concurrency=options.concurrency)
                spent = sum(measure.cpu_seconds(pid) for pid in pids) - before
                cpu.setdefault(server.name, []).append(spent / options.requests * 1e6)
                rates.setdefault(server.name, []).append(rate)
    return report_throughput(cpu, rates, options)


def report_throughput(cpu: dict[str, list[float]], rates: dict[str, list[float]], options: argparse.Namespace) -> bool:
    """The table; medians of the rounds."""
    print(f"\nHello world: {options.rounds} rounds of {options.requests} requests, {options.concurrency} at a time,")
    print(f"{options.workers} workers each, nginx 1 process, Unix sockets, no kept connections to the workers\n")
    print(f"  {'':15} {'CPU us/request':>15} {'least..most':>13} {'pyfpm is':>9} {'requests/s':>11}")
    middle = {name: statistics.median(values) for name, values in cpu.items()}
    for name, values in cpu.items():
        spread = f"{min(values):.0f}..{max(values):.0f}"
        ratio = f"{middle['pyfpm'] / middle[name]:.2f} x"
        print(f"  {name:15} {middle[name]:15.1f} {spread:>13} {ratio:>9} {statistics.median(rates[name]):11.0f}")
    print()
    good = True
    if "uWSGI" in middle:
        good &= goal("at most 1.2 times uWSGI's CPU time", middle["pyfpm"] <= 1.2 * middle["uWSGI"])
    return goal("at most 0.25 times Gunicorn's", middle["pyfpm"] <= 0.25 * middle["Gunicorn sync"]) and good


def burst(options: argparse.Namespace) -> bool:
    """50 requests of 0.5 s at once; PHP-FPM takes 4.5 s (dynamic) and 2.0 s (ondemand)."""
    dynamic = ["pm = dynamic", "pm.start_servers = 2", "pm.min_spare_servers = 2", "pm.max_spare_servers = 4"]
    print("\n50 requests of 0.5 s at once, pm.max_children = 50\n")
    good = True
    for name, settings in (("dynamic", dynamic), ("ondemand", ["pm = ondemand"])):
        with scratch() as directory, ExitStack() as stack:
            pool = servers.pool_text("burst", directory, [*settings, "pm.max_children = 50"])
            process = servers.start_master(directory, pool)
            path = directory / "burst.sock"
            server = servers.Pyfpm("pyfpm", process, path, f"include fastcgi_params; fastcgi_pass unix:{path};")
            stack.callback(server.stop)
            web = Web(directory, [server])
            stack.callback(web.stop)
            if name == "ondemand":
                web.burst(0, requests=2, seconds=0.01)
            measure.wait_for(lambda server=server: len(server.workers()) == 2, "2 idle workers")  # type: ignore[misc]
            times = web.burst(0, requests=50, seconds=0.5)
        print(f"  {name:10} first {times[0]:.2f} s, median {times[25]:.2f} s, last {times[-1]:.2f} s")
        good &= goal("all within 1.0 s", times[-1] <= 1.0)
    return good


def pools(options: argparse.Namespace) -> bool:
    """What a thousand pools cost that nobody asks."""
    count = options.pools
    with scratch() as directory:
        text = "\n".join(
            servers.pool_text(f"p{number}", directory, ["pm = ondemand", "pm.max_children = 4"])
            for number in range(count)
        )
        begin = time.monotonic()
        process = servers.start_master(directory, text)
        ready = time.monotonic() - begin
        server = servers.Pyfpm("pyfpm", process, directory / "p0.sock", "")
        try:
            cpu, switches = measure.cpu_seconds(process.pid), measure.context_switches(process.pid)
            time.sleep(options.idle)
            spent = measure.cpu_seconds(process.pid) - cpu
            woken = measure.context_switches(process.pid) - switches
            pss = measure.pss_bytes(process.pid) / MIB
        finally:
            server.stop()
    print(f"\nMaster with {count} ondemand pools, no traffic for {options.idle:g} s\n")
    print(f"  ready after {ready:.2f} s, PSS {pss:.1f} MB, CPU {spent * 1000:.0f} ms, woken {woken} times")
    good = goal("ready within 5 s", ready <= 5)
    good &= goal("at most 60 MB PSS", pss <= 60)
    return goal("no measurable CPU (at most one tick, 10 ms)", spent <= 0.0101) and good


USUAL = {"throughput": throughput, "burst": burst, "pools": pools}
SCENARIOS = {**USUAL, "broken": reload.broken_deploy, "good": reload.good_reloads, "trace": trace.trace}


def main() -> int:
    """Run what was asked for; exit 1 if a goal is not met."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("scenario", nargs="*", choices=[*SCENARIOS, []], help="the first three if none is named")
    parser.add_argument("--requests", type=int, default=20000, help="in each round of throughput")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--concurrency", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--pools", type=int, default=1000)
    parser.add_argument("--idle", type=float, default=10.0, help="seconds without traffic in pools")
    parser.add_argument("--reloads", type=int, default=6, help="in good")
    parser.add_argument("--looks", type=int, default=300, help="in trace, with each tool")
    options = parser.parse_args()
    print(f"{os.cpu_count()} CPUs, Linux {os.uname().release}, Python {sys.version.split()[0]}")
    results = [SCENARIOS[name](options) for name in options.scenario or USUAL]
    return 0 if all(results) else 1


if __name__ == "__main__":
    raise SystemExit(main())
