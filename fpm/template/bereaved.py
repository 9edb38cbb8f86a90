"""What a template does when its master has been killed: whoever still holds the listening socket, a busy worker or a
process that an application has left behind, keeps the next master from its address otherwise.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from select import poll

from fpm.protocol.spec import FD_LISTEN, TemplateSpec

PARENT_TIME = 2.0
"""Seconds until a template whose channel has ended has another parent, if its master is dead."""


MASTER = os.getppid()
"""This is imported while the template starts, so its parent is the master."""


def release_address(spec: TemplateSpec) -> None:
    """Shut the listening socket down for everybody, if the master is dead and nobody else has a use for it."""
    # The channel of a process that is exiting is closed shortly before its children get another parent.
    deadline, pause = time.monotonic() + PARENT_TIME, poll()
    while os.getppid() == MASTER and time.monotonic() < deadline:
        pause.poll(10)
    if spec.listen_is_ours and os.getppid() != MASTER:
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(FD_LISTEN)) as listening:
            listening.shutdown(socket.SHUT_RDWR)  # OSError: another has done so
