"""What the keeper of a pool's templates holds, and whom it tells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fpm.config.model import PoolConfig
from fpm.master.pool.shared_resources import Shared
from fpm.master.pool.template_process import TemplateProcess
from fpm.master.processes.exits import Exit, Usage
from fpm.protocol.messages import Forked, ForkFailed, WorkerExited
from fpm.status.overview import Death


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a pool has no application."""

    error: str
    traceback: str
    since: float
    """Epoch seconds."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A new generation on its way."""

    template: TemplateProcess
    config: PoolConfig
    pinned: PoolConfig
    shared: Shared
    """Not the present generation's if that scoreboard is too small."""


@dataclass(frozen=True, slots=True)
class TemplatesEvents:
    """Whom the templates' keeper tells."""

    on_ready: Callable[[], None]
    """The present template can fork."""
    on_trial_ready: Callable[[], None]
    on_trial_failed: Callable[[str, str], None]
    """Error and traceback."""
    on_new_generation: Callable[[PoolConfig], None]
    """A trial has been accepted and is the present template now."""
    on_failed: Callable[[], None]
    on_forked: Callable[[TemplateProcess, Forked], None]
    on_fork_failed: Callable[[TemplateProcess, ForkFailed], None]
    on_worker_exit: Callable[[TemplateProcess, WorkerExited], None]
    on_gone: Callable[[TemplateProcess], None]
    on_shared: Callable[[Shared], None]
    """The pool has got a (new) scoreboard."""
    has_workers: Callable[[], bool]
    examine: Callable[[TemplateProcess, Exit, Usage], Death]
    """One has ended: make its certificate."""
    on_death: Callable[[Death, str, bool], None]
    """It has ended unasked: what happens next, and whether the log has been told."""
    log: Callable[[str, str], None]
