"""`pyfpm test --import`: each application is really imported, as its user and in its jail, beside the daemon."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from fpm.cli.options import Options, unknown_pool
from fpm.cli.output import complain, quote, say
from fpm.client.control import ask
from fpm.config.model import Config, PoolConfig
from fpm.doctor.request import Request, Source
from fpm.doctor.shell import Shell
from fpm.doctor.trial import import_application
from fpm.doctor.trial_config import cannot_be_tried
from fpm.errors import EXIT_FAILED, EXIT_OK, FpmError

IMPORT_TIME = 600.0
"""Seconds, where startup_timeout sets no limit."""


def chosen_pools(config: Config, names: Sequence[str]) -> list[PoolConfig]:
    """Return the pools with these names, or all of them.

    Raises:
        click.ClickException: there is no such pool.
    """
    known = {pool.name: pool for pool in config.pools}
    for name in names:
        if name not in known:
            raise unknown_pool(name, known)
    return [known[name] for name in names or known]


def import_all(options: Options, pools: Sequence[PoolConfig]) -> dict[str, dict[str, Any]]:
    """Import the application of each pool, one after another; return what became of them by name, for JSON."""
    source = Source(os.path.abspath(options.file), options.prefix, options.allow_root)
    request = Request(source, (), None, Shell("pyfpm"))
    is_running = _is_running(options)
    found: dict[str, dict[str, Any]] = {}
    for pool in pools:
        reason = cannot_be_tried(pool) if is_running else ""
        if reason:
            found[pool.name] = {"ok": True, "error": f"not tried while the daemon runs: {reason}", "traceback": ""}
            continue
        failure = import_application(request, pool.name, pool.startup_timeout or IMPORT_TIME)
        error, traceback = (failure.error, failure.traceback) if failure is not None else ("", "")
        found[pool.name] = {"ok": failure is None, "error": error, "traceback": traceback}
    return found


def _is_running(options: Options) -> bool:
    try:
        ask(options.control_path(), {"command": "status"})
    except FpmError:
        return False
    return True


def report_imports(found: dict[str, dict[str, Any]]) -> int:
    """Print what became of each pool; return the exit status."""
    for name, one in found.items():
        if one["ok"]:
            say(f"pool {name}: {one['error'] or 'imported'}")
        else:
            complain(f"pyfpm: pool {name}: the application does not start: {one['error']}")
            quote(one["traceback"])
    return status_of(found)


def status_of(found: dict[str, dict[str, Any]]) -> int:
    """Return the exit status."""
    return EXIT_OK if all(one["ok"] for one in found.values()) else EXIT_FAILED
