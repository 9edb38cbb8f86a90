"""fork(2) of a process in which an application lives, and what its libraries must do in the child."""

from __future__ import annotations

import os
import sys
import warnings

from fpm.worker.process_end import leave_handlers_to_parent


def fork_quietly() -> int:
    """fork(2), also where the application has made warnings errors: Python 3.12 warns of forks beside threads."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return os.fork()


def settle_child() -> None:
    """Be a process of its own, in the child, before anything else of the application runs there."""
    leave_handlers_to_parent()
    if gevent := sys.modules.get("gevent"):
        gevent.reinit()  # what its os.fork() does; ours is the system's
