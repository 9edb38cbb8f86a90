"""Whose stack is wanted, and what of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from fpm.master.processes.self_dump_fd import OwnStack
from fpm.protocol.spec import TemplateSpec
from fpm.stacks.layout import Layout
from fpm.system.proc_stat import STARTED, read_stat


class TracedState(Protocol):
    """Where a process stands, as far as its stack is concerned."""

    @property
    def has_started(self) -> bool:
        """Does it catch the signals that ask for its stack, if it ever does?"""


class TracedTemplateState(TracedState, Protocol):
    """Where a template stands."""

    @property
    def is_gone(self) -> bool:
        """Has it ended?"""


class TracedTemplate(Protocol):
    """A template whose stack, or whose workers' stacks, may be wanted."""

    @property
    def pid(self) -> int:
        """0 before it was executed."""

    @property
    def spec(self) -> TemplateSpec:
        """What it was started with."""

    @property
    def own_stack(self) -> OwnStack:
        """Where it writes its own account."""

    @property
    def state(self) -> TracedTemplateState:
        """Where it stands."""

    def want_layout(self, done: Callable[[Layout | str], None]) -> None:
        """Ask how its interpreter lays out memory."""


class TracedHandle(Protocol):
    """A worker's process."""

    @property
    def pidfd(self) -> int:
        """It holds the process, so that signals reach no other."""

    def is_gone(self) -> bool:
        """Has it ended?"""


class TracedWorker(Protocol):
    """A worker whose stack may be wanted."""

    @property
    def own_stack(self) -> OwnStack:
        """Where it writes its own account."""

    @property
    def process(self) -> TracedHandle:
        """Its process."""

    @property
    def state(self) -> TracedState:
        """Where it stands."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A worker, or (without a child) a template."""

    pool: str
    pid: int
    template: TracedTemplate
    child: TracedWorker | None

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
