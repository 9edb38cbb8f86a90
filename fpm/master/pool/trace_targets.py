"""A pool's processes as tracing sees them, see fpm.master.tracing.trace_target."""

from __future__ import annotations

import errno
import os

from fpm.master.pool.child import Child
from fpm.master.pool.template_process import TemplateProcess
from fpm.master.processes.self_dump_fd import SelfDumpFd
from fpm.master.tracing.trace_target import LayoutDone
from fpm.stacks.credentials import STRANGER
from fpm.system.thread_signal import signal_first_thread


class TemplateTarget:
    """A template as a TraceTarget."""

    def __init__(self, template: TemplateProcess, pid: int) -> None:
        self.template = template
        self.pid = pid

    @property
    def pool(self) -> str:
        """The name of its pool."""
        return self.template.spec.pool

    @property
    def ids(self) -> tuple[int, int]:
        """The uid and gid that it was started with."""
        return self.template.owner.ids

    @property
    def is_responder(self) -> bool:
        """Whether it is a 503 responder, which runs no application."""
        return self.template.spec.mode != "template"

    @property
    def own_stack(self) -> SelfDumpFd:
        """Where it writes its stack itself."""
        return self.template.own_stack

    @property
    def is_ready(self) -> bool:
        """Whether it has said that it has started, and has not ended."""
        return self.template.state.has_started

    def is_gone(self) -> bool:
        """Whether it has ended."""
        return self.template.state.is_gone or not self.template.pid

    def is_stranger(self) -> bool:
        """Whether it has become another user's."""
        return self.template.owner.is_stranger(self.pid)

    def send_signal(self, number: int) -> None:
        """Send a signal to its first thread."""
        refuse(self)
        pidfd = os.pidfd_open(self.pid)  # the master's own child, which it has not waited for
        try:
            signal_first_thread(self.pid, pidfd, number)
        finally:
            os.close(pidfd)

    def request_layout(self, done: LayoutDone) -> None:
        """Ask it for the layout of its interpreter."""
        self.template.want_layout(done)


def refuse(target: TemplateTarget) -> None:
    """Send no signal to a process that has become another user's.

    Raises:
        OSError: it has.
    """
    if target.is_stranger():
        raise OSError(errno.EPERM, STRANGER)


class WorkerTarget(TemplateTarget):
    """A worker as a TraceTarget: its pool, ids and layout are its template's."""

    def __init__(self, child: Child, pid: int) -> None:
        super().__init__(child.template, pid)
        self.child = child

    @property
    def own_stack(self) -> SelfDumpFd:
        """Where it writes its stack itself."""
        return self.child.own_stack

    @property
    def is_ready(self) -> bool:
        """Whether it has said that it has started."""
        return self.child.state.has_started

    def is_gone(self) -> bool:
        """Whether it has ended."""
        return self.child.process.is_gone()

    def send_signal(self, number: int) -> None:
        """Send a signal to its first thread."""
        refuse(self)
        signal_first_thread(self.pid, self.child.process.pidfd, number)
