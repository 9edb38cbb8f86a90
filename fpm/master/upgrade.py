"""`pyfpm upgrade`: the running master becomes the installed program, with the same pid and without losing a connection.

First the installed program, in a process of its own, reads the configuration and the description of what runs. Only if it
can do with both does the master execute it in its own place.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from signal import Signals

from fpm.master.handover import VARIABLE
from fpm.master.output import OutputReader
from fpm.master.services import Services
from fpm.master.share import Share

REHEARSAL_TIME = 30.0
"""Seconds that the installed program may take to say that it could go on."""
STATE_FD = 3


class Rehearsal:
    """The installed program, asked whether it could take over."""

    def __init__(
        self,
        services: Services,
        command: Sequence[str],
        state_fd: int,
        environ: Mapping[str, str],
        done: Callable[[str | None], None],
    ) -> None:
        """
        Args:
            command: how to execute it.
            state_fd: the description of what runs.
            done: gets None if it could, else why not.

        Raises:
            OSError: it cannot be executed.
        """
        self._services = services
        self._done = done
        self._lines: list[str] = []
        self._output = OutputReader(services.loop, Share(), lambda line, closed: self._lines.append(line), 4096)
        try:
            self._pid = self._spawn(command, state_fd, environ)
        except OSError:
            self._output.close()
            raise
        self._output.close_writer()
        services.reapers[self._pid] = self._ended
        self._timer = services.loop.call_later(REHEARSAL_TIME, self._kill)

    def _spawn(self, command: Sequence[str], state_fd: int, environ: Mapping[str, str]) -> int:
        base = max(state_fd, self._output.write_fd, STATE_FD) + 1
        # By way of numbers that nobody uses, as in fpm.master.template_process.
        placed = {STATE_FD: state_fd, 1: self._output.write_fd, 2: self._output.write_fd}
        actions = [(os.POSIX_SPAWN_DUP2, fd, base + target) for target, fd in placed.items()]
        actions += [(os.POSIX_SPAWN_DUP2, base + target, target) for target in placed]
        closes = [(os.POSIX_SPAWN_CLOSE, base + target) for target in placed]
        return os.posix_spawn(
            command[0],
            [*command, "--check"],
            {**environ, VARIABLE: str(STATE_FD)},
            file_actions=[(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0), *actions, *closes],
            setsid=True,
            setsigmask=[],
            setsigdef=sorted(signal.valid_signals() - {Signals.SIGKILL, Signals.SIGSTOP}),
        )

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, Signals.SIGKILL)

    def _ended(self, status: int) -> None:
        self._timer.cancel()
        self._output.finish()
        if status == 0:
            self._done(None)
        else:
            words = "\n".join(self._lines).strip()
            self._done(words or f"the installed program ended with status {status} and said nothing")


def installed_program(arguments: Sequence[str]) -> list[str]:
    """The command that executes the installed pyfpm as `pyfpm ARGUMENTS resume`."""
    # -P: not the fpm of the directory that the daemon happens to stand in.
    return [sys.executable, "-P", "-m", "fpm", *arguments, "resume"]
