"""Really starts a pool's application, by the launcher and as the pool's user, and measures what it takes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

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
    with _started(request, pool, IMPORT_TIME) as answer:
        if answer.get("failed"):
            return Tried([_describe(pool, answer)], None, None)
        workers = [int(pid) for pid in answer.get("workers", ())]
        return Tried([], *_measure(workers[:1]))


@dataclass(frozen=True, slots=True)
class ImportFailure:
    """Why an application does not start."""

    error: str
    traceback: str


def import_application(request: Request, pool: str, seconds: float) -> ImportFailure | None:
    """Start the application of one pool and stop it; nothing of it is left.

    Args:
        seconds: in which it must be ready, if startup_timeout does not say less.

    Returns:
        None if it starts.
    """
    with _started(request, pool, seconds) as answer:
        if not answer.get("failed"):
            return None
        return ImportFailure(str(answer.get("error") or "it failed"), str(answer.get("traceback") or ""))


@contextmanager
def _started(request: Request, pool: str, seconds: float) -> Iterator[dict[str, Any]]:
    """Start a pool in a master of its own; yield what that says, or what it would say, and stop it."""
    directory = make_socket_directory("pyfpm-doctor-")
    packed = pack_request(replace(request, pools=(pool,)))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        try:
            master = stack.enter_context(
                helper("fpm.doctor.trial_master", packed, directory, str(seconds), patience=STOP_TIME)
            )
            answer = master.read(seconds + MASTER_TIME)
        except OSError as error:
            answer = {"failed": True, "error": f"it could not be tried: {error.strerror or error}"}
        if answer is None:
            sentence = f"it was not ready within {seconds + MASTER_TIME:g} s, and does not say why"
            answer = {"failed": True, "error": sentence}
        yield answer


def _describe(pool: str, answer: dict[str, Any]) -> Finding:
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
