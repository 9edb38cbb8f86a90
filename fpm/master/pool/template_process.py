"""One template as the master sees it: executed, not forked; starting, ready, and one day gone."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from signal import Signals

from fpm.config.model import PoolConfig
from fpm.master.loop.channel import PoolChannel
from fpm.master.loop.fair_reader import FairReader
from fpm.master.loop.loop import Timer
from fpm.master.loop.output import OutputReader
from fpm.master.loop.read_budget import Share
from fpm.master.pool.last_output import LastWords
from fpm.master.processes.bundle import sealed_memfd
from fpm.master.processes.self_dump_fd import OwnStack
from fpm.master.services import Services
from fpm.master.tracing.layout_request import LayoutWish
from fpm.protocol.messages import ApplySettings, Calibrate, Event, Fork, LayoutFailed, LayoutFound, Quit, TemplateReady
from fpm.protocol.spec import (
    BOOT_COMMAND,
    FD_BUNDLE,
    FD_CHANNEL,
    FD_LISTEN,
    FD_PARK_PUT,
    FD_PARK_TAKE,
    FD_SCOREBOARD,
    FD_SPEC,
    FD_STACK,
    FD_WAKE,
    LAUNCHER,
    TemplateSpec,
    WorkerSettings,
    pack_spec,
)
from fpm.protocol.wire import MessageError
from fpm.stacks.layout import Layout
from fpm.system.own_command import own_python
from fpm.system.spawn import spawn

QUIT_TIME = 10.0
"""Seconds that a template without workers may take to leave."""
LAST_TURNS = 64
"""Turns of reading the channel of a template that has ended; each of its workers' exits may be a message."""


class TemplateState(Enum):
    """Where a template stands."""

    STARTING = "starting"
    READY = "ready"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class PoolDescriptors:
    """What all processes of a pool share; all close-on-exec in the master."""

    scoreboard: int
    wake: int
    park_take: int
    park_put: int
    listen: int


@dataclass(frozen=True, slots=True)
class TemplateEvents:
    """Whom a template tells."""

    on_message: Callable[[TemplateProcess, Event | MessageError], None]
    on_startup_timeout: Callable[[TemplateProcess], None]
    write_line: Callable[[str, str, bool], None]
    """Stream name, line, whether the pipe was closed within it."""


class TemplateProcess:
    """A template (or, with mode "unavailable", a 503 responder) of one generation."""

    def __init__(
        self,
        services: Services,
        config: PoolConfig,
        spec: TemplateSpec,
        share: Share,
        events: TemplateEvents,
        channel: PoolChannel | None = None,
        own_stack: OwnStack | None = None,
    ) -> None:
        self.services = services
        self.config = config
        self.spec = spec
        self.share = share
        self.events = events
        self.generation = spec.generation
        self.state = TemplateState.STARTING
        self.started = services.loop.now
        self.preload = True
        self.directory = ""
        """The application's working directory as the template found it, symlinks resolved."""
        self.failure: tuple[str, str] | None = None
        """Error and traceback, once it has reported them."""
        self.quitting = False
        self.killed = False
        """The master has killed it."""
        self.last_words = LastWords()
        self.cgroup = ""
        """Its memory cgroup, for fpm.master.processes.oom."""
        self.channel = channel or PoolChannel()
        self.own_stack = own_stack or OwnStack.create()
        self.layout = LayoutWish(services.loop, services.emit, spec.pool, self._ask_layout)
        self.pid = 0
        self._timer: Timer | None = None
        self.outputs: list[OutputReader] = []
        self._reader: FairReader | None = None

    def spawn(self, shared: PoolDescriptors) -> None:
        """Execute the launcher.

        Raises:
            OSError: it cannot be executed, or there are no descriptors or processes left.
        """
        spec_fd = sealed_memfd("pyfpm-spec", pack_spec(self.spec))
        try:
            for stream in ("stdout", "stderr"):
                self.outputs.append(self._output(stream))
            placed = {
                1: self.outputs[0].write_fd,
                2: self.outputs[1].write_fd,
                FD_CHANNEL: self.channel.peer.fileno(),
                FD_SPEC: spec_fd,
                FD_BUNDLE: self.services.bundle_fd,
                FD_SCOREBOARD: shared.scoreboard,
                FD_WAKE: shared.wake,
                FD_PARK_TAKE: shared.park_take,
                FD_PARK_PUT: shared.park_put,
                FD_LISTEN: shared.listen,
                FD_STACK: self.own_stack.fd,
            }
            arguments = [own_python(), "-I", "-S", "-B", "-c", BOOT_COMMAND, LAUNCHER, _room_for_title(self.spec)]
            self.pid = spawn(arguments, placed, {})
        finally:
            os.close(spec_fd)
            for output in self.outputs:
                output.close_writer()
        self.channel.close_peer()
        self.cgroup = self.services.oom.learn(self.pid)
        self._reader = FairReader(self.services.loop, self.share, self.channel.fd, self._on_channel, timed=False)
        if self.spec.mode == "template":
            timeout = self.config.startup_timeout
            self._timer = self.services.loop.call_later(timeout, lambda: self.events.on_startup_timeout(self))

    def adopt(self, pid: int, outputs: list[int], *, started: float, preload: bool, directory: str) -> None:
        """Go on with a template that is ready since before an upgrade; its channel has been given to the constructor.

        Args:
            outputs: reading ends of its standard output and standard error.
            started: monotonic seconds.
        """
        self.pid, self.started, self.preload, self.directory = pid, started, preload, directory
        self.state = TemplateState.READY
        self.cgroup = self.services.oom.learn(pid)
        streams = zip(("stdout", "stderr"), outputs, strict=False)
        self.outputs = [self._output(stream, fd) for stream, fd in streams if fd >= 0]
        self._reader = FairReader(self.services.loop, self.share, self.channel.fd, self._on_channel, timed=False)

    def become_ready(self, message: TemplateReady) -> None:
        """The template has said that it can fork."""
        self.state = TemplateState.READY
        self.preload = message.preload
        self.own_stack.listens = message.stack
        self.directory = message.chdir
        self._cancel_timer()

    def want_layout(self, done: Callable[[Layout | str], None]) -> None:
        """The layout by which the stacks of this template's processes are read, for fpm.stacks.reading.walk.collect().

        The template is asked once; it answers within 16 s or counts as having none.

        Args:
            done: called exactly once, at once or later, with the layout or with a clause that says why there is none.
        """
        if self.state is TemplateState.STARTING:
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

    def quit(self) -> None:
        """Leave as soon as the last worker has left."""
        if not self.quitting:
            self.quitting = True
            self._cancel_timer()
            self.channel.send(Quit())

    def kill(self) -> None:
        """SIGKILL to the process group: the template and, while it is alive, all that it has made."""
        self._cancel_timer()
        self.killed = True
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, Signals.SIGKILL)

    def kill_alone(self) -> None:
        """SIGKILL to the template; its workers serve on."""
        self.killed = True
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, Signals.SIGKILL)

    def close(self) -> None:
        """Take the last messages and lines, then give all descriptors back."""
        self._cancel_timer()
        for _ in range(LAST_TURNS):
            if self._reader is not None:
                self._on_channel()
        self._forget_channel()
        self.layout.close("its template is gone")
        self.channel.close()
        self.own_stack.close()
        for output in self.outputs:
            output.finish()
        self.state = TemplateState.GONE

    def _output(self, stream: str, fd: int | None = None) -> OutputReader:
        def write_line(line: str, closed: bool) -> None:
            self.last_words.add(line, self.services.loop.now)
            self.events.write_line(stream, line, closed)

        room = self.services.log.worker_room(self.spec.pool, 0, stream)
        return OutputReader(self.services.loop, self.share, write_line, room, fd)

    def _on_channel(self) -> None:
        messages, alive = self.channel.receive(self.share)
        for received in messages:
            if isinstance(received.message, LayoutFound | LayoutFailed):
                self.layout.take(received.message)
            else:
                self.events.on_message(self, received.message)
        if not alive:
            self._forget_channel()

    def _forget_channel(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _room_for_title(spec: TemplateSpec) -> str:
    return f"pyfpm: launcher {spec.pool}"
