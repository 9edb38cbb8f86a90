"""Who leaves when others come: workers of a former generation, at their limit, or more than the pool may have."""

from __future__ import annotations

from fpm.master.pool.child import Child
from fpm.master.pool.template_process import TemplateProcess
from fpm.master.pool.worker_state import WorkerEvent, WorkerState
from fpm.master.pool.workers import Workers


def supersede_former(workers: Workers, present: TemplateProcess | None) -> int:
    """Mark the workers of all templates but the present one; returns how many there are."""
    former = [
        child
        for child in workers.children
        if child.template is not present and (child.state.is_counted or child.state is WorkerState.SUPERSEDED)
    ]
    for child in former:
        workers.happen(child, WorkerEvent.SUPERSEDE, reason="reload")
    return len(former)


def release_replaced(workers: Workers, *, all_ready: bool) -> None:
    """Let one worker of a former generation, and one at its limit, leave: a new one is ready.

    Args:
        all_ready: it was the last of its generation: all former ones leave.
    """
    superseded = _in_state(workers, WorkerState.SUPERSEDED)
    for child in superseded if all_ready else superseded[:1]:
        workers.retire(child, "reload")
    for child in _in_state(workers, WorkerState.AT_LIMIT)[:1]:
        workers.retire(child, child.retire_reason)


def retire_surplus(workers: Workers, surplus: int) -> None:
    """Let so many leave, the longest idle first."""
    if surplus > 0:
        idle = [child for _, child in workers.idle_children()]
        busy = [child for child in workers.children if child.state.is_counted and child not in idle]
        for child in [*idle, *busy][:surplus]:
            workers.retire(child, "idle")


def _in_state(workers: Workers, state: WorkerState) -> list[Child]:
    return [child for child in workers.children if child.state is state]
