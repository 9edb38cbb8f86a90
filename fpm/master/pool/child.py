"""One worker as the master sees it: a process, a slot, a channel, two pipes, and where it stands in its life."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fpm.master.listening.inherited import InheritedFds, take_inherited
from fpm.master.loop.channel import PoolChannel
from fpm.master.loop.fair_reader import FairReader, Share
from fpm.master.loop.loop import Timer
from fpm.master.loop.output import OutputReader
from fpm.master.pool.death_report import LastWords
from fpm.master.pool.process_handle import ProcessHandle
from fpm.master.pool.template_process import TemplateProcess
from fpm.master.pool.worker_slot import WorkerSlot
from fpm.master.pool.worker_state import WorkerAction, WorkerEvent, WorkerState
from fpm.master.pool.worker_table import WORKER_TABLE
from fpm.master.processes.exits import Exit, Usage
from fpm.master.processes.memory_notes import MemoryNotes
from fpm.master.processes.self_dump_fd import SelfDumpFd
from fpm.master.services import Services
from fpm.scoreboard.memory import Scoreboard
from fpm.scoreboard.snapshot import Slot
from fpm.scoreboard.stages import Stage
from fpm.stacks.trace import Trace

LASTING = frozenset({WorkerEvent.SUPERSEDE, WorkerEvent.LIMIT, WorkerEvent.RETIRE})
"""Events whose reason to leave does not replace an earlier one."""


@dataclass(frozen=True, slots=True)
class WorkerEnd:
    """How a worker has ended."""

    state: WorkerState
    """Where it stood."""
    exit: Exit
    slot: Slot
    """Its slot as it was at the end."""
    asked: int
    """How many workers its pool had asked for by then."""


@dataclass(slots=True)
class WorkerNotes:
    """What is remembered of a worker to explain it; nothing is decided by it but what it says of itself."""

    started: float
    """Monotonic seconds."""
    idle_since: float
    last_words: LastWords = field(default_factory=LastWords)
    last_stack: Trace | None = None
    """The last that was taken of the current request, or before it was ended."""
    stack_request: int = 0
    """The request that it was taken of, as the worker counts, and that has an entry of the slow log; 0: none."""
    stack_name: tuple[str, str] = ("", "")
    """Method and URI of that request as they are in the entry."""
    ended_entry: int = 0
    """The last request whose end the worker has told, and that had an entry; 0: none."""
    logged_request: int = 0
    """The last of its requests that was logged as slow."""
    ended_request: int = 0
    """The request because of which it was sent SIGTERM; 0: none."""
    interrupted_request: int = 0
    """The last in which fpm.RequestTimeout was raised because of request_terminate_timeout; 0: none."""
    exit_calls: tuple[str, ...] = ()
    """Those that have led to os._exit(), the newest first, as it has told."""
    cgroup: str = ""
    """Its memory cgroup, for fpm.master.processes.oom."""
    memory: MemoryNotes = field(default_factory=MemoryNotes)
    memory_at_start: int = 0
    """Bytes, with what it shares, when it became ready or as it has told."""
    usage: Usage = field(default_factory=Usage)
    """Known when it has ended."""
    end: WorkerEnd | None = None
    fork_error: str = ""
    """Why its template could not fork it."""


class Child:
    """A worker of a pool, from the fork request to the end."""

    def __init__(
        self,
        services: Services,
        template: TemplateProcess,
        slot: WorkerSlot,
        state: WorkerState,
        channel: PoolChannel | None = None,
        own_stack: SelfDumpFd | None = None,
    ) -> None:
        self.services = services
        self.template = template
        self.slot = slot
        self.state = state
        self.retire_reason = ""
        """Why it leaves; empty while it shall stay."""
        self.process = ProcessHandle(services.loop, template.owner)
        self.channel = channel or PoolChannel()
        self.own_stack = own_stack or SelfDumpFd.create()
        self.outputs: list[OutputReader] = []
        self.notes = WorkerNotes(services.loop.now, services.loop.now)
        self._reader: FairReader | None = None
        self._timer: Timer | None = None

    @property
    def pid(self) -> int:
        """Its pid, if it is known for certain; else 0."""
        return self.process.pid

    @property
    def board(self) -> Scoreboard:
        """The scoreboard that it writes to."""
        return self.slot.board

    @property
    def stage(self) -> Stage:
        """What it does, by its own word."""
        return self.slot.stage

    def advance(self, event: WorkerEvent, reason: str = "") -> tuple[WorkerAction, ...]:
        """Let something happen to it: take the new state from the table.

        Args:
            reason: why it leaves, if it leaves because of this event.

        Returns:
            What is to be done about it.
        """
        step = WORKER_TABLE[self.state, event]
        changes = step.state is not self.state or bool(step.actions)
        self.state = step.state
        if reason and changes and step.state.is_leaving and not (self.retire_reason and event in LASTING):
            self.retire_reason = reason
        return step.actions

    # ---------------------------------------------------------------- what the master holds of it

    def watch_channel(self, share: Share, callback: Callable[[], object]) -> None:
        """Call back when a message has come, as the pool's share allows."""
        self._reader = FairReader(share, self.channel.fd, callback)

    @property
    def is_heard(self) -> bool:
        """May there be messages that have not been read?"""
        return self._reader is not None

    def forget_channel(self) -> None:
        """Nothing more will come from it."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def set_timer(self, seconds: float, callback: Callable[[], None]) -> None:
        """Call back at the next thing to happen to this worker; replaces the former timer."""
        self.clear_timer()
        self._timer = self.services.loop.call_later(seconds, callback)

    def clear_timer(self) -> None:
        """Forget what should have happened next."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def close(self) -> None:
        """Give everything back, after the process has ended or could not be made."""
        self.clear_timer()
        self.forget_channel()
        self.channel.close()
        self.own_stack.close()
        for output in self.outputs:
            output.finish()
        self.process.close()

    # ---------------------------------------------------------------- an upgrade of pyfpm

    def dump(self, kept: InheritedFds) -> dict[str, Any]:
        """Describe it for the next master."""
        notes = self.notes
        return {
            "state": self.state.name,
            "retire_reason": self.retire_reason,
            "template": self.template.pid,
            "slot": self.slot.number,
            "process": self.process.dump(kept),
            "channel": kept.keep(self.channel.fd),
            "own_stack": [kept.keep(self.own_stack.fd), self.own_stack.listens],
            "outputs": [kept.keep(output.fd) for output in self.outputs],
            "started": notes.started,
            "idle_since": notes.idle_since,
            "logged_request": notes.logged_request,
            "ended_request": notes.ended_request,
            "interrupted_request": notes.interrupted_request,
            "stack_request": [notes.stack_request, *notes.stack_name],
            "memory_at_start": notes.memory_at_start,
        }

    @classmethod
    def restore(
        cls, services: Services, template: TemplateProcess, board: Scoreboard, state: Mapping[str, Any]
    ) -> Child:
        """Make it anew from what `dump` has said; its outputs are the caller's business."""
        channel = PoolChannel(take_inherited(state["channel"]) if state["channel"] >= 0 else None)
        if state["channel"] < 0:
            channel.close_peer()  # closed, because its process could not be reached: it reads end of file again
        own_stack = SelfDumpFd.restore(*state["own_stack"])
        slot = WorkerSlot(board, state["slot"])
        child = cls(services, template, slot, WorkerState[state["state"]], channel, own_stack)
        child.retire_reason = state["retire_reason"]
        child.process.restore(state["process"])
        child.notes.started, child.notes.idle_since = state["started"], state["idle_since"]
        child.notes.logged_request, child.notes.ended_request = state["logged_request"], state["ended_request"]
        child.notes.interrupted_request = state.get("interrupted_request", 0)
        child.notes.stack_request, *name = state.get("stack_request", (0, "", ""))
        child.notes.stack_name = (name[0], name[1])
        child.notes.memory_at_start = state.get("memory_at_start", 0)
        return child
