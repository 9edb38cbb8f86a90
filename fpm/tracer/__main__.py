"""`python -m fpm.tracer`: what the master executes when the first stack is wanted."""

from __future__ import annotations

import gc
import os
import socket

from fpm.system.proctitle import set_title
from fpm.tracer import FD_CHANNEL
from fpm.tracer.absent import is_absent, serve


def main() -> int:
    """Serve until the master is gone; returns the exit status."""
    set_title("pyfpm: tracer")
    os.set_inheritable(FD_CHANNEL, False)
    gc.collect()
    with socket.socket(fileno=FD_CHANNEL) as channel:
        try:
            from fpm.tracer.server import Server  # late: it needs python-ptrace
        except ModuleNotFoundError as error:
            if not is_absent(error):
                raise
            serve(channel)
        else:
            Server(channel).run()
    return 0


if __name__ == "__main__":
    # Not by way of what Python does at an end: children that look at this moment are none of its business.
    os._exit(main())
