"""`python -m bench`: pyfpm beside its peers, in turn and in one run, on loopback only; numbers are of this machine.

`python -m bench report FILE` writes docs/performance.md to its standard output, from what `--json FILE` has kept.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench import tools
from bench.cases import (
    burst,
    deploys,
    frameworks,
    hello,
    isolation,
    large,
    memory,
    pools,
    routes,
    scaling,
    traces,
    wake,
)
from bench.report import table
from bench.report.document import document, with_figures
from bench.report.picture import picture
from bench.results import Run, run_from_json
from bench.scenario import Group, Options

GROUPS: list[Group] = [
    hello.GROUP,
    large.GROUP,
    frameworks.DJANGO,
    frameworks.FLASK,
    burst.GROUP,
    wake.GROUP,
    memory.GROUP,
    pools.GROUP,
    routes.GROUP,
]
OTHERS = {
    "broken": deploys.broken_deploy,
    "good": deploys.good_reloads,
    "trace": traces.trace,
    "scaling": scaling.scaling,
    "isolation": isolation.isolation,
}
"""Only if named; they print what they find."""


WHERE = ("date", "machine", "kernel")
"""Parts of the environment that need no name."""


def environment() -> dict[str, str]:
    """Where and when, and which versions."""
    model = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{os.cpu_count()} x {model[0].partition(':')[2].strip() if model else platform.machine()}",
        "kernel": f"Linux {os.uname().release}",
        "pyfpm": tools.own_version(),
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
    found.add_argument("--rounds", type=int, default=6, help="pairs of each case; fewer in those that take long")
    found.add_argument("--workers", type=int, default=4)
    found.add_argument("--pools", type=int, default=1000)
    found.add_argument("--json", type=Path, metavar="FILE", help="write all samples")
    found.add_argument("--svg", type=Path, metavar="FILE", help="draw the main cases")
    return found


def end(number: int, frame: object) -> None:
    """Let everything that has been started be stopped when somebody ends the benchmark."""
    raise SystemExit(128 + number)


def report(words: Sequence[str]) -> int:
    """Write the documents from a file of samples, or what they say as long as there are none."""
    found = argparse.ArgumentParser(prog="python -m bench report")
    found.add_argument("file", type=Path, nargs="?", help="what --json has written")
    found.add_argument("--svg", type=Path, metavar="FILE", help="draw the main cases; the page shows it by its name")
    found.add_argument("--readme", type=Path, metavar="FILE", help="put the main figures between its marks")
    arguments = found.parse_args(words)
    run = run_from_json(json.loads(arguments.file.read_text())) if arguments.file else Run({})
    if arguments.svg:
        arguments.svg.write_text(picture(run))
    if arguments.readme:
        arguments.readme.write_text(with_figures(arguments.readme.read_text(), run))
    print(document(run, arguments.svg.name if arguments.svg else None), end="")
    return 0


def main() -> int | str:
    """Run what was asked for; a target that is not met is said, and no failure."""
    if sys.argv[1:2] == ["report"]:
        return report(sys.argv[2:])
    arguments = parser().parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    names = all_cases()
    if unknown := [name for name in arguments.case if name not in {**names, **OTHERS}]:
        parser().error(f"no such case: {' '.join(unknown)}")
    full = arguments.full or os.environ.get("FULL", "") not in ("", "0")
    chosen = arguments.case or [name for name, usual in names.items() if usual or full]
    options = Options(arguments.rounds, arguments.workers, 3.0 if full else 1.0, arguments.pools)
    try:
        tools.compiled("load")
    except tools.Missing as error:
        return f"python -m bench: {error}, and the client is written in C"
    run = Run(environment())
    print(", ".join(value if name in WHERE else f"{name} {value}" for name, value in run.environment.items()))
    whole = True
    for group in GROUPS:
        try:
            for result in group.run(chosen, options):
                run.results.append(result)
                print(table.text(result), flush=True)
        except RuntimeError as error:
            whole = False
            print(f"\n{', '.join(case.name for case in group.cases)}: {error}", file=sys.stderr)
    if arguments.json:
        arguments.json.write_text(json.dumps(run.as_json(), indent=1) + "\n")
    if arguments.svg:
        arguments.svg.write_text(picture(run))
    good = [OTHERS[name]() for name in arguments.case if name in OTHERS]
    return 0 if whole and all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
