"""`make fuzz`: odd inputs for the compiled hot path, with address and undefined-behaviour sanitizers.

Server.read() gets requests that were damaged, varied, stretched; a server answers them for an application that does
what none should, to peers that do the same. Of each kind some are compared with what plain Python does.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from random import SystemRandom

from tests.fuzz import sanitized

SHOWN = 4000
"""Characters of an input, and of what a process has said at last."""


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=10_000_000, help="inputs for read() (default: %(default)s)")
    parser.add_argument("--serve", type=int, help="requests that are answered (default: one for 50 inputs)")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=7200.0, help="how long at most (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=SystemRandom().getrandbits(32))
    return parser.parse_args(arguments)


def start(options: argparse.Namespace, binary: Path, number: int) -> subprocess.Popen[str]:
    """Start a process that tries its part."""
    serve = options.count // 50 if options.serve is None else options.serve
    share = [str((total + options.processes - 1) // options.processes) for total in (options.count, serve)]
    note = binary.with_name(f"input.{number}")
    command = [sys.executable, "-m", "tests.fuzz.one_process", binary, str(options.seed + number), *share]
    output = binary.with_name(f"output.{number}").open("w")
    with output:
        return subprocess.Popen(
            [*command, str(options.seconds), note],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
            env=sanitized.environ_for_python(),
        )


def explain(directory: Path, number: int) -> str:
    """Say what the process that failed has said, and its last input."""
    note = (directory / f"input.{number}").read_bytes() if (directory / f"input.{number}").exists() else bytes(4)
    data = note[4 : 4 + int.from_bytes(note[:4], "big")]
    said = (directory / f"output.{number}").read_text(errors="replace")
    return f"{said[-SHOWN:]}\nits last input: {data[:SHOWN]!r}"


def run(options: argparse.Namespace, directory: Path) -> int:
    """Run all processes, and print what came of it; the exit status."""
    binary = sanitized.build(directory)
    processes = [start(options, binary, number) for number in range(options.processes)]
    total: Counter[str] = Counter()
    failed = 0
    for number, process in enumerate(processes):
        try:
            said, _ = process.communicate(timeout=options.seconds + 120)
        except subprocess.TimeoutExpired:
            process.kill()
            said, _ = process.communicate()
        if process.returncode or not said:
            failed += 1
            print(f"process {number}: status {process.returncode}\n{explain(directory, number)}")
        else:
            found = json.loads(said.splitlines()[-1])
            seconds = max(total["seconds"], found["seconds"])
            total.update(found)
            total["seconds"] = seconds
    left = total["read"] - total["ours"]
    print(
        f"seed {options.seed}: {total['read']} inputs, {total['ours']} read here and {left} left to plain Python, "
        f"{total['read alike']} compared; {total['served']} requests served, {total['served alike']} compared; "
        f"{total['seconds']:.0f} seconds ({total['seconds of serving'] / options.processes:.0f} of serving), "
        f"{failed} of {options.processes} processes failed"
    )
    return 1 if failed else 0


def main() -> int:
    """Run it from the command line."""
    options = parse(sys.argv[1:])
    missing = sanitized.find_missing()
    if missing:
        print(f"fuzz: {missing}")
        return 1
    os.environ.pop("PYTHONPATH", None)
    with tempfile.TemporaryDirectory(prefix="pyfpm-fuzz-") as directory:
        return run(options, Path(directory))


if __name__ == "__main__":
    sys.exit(main())
