"""Routes that differ: some fail, one keeps memory, one takes CPU time."""

from __future__ import annotations

import os
import time
from typing import Any

BLOCK = 4 << 20
BURNT = 0.02
"""Seconds of CPU time."""
NOTICED = 0.003
"""Seconds after which a request gets an entry of its route for certain: fpm.scoreboard.route_table.PLACE_AFTER."""
kept: list[bytearray] = []


def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Do what the first part of the path says."""
    what = environ["PATH_INFO"].split("/")[1]
    if what in ("leak", "fail", "raise"):
        time.sleep(NOTICED)
    if what == "leak":
        kept.append(bytearray(b"x") * BLOCK)
    elif what == "burn":
        until = time.process_time() + BURNT
        while time.process_time() < until:
            pass
    elif what == "raise":
        raise RuntimeError("as it should")
    elif what == "grab":  # a hostile worker: any bytes at all in the scoreboard that it shares
        size = os.fstat(6).st_size
        for _ in range(int(environ["QUERY_STRING"])):
            os.pwrite(6, os.urandom(size), 0)
    start_response("503 Service Unavailable" if what == "fail" else "200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
