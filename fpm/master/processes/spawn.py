"""posix_spawn(3) with descriptors at given places: how the master makes every process. Nothing else is inherited."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from signal import Signals
from typing import Any


def spawn(arguments: Sequence[str], placed: Mapping[int, int], environ: Mapping[str, str]) -> int:
    """Execute a program in a session of its own, all signals at their defaults.

    Args:
        placed: descriptors of the new process, and which of ours stands there; 0 is /dev/null if it is not named.

    Returns:
        The pid.

    Raises:
        OSError: it cannot be executed, or there are no processes or descriptors left.
    """
    # Each goes by way of a number that nobody uses, so that none overwrites another that is still to be placed.
    base = max([*placed.values(), *placed]) + 1
    actions: list[tuple[Any, ...]] = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)]
    actions += [(os.POSIX_SPAWN_DUP2, fd, base + target) for target, fd in placed.items()]
    actions += [(os.POSIX_SPAWN_DUP2, base + target, target) for target in placed]
    actions += [(os.POSIX_SPAWN_CLOSE, base + target) for target in placed]
    if 0 in placed:
        del actions[0]
    return os.posix_spawn(
        arguments[0],
        list(arguments),
        dict(environ),
        file_actions=actions,
        setsid=True,  # Ctrl-C on the master's terminal is the master's
        setsigmask=[],
        setsigdef=sorted(signal.valid_signals() - {Signals.SIGKILL, Signals.SIGSTOP}),
    )
