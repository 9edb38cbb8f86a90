"""Writes the access log: one line, one write(2), on a descriptor that the master has opened to append."""

from __future__ import annotations

import os
import time

from fpm.log.access import AccessRecord, compile_format, suppressed
from fpm.protocol.spec import WorkerSettings


class AccessLog:
    """The access log of a worker.

    Raises:
        ValueError: the format is wrong; the master has checked it before.
    """

    def __init__(self, settings: WorkerSettings, fd: int) -> None:
        self._format = compile_format(settings.access_format, settings.log_limit)
        self._paths = frozenset(settings.access_suppress_path)
        self.fd = fd
        self.uses_memory = self._format.uses_memory

    def replace_descriptor(self, fd: int) -> None:
        """The log was reopened: the new file takes the place of the old one."""
        os.dup2(fd, self.fd, inheritable=False)
        os.close(fd)

    def write(self, record: AccessRecord) -> None:
        """Writes a record unless its path is suppressed. A full disk costs the line, not the request."""
        record.written = time.time()
        if suppressed(record, self._paths):
            return
        line = self._format.render(record) + "\n"
        try:
            os.write(self.fd, line.encode("utf-8", "backslashreplace"))
        except OSError:
            return
