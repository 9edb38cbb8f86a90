"""What each preset of `isolation` costs, at a start and for a request. `python -m bench isolation`.

The pools are of one daemon and take turns, so what else the machine does meets all of them alike. A start is a reload
of one pool: launcher, jail, interpreter, import of a small application, one worker.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from bench import measure
from bench.peers import PYFPM
from bench.scenario import goal, scratch
from bench.servers import Pyfpm, Setting, pool_text, start_master
from fpm.client.exchange import send_request
from fpm.client.request import request_params
from fpm.config.isolation import PRESETS
from fpm.config.model import UnixAddress

STARTS = 30
ROUNDS = 15
REQUESTS = 1500
"""In each round and pool."""
MOST = 1.05
"""How much more basic may cost than none, for it is the default."""


def isolation() -> bool:
    """Print a row for each preset; returns whether basic is cheap enough to be the default."""
    with scratch() as directory:
        pools = "".join(_pool(directory, preset) for preset in PRESETS)
        process, command = start_master(directory, pools)
        server = Pyfpm(PYFPM, process, directory / "none.sock", command=command)
        try:
            starts = _starts(command)
            requests = _requests(directory, server)
        finally:
            server.stop()
    print(f"\n{'isolation':>12}{'start ms':>12}{'of none':>10}{'request us':>12}{'of none':>10}")
    for preset in PRESETS:
        start, request = min(starts[preset]), min(requests[preset])
        figures = (
            f"{start * 1e3:12.1f}{_ratio(starts, preset):10.3f}{request * 1e6:12.2f}{_ratio(requests, preset):10.3f}"
        )
        print(f"{preset:>12}{figures}", flush=True)
    met = max(_ratio(starts, "basic"), _ratio(requests, "basic")) <= MOST
    return goal(f"basic costs at most {MOST} times of none", met)


def _pool(directory: Path, preset: str) -> str:
    lines = ["pm = static", "pm.max_children = 1", f"isolation = {preset}"]
    return pool_text(preset, Setting(directory, 1), [*lines, *(["private_tmp = yes"] if preset != "none" else [])])


def _ratio(samples: dict[str, list[float]], preset: str) -> float:
    """Compare the best of each: what a start takes is there every time, what disturbs it is not."""
    return min(samples[preset]) / min(samples["none"])


def _starts(command: Sequence[str]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {preset: [] for preset in PRESETS}
    for _ in range(STARTS):
        for preset, samples in found.items():
            before = time.monotonic()
            subprocess.run([*command, "reload", preset], capture_output=True, check=True, timeout=60)
            samples.append(time.monotonic() - before)
    return found


def _requests(directory: Path, server: Pyfpm) -> dict[str, list[float]]:
    """CPU seconds of the worker for one request."""
    found: dict[str, list[float]] = {preset: [] for preset in PRESETS}
    workers, params = {preset: _worker(server, preset) for preset in PRESETS}, request_params("GET", "/")
    for _ in range(ROUNDS):
        for preset, samples in found.items():
            address = UnixAddress(str(directory / f"{preset}.sock"))
            before = measure.cpu_seconds(workers[preset])
            for _ in range(REQUESTS):
                with send_request(address, params) as response:
                    response.read()
            samples.append((measure.cpu_seconds(workers[preset]) - before) / REQUESTS)
    return found


def _worker(server: Pyfpm, preset: str) -> int:
    title = f"pyfpm: pool {preset}"
    measure.wait_for(lambda: any(_title(pid) == title for pid in server.family()), title)
    return next(pid for pid in server.family() if _title(pid) == title)


def _title(pid: int) -> str:
    with measure.gone_is_nothing():
        return (Path("/proc") / str(pid) / "cmdline").read_bytes().strip(b"\0 ").decode()
    return ""
