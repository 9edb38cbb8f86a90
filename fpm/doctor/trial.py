"""Really starts a pool's application, by the launcher and as the pool's user, and measures what it takes."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace

from fpm.doctor.capacity import Memory
from fpm.doctor.findings import Finding
from fpm.doctor.helpers import helper, read_all
from fpm.doctor.request import Request, pack_request
from fpm.system.unix_sockets import make_socket_directory

IMPORT_TIME = 30.0
"""Seconds in which an application must be ready, if startup_timeout does not say less."""
MASTER_TIME = 15.0
"""Seconds that the master has besides."""
STOP_TIME = 20.0
"""Seconds in which it stops with all that it has started."""
MEASURE_TIME = 10.0
WORKERS_MAX = 32
"""Of a running pool, that are measured."""
QUOTED_MAX = 8
"""Lines of a traceback."""


@dataclass(frozen=True, slots=True)
class Tried:
    """What became of one pool."""

    findings: list[Finding]
    memory: Memory | None
    descriptors: int | None
    """Of a worker that has had no request."""


def try_pool(request: Request, pool: str) -> Tried:
    """Start the application of one pool, measure it, and stop it."""
    directory = make_socket_directory("pyfpm-doctor-")
    packed = pack_request(replace(request, pools=(pool,)))
    try:
        with helper("fpm.doctor.trial_master", packed, directory, str(IMPORT_TIME), patience=STOP_TIME) as master:
            answer = master.read(IMPORT_TIME + MASTER_TIME)
            if answer is None:
                text = f"the application was not ready within {IMPORT_TIME + MASTER_TIME:g} s, and does not say why"
                return Tried([Finding("import", "problem", text, pool)], None, None)
            if answer.get("failed"):
                return Tried([_describe(pool, answer)], None, None)
            workers = [int(pid) for pid in answer.get("workers", ())]
            return Tried([], *_measure(workers[:1]))
    except OSError as error:
        text = f"the application could not be tried: {error.strerror or error}"
        return Tried([Finding("import", "problem", text, pool)], None, None)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _describe(pool: str, answer: dict[str, object]) -> Finding:
    lines = str(answer.get("traceback") or "").rstrip().splitlines()
    error = str(answer.get("error") or "it failed").rstrip(".")
    return Finding(
        "import", "problem", f"the application does not start: {error}", pool, quoted="\n".join(lines[-QUOTED_MAX:])
    )


def _measure(workers: list[int]) -> tuple[Memory | None, int | None]:
    """Measure one new worker, and the template that it shares its memory with."""
    found = {one["pid"]: one for one in read_all("fpm.doctor.measure", list(map(str, workers)), MEASURE_TIME)}
    worker = next(iter(found.values()), None)
    if worker is None:
        return None, None
    template = next(iter(read_all("fpm.doctor.measure", [str(worker["parent"])], MEASURE_TIME)), None)
    shared = worker["pss"] - worker["private"] + (template["pss"] if template else 0)
    memory = Memory(worker["private"], shared, "measured before the first request")
    return memory, worker["descriptors"]


def measure_running(workers: list[int]) -> Memory | None:
    """Measure workers of the running daemon; None if this user cannot look at them."""
    found = read_all("fpm.doctor.measure", [str(pid) for pid in workers[:WORKERS_MAX]], MEASURE_TIME)
    if not found:
        return None
    each = sum(one["private"] for one in found) // len(found)
    shared = sum(one["pss"] - one["private"] for one in found)
    count = "one worker" if len(found) == 1 else f"{len(found)} workers"
    return Memory(each, shared, f"measured of {count} of the running daemon")
