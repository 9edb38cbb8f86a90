"""One template as the master sees it: executed, not forked. Only its table changes its state."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from fpm.config.model import PoolConfig
from fpm.event_text.worker import output_text
from fpm.log.lines import pool_prefix
from fpm.master.loop.channel import PoolChannel, Received
from fpm.master.loop.fair_reader import FairReader, Share
from fpm.master.loop.loop import Timer
from fpm.master.loop.output import OutputReader
from fpm.master.pool.death_report import LastWords
from fpm.master.pool.template_state import TEMPLATE_TABLE, TemplateAction, TemplateEvent, TemplateState
from fpm.master.processes.bundle import sealed_memfd
from fpm.master.processes.memory_notes import MemoryNotes
from fpm.master.processes.owner import OwnerCheck, ids_of
from fpm.master.processes.self_dump_fd import SelfDumpFd
from fpm.master.services import Services
from fpm.master.tracing.layout_request import LayoutRequest
from fpm.protocol.messages import (
    ApplySettings,
    Calibrate,
    Entered,
    Event,
    Fork,
    LayoutFailed,
    LayoutFound,
    Quit,
    TemplateReady,
)
from fpm.protocol.spec import (
    BOOT_COMMAND,
    FD_BUNDLE,
    FD_CHANNEL,
    FD_SPEC,
    FD_STACK,
    LAUNCHER,
    TemplateSpec,
    WorkerSettings,
    pack_spec,
)
from fpm.protocol.wire import MessageError
from fpm.stacks.layout import Layout
from fpm.system.own_command import own_python
from fpm.system.proc_stat import parent_of
from fpm.system.spawn import spawn

STREAMS = ("stdout", "stderr")


class TemplateKeeper(Protocol):
    """Who has a template's events answered."""

    def happen(self, template: TemplateProcess, event: TemplateEvent) -> None:
        """Change its state, and do what the table says."""

    def on_message(self, template: TemplateProcess, message: Event | MessageError) -> None:
        """Take a message from it."""

    def write_line(self, template: TemplateProcess, stream: str, line: str, closed: bool) -> None:
        """Log what it has written; `closed`: the pipe was closed within the line."""


class TemplateProcess:
    """A template (or, with mode "unavailable", a 503 responder) of one generation.

    It has more attributes than other classes: two pipes, a channel and a process are its business, and what the master
    has learnt of it is asked for by several others.
    """

    python = ""
    """The version of its Python, as it says; "" before it is ready."""

    def __init__(
        self,
        services: Services,
        config: PoolConfig,
        spec: TemplateSpec,
        share: Share,
        keeper: TemplateKeeper,
        state: TemplateState,
        channel: PoolChannel | None = None,
        own_stack: SelfDumpFd | None = None,
    ) -> None:
        self.services = services
        self.config = config
        self.spec = spec
        self.state = state
        self.started = services.loop.now
        self.preload = True
        self.directory = ""
        """The application's working directory as the template found it, symlinks resolved."""
        self.failure: tuple[str, str] | None = None
        """Error and traceback, once they are known."""
        self.last_words = LastWords()
        self.cgroup = ""
        """Its memory cgroup, for fpm.master.processes.oom."""
        self.memory = MemoryNotes()
        self.channel = channel or PoolChannel()
        self.own_stack = own_stack or SelfDumpFd.create()
        self.owner = OwnerCheck(services.emit, spec.pool, ids_of(spec), spec.no_new_privs)
        """Whose its process is, and those of its workers."""
        services.pool_ids.add(self.owner.ids)
        self.layout = LayoutRequest(services.loop, services.emit, spec.pool, self._ask_layout)
        self.pid = 0
        """The launcher's at first; where that goes on in a pid namespace, another one's."""
        self.outputs: list[OutputReader] = []
        self.has_entered = False
        """It has said that it goes on in a pid namespace."""
        self._keeper = keeper
        self._share = share
        self._reader: FairReader | None = None
        self._timer: Timer | None = None

    @property
    def generation(self) -> int:
        """The number of its generation."""
        return self.spec.generation

    def spawn(self, shared: dict[int, int]) -> None:
        """Execute the launcher.

        Args:
            shared: what the processes of the pool share, by the numbers that it gets (FD_SCOREBOARD, ...).

        Raises:
            OSError: it cannot be executed, or there are no descriptors or processes left.
        """
        spec_fd = sealed_memfd("pyfpm-spec", pack_spec(self.spec))
        try:
            for stream in STREAMS:
                self.outputs.append(self.output(stream))
            title = f"pyfpm: launcher {self.spec.pool}"  # with room for the longer ones that follow
            arguments = [own_python(), "-I", "-S", "-B", "-c", BOOT_COMMAND, LAUNCHER, title]
            self.pid = spawn(arguments, self._placed(spec_fd) | shared, {})
        finally:
            os.close(spec_fd)
            for output in self.outputs:
                output.close_writer()
        self.channel.close_peer()
        self.watch()
        timeout = self.config.startup_timeout
        if self.state.is_importing and timeout > 0:
            self._timer = self.services.loop.call_later(
                timeout, lambda: self._keeper.happen(self, TemplateEvent.START_TIMEOUT)
            )

    def _placed(self, spec_fd: int) -> dict[int, int]:
        """List its own descriptors by the numbers that it gets."""
        return {
            1: self.outputs[0].write_fd,
            2: self.outputs[1].write_fd,
            FD_CHANNEL: self.channel.peer.fileno(),
            FD_SPEC: spec_fd,
            FD_BUNDLE: self.services.bundle_fd,
            FD_STACK: self.own_stack.fd,
        }

    # ---------------------------------------------------------------- the state

    def take(self, event: TemplateEvent) -> tuple[TemplateAction, ...]:
        """Change the state as the table says; returns what is to be done."""
        step = TEMPLATE_TABLE[self.state, event]
        self.state = step.state
        if self._timer is not None and not (step.state.is_importing or step.state.has_failed):
            self._timer.cancel()
            self._timer = None
        return step.actions

    def learn(self, message: TemplateReady) -> None:
        """Note what it says of itself when it is ready."""
        self.preload = message.preload
        self.own_stack.listens = message.stack
        self.directory, self.python = message.chdir, message.python

    # ---------------------------------------------------------------- what it is told

    def want_layout(self, done: Callable[[Layout | str], None]) -> None:
        """The layout by which the stacks of this template's processes are read, for fpm.stacks.reading.walk.collect().

        The template is asked once; it answers within 16 s or counts as having none.

        Args:
            done: called exactly once, at once or later, with the layout or with a clause that says why there is none.
        """
        if self.state.is_importing:
            done("its template has not imported the application yet")
        elif self.spec.mode != "template":
            done("it is the 503 responder, which runs under pyfpm's own Python")
        else:
            self.layout.want(done)

    def _ask_layout(self) -> bool:
        return self.channel.send(Calibrate())

    def fork_worker(self, slot: int, fds: list[int], *, hold: bool = False) -> bool:
        """Ask for a worker; False if the request could not be sent now."""
        return self.channel.send(Fork(slot, hold), fds)

    def apply(self, settings: WorkerSettings) -> None:
        """Fork workers with these settings from now on."""
        self.channel.send(ApplySettings(replace(settings, slots=self.spec.worker.slots)))

    def send_quit(self) -> None:
        """Tell it to leave as soon as its last worker has left."""
        self.channel.send(Quit())

    def kill_group(self) -> None:
        """SIGKILL to the template and, while it is alive, all that it has made."""
        self.owner.kill_group(self.pid)

    def kill_alone(self) -> None:
        """SIGKILL to the template; its workers serve on."""
        self.owner.kill(self.pid)

    def give_up(self, event: TemplateEvent, error: str) -> None:
        """End it because it has not started, or forked, in time; an error that it has told before stays."""
        self._keeper.happen(self, event)
        if self.state.killed_by_master and self.failure is None:
            self.failure = (error, "")

    def close(self) -> None:
        """Take the last messages and lines, then give all descriptors back."""
        if self._reader is not None:
            self.channel.receive_last(self._share, self._take)
        self._forget_channel()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.layout.close("its template is gone")
        self.channel.close()
        self.own_stack.close()
        for output in self.outputs:
            output.finish()

    # ---------------------------------------------------------------- what it says

    def watch(self) -> None:
        """Read whatever it says from now on."""
        self.cgroup = self.services.oom.learn(self.pid, self.spec.cgroup_directory)
        self._reader = FairReader(self._share, self.channel.fd, self._on_channel)

    def output(self, stream: str, fd: int | None = None) -> OutputReader:
        """Read what it writes to a standard stream, by a new pipe or by `fd`."""

        def write_line(line: str, closed: bool) -> None:
            self.last_words.add(line, self.services.loop.now)
            self._keeper.write_line(self, stream, line, closed)

        beside = f"{pool_prefix(self.spec.pool)}{output_text(0, 'template', stream, '')}"
        room = self.services.log.room_beside(beside)
        return OutputReader(self._share, write_line, room, fd)

    def _on_channel(self) -> None:
        _, alive = self.channel.receive(self._share, self._take)
        if not alive:
            self._forget_channel()

    def _take(self, received: Received[Event | MessageError]) -> None:
        if isinstance(received.message, Entered):
            self._go_on_as(received.pid)
        elif isinstance(received.message, LayoutFound | LayoutFailed):
            self.layout.take(received.message)
        else:
            self._keeper.on_message(self, received.message)

    def _go_on_as(self, pid: int) -> None:
        """The launcher has cloned itself into a pid namespace. It says so before anything of the pool can speak."""
        if "pid" not in self.spec.namespaces or self.has_entered or parent_of(pid) != os.getpid():
            return
        self.has_entered = True
        self.services.reapers[self.pid] = lambda status: None
        self.pid = pid
        if self.state.killed_by_master:
            self.kill_group()

    def hear_of_itself(self) -> None:
        """The process with its pid has ended: is it only the launcher, which has gone on as another one?"""
        if "pid" in self.spec.namespaces and not self.has_entered and self._reader is not None:
            self._on_channel()

    def _forget_channel(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None
