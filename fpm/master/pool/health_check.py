"""`reload.check`: one internal request to a worker on trial, made by a process of its own.

The client may wait and may meet any answer; the master may not wait, so it executes fpm.client.check with one end of a
socket pair and gives the other end to the worker.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

from fpm.config.model import ReloadCheck
from fpm.master.pool.child import Child
from fpm.master.processes.helper_process import OneAnswer
from fpm.master.services import Services
from fpm.protocol.messages import Check
from fpm.system.spawn import spawn_helper

GRACE = 5.0
"""Seconds beyond the check's own time that the client may need to start."""


def start_check(services: Services, check: ReloadCheck, child: Child, done: Callable[[str | None], None]) -> OneAnswer:
    """Begin a check.

    Args:
        done: gets None if the worker has answered rightly, else what was wrong.

    Raises:
        OSError: the client cannot be executed.
    """
    arguments = [check.method, check.path, str(check.status), f"{check.timeout:g}"]
    if os.geteuid() == 0:
        arguments += [str(number) for number in child.template.owner.ids]
    ours, theirs = socket.socketpair()
    with ours, theirs:
        child.channel.send(Check(), [theirs.fileno()])
        return OneAnswer(
            services,
            "the check",
            lambda out: spawn_helper("fpm.client.check", arguments, {0: ours.fileno(), 1: out, 2: out}),
            check.timeout + GRACE,
            lambda wrong: done(wrong if wrong is None else " ".join(wrong.splitlines())),
        )
