"""Executes the doctor's helpers, each with a deadline; they have the environment that the configuration speaks of."""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from fpm.master.notifier import MANAGER_VARIABLES
from fpm.system.own_command import own_command

LINE_MAX = 4 << 20
"""Bytes of one answer: a traceback may be long."""


@dataclass(slots=True)
class Helper:
    """A helper that is running."""

    process: subprocess.Popen[bytes]
    _rest: bytes = b""

    def read(self, seconds: float) -> dict[str, Any] | None:
        """Read its next line; None if it has ended, or nothing comes in this time, or what comes is no answer."""
        out = self.process.stdout
        assert out is not None
        end = time.monotonic() + seconds
        while b"\n" not in self._rest:
            left = end - time.monotonic()
            if left <= 0 or not select.select([out], [], [], left)[0]:
                return None
            data = os.read(out.fileno(), 65536)
            if not data or len(self._rest) > LINE_MAX:
                return None
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        try:
            found = json.loads(line)
        except ValueError:
            return None
        return found if isinstance(found, dict) else None


@contextmanager
def helper(module: str, *arguments: str, patience: float = 0.0) -> Iterator[Helper]:
    """Execute a helper; at the end its standard input is closed, and it is killed if it does not end then.

    Args:
        patience: seconds that it has for its end; those that only look have none, whoever is still there hangs.

    Raises:
        OSError: it cannot be executed.
    """
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        own_command(module, *arguments), stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield Helper(process)
    finally:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
            with suppress(subprocess.TimeoutExpired):  # it hangs in the kernel: nobody can wait for that
                process.wait(1.0)
        process.stdout.close()


def read_all(module: str, arguments: Sequence[str], seconds: float) -> list[dict[str, Any]]:
    """Execute a helper, and read its lines until it ends or the time is over."""
    found = []
    end = time.monotonic() + seconds
    with helper(module, *arguments, patience=1.0) as running:
        while (answer := running.read(end - time.monotonic())) is not None:
            found.append(answer)
    return found


def ends_in_time(module: str, arguments: Sequence[str], seconds: float) -> bool:
    """Execute a helper, and tell whether it ends in this time, however it does."""
    with helper(module, *arguments) as running:
        with suppress(subprocess.TimeoutExpired):
            running.process.wait(seconds)
        return running.process.returncode is not None


def run_program(arguments: Sequence[str], seconds: float) -> subprocess.CompletedProcess[str] | None:
    """Execute another program and wait for its end; None if it is not there, or takes longer."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    # systemctl tells a service manager how it has ended, in the name of the service.
    environ = {name: value for name, value in os.environ.items() if name not in MANAGER_VARIABLES}
    try:
        return subprocess.run(
            arguments,
            env={**environ, "PATH": path, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=seconds,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
