"""`python -m fpm.client.check METHOD PATH STATUS SECONDS [UID GID]`: one request on the socket at descriptor 0.

The master runs it for `reload.check`. It exits with 0 if the response has this HTTP status, else with 1 and the reason
on standard output. It needs no rights at all, so where the master is root it becomes this user first, the pool's: what
it hears it hears from the pool.
"""

from __future__ import annotations

import os
import socket
import sys

from fpm.client.exchange import request_on
from fpm.client.records import TimeLimits
from fpm.client.request import request_params
from fpm.errors import ClientError
from fpm.system.drop_rights import drop_rights

BODY_MAX = 16 * 1024 * 1024


def main(arguments: list[str]) -> int:
    """Make the request; return the exit status."""
    method, path, wanted, seconds, *ids = arguments
    if ids:
        drop_rights(*map(int, ids))
    limit = float(seconds)
    connection = socket.socket(fileno=os.dup(0))
    try:
        with request_on(connection, request_params(method, path), limits=TimeLimits(limit, limit, limit)) as response:
            response.read(BODY_MAX)
            status = response.head.status
    except (ClientError, ValueError) as error:
        sys.stdout.write(f"reload.check {method} {path}: {error}\n")
        return 1
    if status != int(wanted):
        sys.stdout.write(f"reload.check {method} {path}: answered {status}, expected {wanted}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
