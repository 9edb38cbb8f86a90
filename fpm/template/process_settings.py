"""What fpm needs of its process although an application has been imported into it, which may set anything.

A setting of the process is put right once, after the import. Functions of the system that an application replaces do
not reach fpm at all, see fpm.launcher.boot.
"""

from __future__ import annotations

import fcntl
import os
import resource
import signal

from fpm.frozen import dataclass
from fpm.protocol.spec import FD_FIRST_FREE
from fpm.worker.socket_io import ignore_sigpipe

STANDARD = (0, 1, 2)


class StandardDescriptors:
    """Descriptors 0, 1 and 2 as they were before the import: what gets one of these numbers later is written to."""

    def __init__(self) -> None:
        self._saved = {fd: fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, FD_FIRST_FREE) for fd in STANDARD if _is_open(fd)}

    def restore(self) -> None:
        """Open again what the application has closed; what it has put in their place stays."""
        for fd, saved in self._saved.items():
            if not _is_open(fd) and _is_open(saved):
                os.dup2(saved, fd)
            if _is_open(saved):
                os.close(saved)
        for fd in STANDARD:
            if not _is_open(fd):
                # The lowest free number. There may be no /dev/null in a jail.
                os.set_inheritable(os.memfd_create("pyfpm-closed"), True)


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def settle_process(descriptors: StandardDescriptors, umask: int | None) -> None:
    """Put right what fpm and the administrator need in this process, after the application's import.

    Args:
        umask: the pool's; None: it has none, and the application's own may stay.
    """
    descriptors.restore()
    ignore_sigpipe()
    if umask is not None:
        os.umask(umask)


@dataclass(frozen=True, slots=True)
class Inherited:
    """What execve(2) leaves as it is, and so a template that executes itself must put back."""

    directory: str
    umask: int
    limits: dict[int, int]
    """RLIMIT_*, the soft ones."""
    ignored: frozenset[int]
    """Signals."""

    @classmethod
    def look(cls) -> Inherited:
        """Note it, before the application's code changes it."""
        umask = os.umask(0o022)
        os.umask(umask)
        numbers = {getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")}
        limits = {number: resource.getrlimit(number)[0] for number in numbers}
        return cls(os.getcwd(), umask, limits, _ignored())

    def restore(self) -> None:
        """Put it back, as far as that is allowed: a hard limit cannot be raised again."""
        os.chdir(self.directory)
        os.umask(self.umask)
        for number, soft in self.limits.items():
            hard = resource.getrlimit(number)[1]
            if hard != resource.RLIM_INFINITY and not 0 <= soft <= hard:
                soft = hard
            resource.setrlimit(number, (soft, hard))
        for number in _ignored() - self.ignored:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _ignored() -> frozenset[int]:
    return frozenset(number for number in signal.valid_signals() if signal.getsignal(number) == signal.SIG_IGN)
