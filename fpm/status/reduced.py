"""The status without what applications and their clients may want to keep: query strings, errors, stacks, output,
routes.

They hold names, tokens, passwords; who may connect to a TCP port of the machine is not who may read its logs. Pure.
"""

from __future__ import annotations

from dataclasses import replace

from fpm.status.exceptions import SeenException
from fpm.status.overview import Death, Overview, Pool
from fpm.status.past.recent import MarkKind

HIDDEN = "see the error log"
_TOLD_WITH_ERRORS = frozenset({MarkKind.RELOAD_FAILED, MarkKind.FAILED})


def without_details(overview: Overview) -> Overview:
    """Return the same overview without them."""
    daemon = overview.daemon
    if (last := daemon.last_reload) is not None:
        daemon = replace(daemon, last_reload=replace(last, reason=HIDDEN if last.reason else "", stack=()))
    return Overview(daemon, tuple(map(_reduced, overview.pools)))


def _reduced(pool: Pool) -> Pool:
    processes = tuple(replace(one, request_uri=_path(one.request_uri)) for one in pool.status.processes)
    return replace(
        pool,
        status=replace(pool.status, processes=processes),
        error=HIDDEN if pool.error else "",
        traceback="",
        workers=tuple(replace(one, request_uri=_path(one.request_uri)) for one in pool.workers),
        slow=tuple(replace(one, request=_path(one.request), stack=()) for one in pool.slow),
        deaths=tuple(map(_reduced_death, pool.deaths)),
        exceptions=tuple(map(_reduced_exception, pool.exceptions)),
        user="",
        python="",
        logs=(),
        routes=(),
        marks=tuple(replace(one, text=HIDDEN) if one.kind in _TOLD_WITH_ERRORS else one for one in pool.marks),
    )


def _reduced_death(death: Death) -> Death:
    return replace(death, request=_path(death.request), stack=(), output=())


def _reduced_exception(seen: SeenException) -> SeenException:
    return replace(seen, message="", request=_path(seen.request), place="", stack=())


def _path(uri: str) -> str:
    """Return what stands before the query, of a URI or of a method and a URI."""
    return uri.partition("?")[0]
