"""Asks the master for a snapshot of its pools."""

from __future__ import annotations

import base64

from fpm.client.control import ask
from fpm.errors import ControlError
from fpm.status.snapshot import Snapshot, read_snapshot


def fetch_snapshot(path: str, pool: str | None = None, *, workers: bool) -> Snapshot:
    """Fetch the pools' current numbers.

    Args:
        path: the control socket.
        pool: only this one.
        workers: include each worker.

    Raises:
        ControlError: nobody answers, there is no such pool, or the master is of another version.
    """
    answer = ask(path, {"command": "snapshot", "pool": pool, "workers": workers})
    try:
        return read_snapshot(base64.b64decode(answer["snapshot"]))
    except (ValueError, KeyError, TypeError) as error:
        raise ControlError(
            f"the master's answer cannot be read; it may be a different version (pyfpm upgrade): {error!r}"
        ) from error
