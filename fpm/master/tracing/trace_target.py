"""Whose stack is wanted, and what of it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fpm.master.processes.self_dump_fd import OwnStack
from fpm.system.proc_stat import STARTED, read_stat

if TYPE_CHECKING:
    from fpm.master.pool.child import Child
    from fpm.master.pool.template_process import TemplateProcess


@dataclass(frozen=True, slots=True)
class Subject:
    """A worker, or (without a child) a template."""

    pool: str
    pid: int
    template: TemplateProcess
    child: Child | None

    @property
    def own_stack(self) -> OwnStack:
        """Where it writes its own account."""
        return self.template.own_stack if self.child is None else self.child.own_stack

    @property
    def is_ready(self) -> bool:
        """Has it said that it has started?"""
        return self.child.state.has_started if self.child is not None else self.template.state.has_started

    def is_gone(self) -> bool:
        """Has the process ended?"""
        if self.child is not None:
            return self.child.process.is_gone()
        return self.template.state.is_gone or not self.template.pid

    def started(self) -> int:
        """Start time in clock ticks since boot (/proc/PID/stat, proc(5)), which tells a pid used again; 0: gone."""
        try:
            return int(read_stat(f"/proc/{self.pid}/stat")[STARTED])
        except (OSError, ValueError, IndexError):
            return 0

    @property
    def ids(self) -> tuple[int, int]:
        """The uid and gid that it was started with."""
        spec = self.template.spec
        return (os.geteuid() if spec.uid is None else spec.uid, os.getegid() if spec.gid is None else spec.gid)


@dataclass(frozen=True, slots=True)
class Wish:
    """How much of a stack is wanted."""

    depth: int
    """Frames of each thread; 0: all."""
    native: bool = False
    """The frames of C, too."""
    values: str = ""
    """"types" or "values" of local variables; "": none."""
