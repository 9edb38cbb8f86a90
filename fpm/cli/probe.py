"""Checks whether the stacks of slow requests can be read on this machine, for `pyfpm test`."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Iterator

from fpm.config.model import Config, PoolConfig
from fpm.event_text.describe import describe
from fpm.events.base import Event
from fpm.events.master import StacksAvailable
from fpm.events.pool import StacksUnavailable
from fpm.log.lines import pool_prefix
from fpm.master.tracing.diagnosis import wants_stacks
from fpm.system.own_command import own_python
from fpm.system.spawn import run_once

TIME_FOR_ONE = 30.0
"""Seconds."""
KINDS_MAX = 20
"""Maximum number of users and interpreters that are tried; each takes about a tenth of a second."""
NAMES_MAX = 10


def stack_notices(config: Config) -> Iterator[str]:
    """Return the result as lines with their level; nothing if no pool needs stacks.

    Each user and interpreter is tried once, by a process with the same identity as the pool's.
    """
    kinds = _kinds_of(pool for pool in config.pools if wants_stacks(pool))
    if not kinds:
        return
    found = _try(kinds)
    for kind, reason in found.items():
        if reason:
            pools = kinds[kind]
            names = ", ".join(pools[:NAMES_MAX]) + (" ..." if len(pools) > NAMES_MAX else "")
            text = f"stacks of slow requests cannot be read by ptrace: {reason}. Workers write them themselves instead"
            yield _line(StacksUnavailable(f"{text} (pyfpm(8), STACKS)", pool=names))
    if all(reason == "" for reason in found.values()):
        yield _line(StacksAvailable())


def unreadable_stacks(pools: Iterable[PoolConfig]) -> dict[str, str]:
    """Return, by the names of pools, why the stacks of their processes cannot be read; those that can are left out."""
    kinds = _kinds_of(pools)
    return {pool: reason for kind, reason in _try(kinds).items() if reason for pool in kinds[kind]}


def _kinds_of(pools: Iterable[PoolConfig]) -> dict[str, list[str]]:
    """Return the names of pools by user and interpreter."""
    kinds: dict[str, list[str]] = {}
    for pool in pools:
        kinds.setdefault(json.dumps(_kind(pool)), []).append(pool.name)
    return kinds


def _try(kinds: Iterable[str]) -> dict[str, str | None]:
    """Try some of the kinds; return why each cannot be traced, "" if it can, None if its process cannot be made."""
    tried = list(kinds)[:KINDS_MAX]
    answers = dict(zip(tried, _probe(tried), strict=False)) if tried else {}
    return {kind: answers.get(kind, "the probe did not answer") for kind in tried}


def _line(event: Event) -> str:
    event = describe(event, 0.0)
    return f"{event.level}: {pool_prefix(event.pool)}{event.text}"


def _kind(pool: PoolConfig) -> tuple[int, int, str, bool]:
    identity = pool.identity
    # What is in a jail may need the jail to run; any program shows what the ids allow.
    program = own_python() if pool.chroot else pool.python
    ids = (identity.uid, identity.gid) if identity else (-1, -1)
    return (*ids, program, identity is not None and pool.process_dumpable is False)


def _probe(kinds: list[str]) -> list[str | None]:
    try:
        done = run_once("fpm.tracer.probe", kinds, TIME_FOR_ONE * len(kinds))
    except (OSError, subprocess.TimeoutExpired) as error:
        return [f"the probe cannot be executed: {error}"] * len(kinds)
    found: list[str | None] = [json.loads(line) for line in done.stdout.splitlines()]
    words = done.stderr.strip().splitlines()
    return found + [f"the probe failed: {words[-1] if words else done.returncode}"] * (len(kinds) - len(found))
