"""`python -m bench`: pyfpm beside its peers, in turn and in one run, on loopback only; numbers are of this machine."""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import time
from pathlib import Path

from bench import tools
from bench.cases import deploys, hello, traces
from bench.report import table
from bench.results import Run
from bench.scenario import Options

GROUPS = [hello.GROUP]
OTHERS = {"broken": deploys.broken_deploy, "good": deploys.good_reloads, "trace": traces.trace}
"""Only if named; they print what they find."""


WHERE = ("date", "machine", "kernel")


def environment() -> dict[str, str]:
    """Where and when, and which versions."""
    model = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{os.cpu_count()} x {model[0].partition(':')[2].strip() if model else platform.machine()}",
        "kernel": f"Linux {os.uname().release}",
        **tools.versions(),
    }


def all_cases() -> dict[str, bool]:
    """Names, and whether the short run has them."""
    return {case.name: case.usual for group in GROUPS for case in group.cases}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    names = all_cases()
    found = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    cases = ", ".join([*names, *OTHERS])
    found.add_argument("case", nargs="*", help=f"of {cases}; a short choice of them if none is named")
    found.add_argument("--full", action="store_true", help="all cases, each three times as long")
    found.add_argument("--rounds", type=int, default=5, help="pairs of each case")
    found.add_argument("--workers", type=int, default=4)
    found.add_argument("--pools", type=int, default=1000)
    found.add_argument("--json", type=Path, metavar="FILE", help="write all samples")
    return found


def end(number: int, frame: object) -> None:
    """Let everything that has been started be stopped when somebody ends the benchmark."""
    raise SystemExit(128 + number)


def main() -> int:
    """Run what was asked for; a target that is not met is said, and no failure."""
    arguments = parser().parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    names = all_cases()
    if unknown := [name for name in arguments.case if name not in {**names, **OTHERS}]:
        parser().error(f"no such case: {' '.join(unknown)}")
    full = arguments.full or os.environ.get("FULL", "") not in ("", "0")
    chosen = arguments.case or [name for name, usual in names.items() if usual or full]
    options = Options(arguments.rounds, arguments.workers, 3.0 if full else 1.0, arguments.pools)
    run = Run(environment())
    print(", ".join(value if name in WHERE else f"{name} {value}" for name, value in run.environment.items()))
    for group in GROUPS:
        for result in group.run(chosen, options):
            run.results.append(result)
            print(table.text(result), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(run.as_json(), indent=1) + "\n")
    good = [OTHERS[name]() for name in arguments.case if name in OTHERS]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
