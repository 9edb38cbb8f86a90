"""The status without what applications and their clients may want to keep: query strings, errors, stacks, output.

They hold names, tokens, passwords; who may connect to a TCP port of the machine is not who may read its logs. Pure.
"""

from __future__ import annotations

from dataclasses import replace

from fpm.status.overview import Death, Overview, Pool

HIDDEN = "see the error log"


def without_details(overview: Overview) -> Overview:
    """Return the same overview without them."""
    daemon = overview.daemon
    if daemon.last_reload is not None and daemon.last_reload.reason:
        daemon = replace(daemon, last_reload=replace(daemon.last_reload, reason=HIDDEN))
    return Overview(daemon, tuple(map(_reduced, overview.pools)))


def _reduced(pool: Pool) -> Pool:
    processes = tuple(replace(one, request_uri=_path(one.request_uri)) for one in pool.status.processes)
    return replace(
        pool,
        status=replace(pool.status, processes=processes),
        error=HIDDEN if pool.error else "",
        traceback="",
        workers=tuple(replace(one, request_uri=_path(one.request_uri)) for one in pool.workers),
        slow=tuple(replace(one, request=_path(one.request)) for one in pool.slow),
        deaths=tuple(map(_reduced_death, pool.deaths)),
    )


def _reduced_death(death: Death) -> Death:
    return replace(death, request=_path(death.request), stack=(), output=())


def _path(uri: str) -> str:
    """Return what stands before the query, of a URI or of a method and a URI."""
    return uri.partition("?")[0]
