"""Starts processes: posix_spawn(3) with descriptors at given numbers, for any program and for helpers.

A helper runs a module of this installation, see fpm.system.own_command. No other descriptors are inherited.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from signal import Signals
from typing import Any

from fpm.system.own_command import helper_command, helper_environ


def spawn(arguments: Sequence[str], placed: Mapping[int, int], environ: Mapping[str, str]) -> int:
    """Execute a program in a new session, all signals at their defaults.

    Args:
        placed: maps the new process's descriptors to ours; 0 is /dev/null if it is missing.

    Returns:
        The pid.

    Raises:
        OSError: it cannot be executed, or there are no processes or descriptors left.
    """
    # Each takes an unused number first, so that none overwrites a descriptor that is placed later: a caller whose
    # standard streams are closed has others at their numbers.
    base = max([*placed.values(), *placed]) + 1
    actions: list[tuple[Any, ...]] = [(os.POSIX_SPAWN_DUP2, fd, base + target) for target, fd in placed.items()]
    if 0 not in placed:
        actions.append((os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0))
    actions += [(os.POSIX_SPAWN_DUP2, base + target, target) for target in placed]
    actions += [(os.POSIX_SPAWN_CLOSE, base + target) for target in placed]
    return os.posix_spawn(
        arguments[0],
        list(arguments),
        dict(environ),
        file_actions=actions,
        setsid=True,  # Ctrl-C on the terminal must reach the master only
        setsigmask=[],
        setsigdef=sorted(signal.valid_signals() - {Signals.SIGKILL, Signals.SIGSTOP}),
    )


def spawn_helper(module: str, arguments: Sequence[str], placed: Mapping[int, int]) -> int:
    """Execute a helper without waiting for it; see spawn()."""
    return spawn(helper_command(module, *arguments), placed, helper_environ())


def run_once(module: str, arguments: Sequence[str], timeout: float) -> subprocess.CompletedProcess[str]:
    """Execute a helper and wait for its answer.

    Raises:
        OSError: it cannot be executed.
        subprocess.TimeoutExpired: it took longer than `timeout` seconds and was killed.
    """
    return subprocess.run(
        helper_command(module, *arguments),
        env=helper_environ(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=timeout,
        check=False,
    )
