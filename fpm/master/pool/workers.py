"""The workers of one pool: made, told to leave, pressed to leave, and buried. It carries out; the pool decides."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace

from fpm.config.model import PoolConfig
from fpm.log.lines import format_worker_line
from fpm.master.loop.channel import Received, limit_lines
from fpm.master.loop.output import OutputReader
from fpm.master.loop.read_budget import Share
from fpm.master.pool.child import Child
from fpm.master.pool.process_manager import Census
from fpm.master.pool.stack_capture import StackTaking
from fpm.master.pool.template_process import TemplateProcess
from fpm.master.pool.termination import EXIT_REPORT_TIME, Dismissal, DismissalEvents
from fpm.master.processes.exits import Exit
from fpm.master.services import Services
from fpm.protocol.messages import (
    ApplySettings,
    Event,
    Failed,
    LargeAtStart,
    LimitReached,
    LogText,
    RecheckSockets,
    Reopen,
    Serve,
    Serving,
    SlowRequest,
    WorkerReady,
)
from fpm.protocol.spec import WorkerSettings
from fpm.protocol.wire import MessageError
from fpm.scoreboard.memory import Scoreboard, clear_slot, mark_creating, retire_slot
from fpm.scoreboard.numbers import PoolNumbers
from fpm.scoreboard.snapshot import Slot
from fpm.scoreboard.stages import Stage

LAST_TURNS = 8
"""Turns of reading the channel of a worker that has ended."""
NEVER_FORKED = "never forked"
TEXT_MAX = 65536
PID_ROOM = 9_999_999
"""The longest pid (proc(5)), for the room of a line while the pid is not known yet."""


@dataclass(frozen=True, slots=True)
class WorkerEvents:
    """Whom the workers' keeper tells."""

    on_ready: Callable[[Child], None]
    on_serving: Callable[[Child], None]
    """A worker that was held takes requests now."""
    on_failed: Callable[[Child, str, str], None]
    on_limit: Callable[[Child, int], None]
    """It has stopped accepting: at pm.max_memory if there are bytes, else at pm.max_requests."""
    on_large: Callable[[Child, int], None]
    """It has exceeded pm.max_memory (by bytes) from its start on."""
    on_gone: Callable[[Child, Exit, Slot], None]
    """The worker, how it ended and its slot as it was."""
    on_slow: Callable[[Child, str, float], None]
    """A request (method and URI) has taken longer than it should, this many seconds."""
    on_timed_out: Callable[[Child], None]
    """The worker is being ended because of its request, and is missed."""


class Workers:
    """All workers of a pool, of every generation."""

    def __init__(
        self,
        services: Services,
        config: PoolConfig,
        values: PoolNumbers,
        share: Share,
        stacks: StackTaking,
        events: WorkerEvents,
    ) -> None:
        self.services = services
        self.config = config
        self.values = values
        self.share = share
        self.events = events
        self.children: list[Child] = []
        self.access_log: int | None = None
        self.asked = 0
        """Workers that templates have been asked for since the beginning."""
        self.dismissal = Dismissal(
            services,
            stacks,
            DismissalEvents(
                bury=self.bury,
                on_failed=events.on_failed,
                on_timed_out=events.on_timed_out,
                log=lambda level, text: services.log.log(level, f"[pool {self.config.name}] {text}"),
            ),
        )

    def census(self) -> Census:
        """Count those that the process manager counts."""
        idle = active = starting = 0
        for child in self.children:
            if not child.counts:
                continue
            if not child.ready:
                starting += 1
            elif child.stage is Stage.ACCEPTING:
                idle += 1
            else:
                active += 1
        return Census(idle, active, starting)

    def idle_children(self) -> list[tuple[float, Child]]:
        """Seconds idle and worker, the longest idle first."""
        now = self.services.loop.now
        found = []
        for child in self.children:
            if child.counts and child.ready and child.stage is Stage.ACCEPTING:
                found.append((now - self._idle_since(child), child))
        return sorted(found, key=lambda pair: -pair[0])

    def spawn_held(self, template: TemplateProcess, board: Scoreboard) -> Child | None:
        """Ask a template on trial for one worker that accepts nothing before `serve`; None if it could not be asked."""
        return self.children[-1] if self._spawn_one(template, board, hold=True) else None

    def serve(self, child: Child) -> None:
        """The generation of a held worker is proved: it takes requests now."""
        child.beginning, child.held = child.held, False
        child.idle_since = self.services.loop.now
        child.channel.send(Serve())

    def spawn(self, template: TemplateProcess, board: Scoreboard, count: int) -> int:
        """Ask the template for workers; returns how many requests were sent."""
        allowed = self.services.budget.room(count)
        if allowed < count and not self.services.budget.warned:
            self.services.budget.warned = True
            self.services.log.warning(
                "The maximum number of processes has been reached. "
                "Please review your configuration and consider raising 'process.max'"
            )
        made = 0
        while made < allowed and self._spawn_one(template, board):
            made += 1
        return made

    def retire(self, child: Child, reason: str, timeout: float) -> None:
        """Let it finish its request and leave; TERM after `timeout` seconds, KILL a second later."""
        self.dismissal.retire(child, reason, timeout)

    def terminate(self, child: Child, reason: str, timeout: float) -> None:
        """SIGTERM now, KILL after `timeout` seconds."""
        self.dismissal.terminate(child, reason, timeout)

    def apply(self, settings: WorkerSettings, *, log_changed: bool, template: TemplateProcess | None = None) -> None:
        """Let the running workers, of all templates or of one, serve by new settings."""
        fds = [self.access_log] if log_changed and self.access_log is not None else []
        for child in self.children:
            if template is not None and child.template is not template:
                continue
            # The scoreboard that it has mapped stays the one it was forked with.
            child.channel.send(ApplySettings(replace(settings, slots=child.board.slots)), fds)

    def reopen_logs(self) -> None:
        """Give every worker the present access log."""
        fds = [] if self.access_log is None else [self.access_log]
        for child in self.children:
            child.channel.send(Reopen(), fds)

    def look_again(self) -> None:
        """Have those who wait look at the sockets anew."""
        for child in self.children:
            if child.ready and child.leaving is None:
                child.channel.send(RecheckSockets())

    def learn_pid(self, template: TemplateProcess, slot: int, pid: int) -> None:
        """The template says which process it has forked for a slot."""
        for child in self.children:
            if child.template is template and child.slot == slot and not child.claimed_pid:
                child.claimed_pid = pid
                if not child.pid:
                    child.learn_pid(pid)

    def find(self, pid: int) -> Child | None:
        """The worker that its template knows by this pid; believe nothing of it that concerns others."""
        return next((child for child in self.children if pid and pid in (child.pid, child.claimed_pid)), None)

    def find_known(self, pid: int) -> Child | None:
        """The worker that certainly has this pid."""
        return next((child for child in self.children if pid and pid == child.pid), None)

    def bury(self, child: Child, exit_: Exit) -> None:
        """The process has ended: keep what it has counted, free the slot, tell the pool."""
        if child not in self.children:
            return
        self._read_last_words(child)
        self.children.remove(child)
        self.services.budget.used -= 1
        self.services.budget.warned = False
        child.close()
        slot = retire_slot(child.board.view, child.board.slots, child.slot, self.values, self.services.clock())
        self.events.on_gone(child, exit_, slot)

    def template_gone(self, template: TemplateProcess) -> int:
        """What it has not forked yet will never be; returns how many that were."""
        lost = [c for c in self.children if c.template is template and not c.claimed_pid and not c.pid]
        for child in lost:
            child.leaving = NEVER_FORKED
            self.bury(child, Exit())
        return len(lost)

    def _spawn_one(self, template: TemplateProcess, board: Scoreboard, *, hold: bool = False) -> bool:
        slot = self._free_slot(board)
        if slot is None:
            return False
        try:
            child = Child(self.services, template, board, slot)
        except OSError as error:
            self._cannot_make(f"no descriptors left for a new worker: {error.strerror}")
            return False
        fds = [child.channel.peer.fileno()]
        devnull = -1
        try:
            if self.config.catch_workers_output:
                child.outputs = [self._reader(child, stream) for stream in ("stdout", "stderr")]
                fds += [output.write_fd for output in child.outputs]
            else:
                devnull = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
                fds += [devnull, devnull]
            fds.append(child.own_stack.fd)
            if self.access_log is not None:
                fds.append(self.access_log)
            mark_creating(board.view, board.slots, slot)
            sent = template.fork_worker(slot, fds, hold=hold)
        except OSError as error:
            self._cannot_make(f"cannot make a worker: {error.strerror}")
            sent = False
        finally:
            if devnull >= 0:
                os.close(devnull)
            for output in child.outputs:
                output.close_writer()
            child.channel.close_peer()
        if not sent:
            child.close()
            clear_slot(board.view, board.slots, slot)
            return False
        child.held = hold
        self.children.append(child)
        self.services.budget.used += 1
        self.asked += 1
        child.watch_channel(self.share, lambda: self._on_channel(child))
        seconds = self.config.startup_timeout
        child.set_timer(seconds, lambda: self.dismissal.startup_timeout(child, seconds))
        return True

    def adopt(self, child: Child, outputs: list[int]) -> None:
        """Go on with a worker that serves since before an upgrade.

        Args:
            outputs: reading ends of its pipes, -1 for a closed one; empty with catch_workers_output = no.
        """
        streams = zip(("stdout", "stderr"), outputs, strict=False)
        child.outputs = [self._reader(child, stream, fd) for stream, fd in streams if fd >= 0]
        child.cgroup = self.services.oom.learn(child.pid)
        self.children.append(child)
        self.services.budget.used += 1
        child.watch_channel(self.share, lambda: self._on_channel(child))

    def _free_slot(self, board: Scoreboard) -> int | None:
        taken = {child.slot for child in self.children if child.board is board}
        return next((slot for slot in range(board.slots) if slot not in taken), None)

    def _reader(self, child: Child, stream: str, fd: int | None = None) -> OutputReader:
        def write_line(line: str, closed: bool) -> None:
            child.last_words.add(line, self.services.loop.now)
            if not self.config.decorate_workers_output:
                self.services.log.raw(line)
                return
            pid = child.pid or child.claimed_pid
            self.services.log.warning(format_worker_line(self.config.name, pid, stream, line, closed=closed))

        log = self.services.log
        decorated = self.config.decorate_workers_output
        room = log.worker_room(self.config.name, PID_ROOM, stream) if decorated else log.limit
        return OutputReader(self.services.loop, self.share, write_line, room, fd)

    def _on_channel(self, child: Child) -> int:
        """Take what has come; returns the number of messages."""
        messages, alive = child.channel.receive(self.share)
        for received in messages:
            self._on_message(child, received)
        if not alive and child in self.children:
            child.forget_channel()
            # The exit status comes from the template, or from waitpid(2) if the worker is an orphan; not for ever.
            child.set_timer(EXIT_REPORT_TIME, lambda: self.dismissal.without_report(child))
        return len(messages)

    def _read_last_words(self, child: Child) -> None:
        """Its exit may be reported on another channel before its own last messages have been read."""
        for _ in range(LAST_TURNS):
            if not child.is_heard:
                return
            count = self._on_channel(child)
            if count == 0:
                return

    def _on_message(self, child: Child, received: Received[Event | MessageError]) -> None:
        if not child.pid and not child.learn_pid(received.pid):
            self.services.log.warning(
                f"[pool {self.config.name}] process {received.pid} speaks for a worker but is not one; told to leave"
            )
            child.channel.socket.shutdown(2)
            return
        message = received.message
        match message:
            case WorkerReady() if not child.ready:
                child.ready = True
                child.own_stack.listens = message.stack
                child.cgroup = self.services.oom.learn(child.pid)
                child.idle_since = self.services.loop.now
                child.clear_timer()
                self.events.on_ready(child)
            case Serving() if child.ready:
                self.events.on_serving(child)
            case LogText():
                self._log(child, message)
            case Failed() if not child.ready:
                self.events.on_failed(child, message.error, limit_lines(message.traceback))
            case LimitReached() if child.leaving is None:
                self.events.on_limit(child, message.memory)
            case LargeAtStart():
                self.events.on_large(child, message.memory)
            case MessageError() if not child.channel.has_refused:
                child.channel.has_refused = True
                name = f"[pool {self.config.name}] child {child.pid}"
                self.services.log.warning(f"{name} has sent a message that is refused: {message}")
            case SlowRequest():
                self.events.on_slow(child, message.request, message.microseconds / 1e6)

    def _log(self, child: Child, message: LogText) -> None:
        # A text of several lines, such as a traceback, gets the pool's name in each of them from the log. A worker
        # names itself in its texts; one that does not, or lies, is named here.
        text = limit_lines(message.text)
        name = f"[pool {self.config.name}] child {child.pid}"
        self.services.log.log(message.level, text if text.startswith(name) else f"{name}: {text}")

    def _cannot_make(self, text: str) -> None:
        self.services.log.error(f"[pool {self.config.name}] {text}")

    def _idle_since(self, child: Child) -> float:
        """Monotonic seconds; the scoreboard's clock is the epoch's, so only its distance from now is used."""
        slot = child.read_slot()
        if not slot.request_start:
            return child.idle_since
        age = self.services.clock() - slot.request_start - slot.duration / 1e6
        return max(child.idle_since, self.services.loop.now - max(age, 0.0))
