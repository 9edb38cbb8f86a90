"""Events on standard error, for programs that embed a manager and have no log of their own."""

from __future__ import annotations

import contextlib
import os

from fpm.events.base import Event
from fpm.events.master import MasterOutput
from fpm.events.worker import ProcessOutput
from fpm.log.lines import escape_text, pool_prefix


def show_event(event: Event) -> None:
    """Write problems, and what processes print, to standard error."""
    if event.is_problem:
        for line in event.text.split("\n"):
            write_line(f"{event.level}: {pool_prefix(event.pool)}{line}")
    elif isinstance(event, MasterOutput | ProcessOutput):
        write_line(event.text)


def write_line(line: str) -> None:
    """Write a line to standard error, escaped, past the buffers of the program."""
    data = escape_text(line).encode("utf-8", "backslashreplace") + b"\n"
    with contextlib.suppress(OSError):  # nobody reads it any more, and there is no other log
        while data:
            data = data[os.write(2, data) :]
