"""The templates of one pool: the present one, one on trial, old ones with workers left, and the 503 responder.

A pool whose template does not start is *failed*: the reason is kept for log and status, clients get 503, and the
start is tried again with growing pauses.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from dataclasses import replace
from typing import Any

from fpm.config.model import PoolConfig
from fpm.master.loop.channel import PoolChannel, limit_lines
from fpm.master.loop.read_budget import Share
from fpm.master.loop.timers import NamedTimers
from fpm.master.pool.releases import pin, still_exists
from fpm.master.pool.shared_resources import Shared
from fpm.master.pool.specs import slots_for, template_spec, unavailable_settings, unavailable_spec, worker_settings
from fpm.master.pool.stack_capture import StackCapture
from fpm.master.pool.template_events import Failure, TemplatesEvents, Trial
from fpm.master.pool.template_process import PoolDescriptors, TemplateEvents, TemplateProcess, TemplateState
from fpm.master.pool.template_termination import TemplateDismissal
from fpm.master.processes.backoff import YOUNG, Backoff, after_template_failure
from fpm.master.processes.exits import Exit, Usage
from fpm.master.processes.self_dump_fd import OwnStack
from fpm.master.services import Services
from fpm.protocol.messages import (
    Event,
    Failed,
    Forked,
    ForkFailed,
    LogText,
    Notice,
    TemplateReady,
    WorkerExited,
    WorkerReady,
)
from fpm.protocol.spec import WorkerSettings, unpack_spec
from fpm.protocol.wire import MessageError
from fpm.scoreboard.memory import Scoreboard
from fpm.stacks.rights import needs_named_tracer
from fpm.system.listening import Listener


class Templates:
    """Keeper of a pool's templates."""

    def __init__(
        self,
        services: Services,
        config: PoolConfig,
        listener: Listener,
        share: Share,
        stacks: StackCapture,
        events: TemplatesEvents,
    ) -> None:
        self.services = services
        self.config = config
        self.pinned = pin(config)
        """The same with the directories of this generation."""
        self.former: PoolConfig | None = None
        """The pinned configuration of the generation before, for a rollback."""
        self.listener = listener
        self.share = share
        self.events = events
        self.present: TemplateProcess | None = None
        self.responder: TemplateProcess | None = None
        """Answers 503 while there is no worker."""
        self.trial: Trial | None = None
        self.old: list[TemplateProcess] = []
        self.failure: Failure | None = None
        self.shared: Shared | None = None
        self.generation = 1
        self.last_generation = 1
        """Numbers are not used again: that of a trial that failed is in the log."""
        self.has_begun = False
        """The pool serves, or has tried to: a new one does not before the reload that brings it is decided."""
        self.stopping = False
        self.backoff = Backoff()
        self._responder_backoff = Backoff()
        self.old_shared: list[Shared] = []
        self._responder_shared: Shared | None = None
        self._timers = NamedTimers(services.loop)
        self._dismissal = TemplateDismissal(services, stacks, events.log)

    # ---------------------------------------------------------------- the present template

    def ready_template(self) -> TemplateProcess | None:
        """The present template if it can fork now; else it is started, if no pause is running, and None returned."""
        if self.present is None and not self.stopping and self.services.loop.now >= self.backoff.until:
            if self.failure is not None or not still_exists(self.pinned):
                self.pinned = pin(self.config)  # nothing of this generation runs, and the release may be mended
            try:
                self.present = self._spawn(self.pinned, "template", self._shared_for(self.config))
            except OSError as error:
                self.fail("cannot start a template", f"{error.strerror}")
        ready = self.present is not None and self.present.state is TemplateState.READY
        return self.present if ready else None

    def dismiss_present(self) -> None:
        """The pool is idle: no template until the next connection."""
        if self.present is not None:
            self._dismiss(self.present)
            self.present = None

    def fail(self, error: str, traceback: str, *, logged: bool = False) -> None:
        """No application: say why, tell clients 503, try again later."""
        now = self.services.loop.now
        self.backoff = after_template_failure(self.backoff, now)
        pause = self.backoff.until - now
        self.failure = Failure(error, traceback, self.services.clock())
        # What a template has written before its end is in the log already.
        text = "" if logged else traceback
        self.events.log("error", f"failed to start: {error}; next try in {pause:.0f} s\n{text}".rstrip())
        if not self.events.has_workers():
            self.start_responder()
        self._timers.set("retry", pause, self._retry)
        self.events.on_failed()

    def forgive(self) -> None:
        """A worker serves: no failure, no pause, no responder."""
        self.failure = None
        self.backoff = self._responder_backoff = Backoff()
        self.stop_responder()

    def _retry(self) -> None:
        if self.present is None:
            self.ready_template()
        else:
            self.events.on_ready()  # with preload = no the template is there, and only workers have failed

    # ---------------------------------------------------------------- a new generation

    def begin_trial(self, config: PoolConfig) -> None:
        """Start a template with this configuration beside the present one, which serves on.

        Raises:
            OSError: it cannot be executed.
        """
        self.drop_trial()
        pinned = pin(config)
        if self.has_begun:
            self.last_generation += 1
        shared = self.shared
        if shared is None or shared.board.slots < slots_for(config):
            shared = Shared.create(self.services.loop, slots_for(config), self.shared)
            self.old_shared.append(shared)
        template = self._spawn(pinned, "template", shared, generation=self.last_generation)
        self.trial = Trial(template, config, pinned, shared)

    def accept_trial(self) -> None:
        """The template on trial becomes the present one."""
        trial, self.trial = self.trial, None
        if trial is None:
            return
        former, self.present = self.present, trial.template
        self._take(trial.config, trial.pinned, trial.template.generation)
        if trial.shared is not self.shared:
            self.old_shared.remove(trial.shared)
            self._change_shared(trial.shared)
        self.failure = None
        self.backoff = Backoff()
        self._timers.cancel("retry")
        if former is not None:
            self._dismiss(former)
        self.events.on_new_generation(trial.config)

    def renew(self, config: PoolConfig) -> None:
        """A new generation of a pool without processes: its next template finds the present release."""
        self.last_generation += 1
        self._take(config, pin(config), self.last_generation)
        self.failure = None
        self.backoff = Backoff()

    def apply(self, settings: WorkerSettings) -> None:
        """Workers are forked with these settings from now on; the generation stays."""
        for template in self.all():
            if template.spec.mode == "template":
                template.apply(settings)

    def drop_trial(self) -> None:
        """The generation on trial goes without having served."""
        trial, self.trial = self.trial, None
        if trial is not None and trial.template.state is not TemplateState.GONE:
            self.old.append(trial.template)
            if trial.template.state is TemplateState.READY:
                trial.template.quit()
            else:
                self._dismissal.give_up(trial.template)

    def take_numbers(self, config: PoolConfig) -> None:
        """The same generation by other numbers: its directories stay."""
        pinned = self.pinned
        self.config = config
        self.pinned = replace(
            config, chdir=pinned.chdir, app=pinned.app, python=pinned.python, pythonpath=pinned.pythonpath
        )
        self.look_at_stacks()

    def look_at_stacks(self) -> None:
        """Stacks may be wanted from now on: see whether they can be taken."""
        if self.present is not None and self.present.state is TemplateState.READY:
            self.services.stacks.template_ready(self.config, self.present)

    def _take(self, config: PoolConfig, pinned: PoolConfig, generation: int) -> None:
        self.former = self.pinned if self.has_begun else None
        self.has_begun = True
        self.generation = generation
        self.config, self.pinned = config, pinned

    # ---------------------------------------------------------------- the 503 responder

    def start_responder(self) -> None:
        """Answer 503 on the listening socket."""
        if self.responder is not None or self.stopping:
            return
        try:
            if self._responder_shared is None:
                self._responder_shared = Shared.create(self.services.loop, 1)
            self.responder = self._spawn(self.config, "unavailable", self._responder_shared)
        except OSError as error:
            self.events.log("error", f"cannot start the 503 responder: {error.strerror}")

    def stop_responder(self) -> None:
        """Workers answer again."""
        if self.responder is not None:
            self._dismiss(self.responder)
            self.responder = None

    # ---------------------------------------------------------------- an upgrade of pyfpm

    def adopt(self, state: dict[str, Any]) -> TemplateProcess:
        """Go on with a template that was ready before an upgrade; the caller says what it is.

        Args:
            state: as fpm.master.upgrade.handover describes it.
        """
        spec = unpack_spec(json.dumps(state["spec"]).encode())
        events = TemplateEvents(self._on_message, self._dismissal.startup_timeout, self._write_line)
        channel = PoolChannel(None if state["gone"] else state["channel"])
        own_stack = OwnStack.restore(*state["own_stack"])
        template = TemplateProcess(self.services, self.pinned, spec, self.share, events, channel, own_stack)
        if state["gone"]:  # its workers serve on
            template.pid = state["pid"]
            template.close()
            return template
        template.adopt(
            state["pid"],
            state["outputs"],
            started=state["started"],
            preload=state["preload"],
            directory=state["directory"],
        )
        return template

    # ---------------------------------------------------------------- the end

    def all(self) -> list[TemplateProcess]:
        """Every template and responder that has not been reaped."""
        trial = self.trial.template if self.trial else None
        found = [self.present, self.responder, trial, *self.old]
        return [template for template in found if template is not None]

    @property
    def has_responder(self) -> bool:
        """Is there a 503 responder, or one that has been told to leave?"""
        return any(template.spec.mode == "unavailable" for template in self.all())

    def every_shared(self) -> list[Shared]:
        """What present and former generations share, the present one's last."""
        return [*self.old_shared, *([self.shared] if self.shared is not None else [])]

    def find(self, pid: int) -> TemplateProcess | None:
        """The one with this pid."""
        return next((template for template in self.all() if template.pid == pid), None)

    def begin_stop(self) -> None:
        """Make nothing any more."""
        self.stopping = True
        self._timers.cancel_all()
        self.stop_responder()
        self.drop_trial()

    def dismiss_all(self, timeout: float) -> None:
        """Templates leave when their last worker has left, which has `timeout` seconds for it."""
        self._dismissal.stop(self.all(), timeout)

    def kill_all(self) -> None:
        """SIGKILL to all process groups of the pool."""
        self._dismissal.kill_all(self.all())

    def gone(self, template: TemplateProcess, exit_: Exit, usage: Usage) -> None:
        """One of them has ended and has been reaped."""
        was_ready = template.state is TemplateState.READY
        template.close()
        death = self.events.examine(template, exit_, usage)
        why = f", out of memory: {death.oom_note}" if death.oom == "yes" else ""
        error, traceback = template.failure or (f"its template exited {exit_}{why}", "")
        traceback = traceback or template.last_words.text()
        next_, logged = "", True
        if template in self.old:
            self.old.remove(template)
            next_, logged = _after_old(template, exit_, was_ready), False
        elif template is self.responder:
            self.responder = None
            next_, logged = self._lost_responder(), False
        elif self.trial is not None and template is self.trial.template:
            self.trial = None
            next_ = "the generation that it was to bring has failed"
            self.events.on_trial_failed(error, traceback)
        elif template is self.present:
            self.present = None
            logged = not was_ready or template.failure is not None
            next_ = self._lost_present(template, error, traceback, failed=logged)
        if next_:
            self.events.on_death(death, next_, logged)
        self.events.on_gone(template)

    def close(self) -> None:
        """Give all descriptors back."""
        self._timers.cancel_all()
        self._dismissal.close()
        for template in self.all():
            template.close()
        for shared in [*self.old_shared, self.shared, self._responder_shared]:
            if shared is not None:
                shared.close()

    def _lost_present(self, template: TemplateProcess, error: str, traceback: str, *, failed: bool) -> str:
        """What happens next; "" if the pool stops."""
        if self.stopping:
            return ""
        now = self.services.loop.now
        if failed:
            self.fail(error, traceback, logged=template.failure is None)
            return f"the pool has failed, next try in {self.backoff.until - now:.0f} s"
        if now - template.started < YOUNG:
            self.backoff = after_template_failure(self.backoff, now)
        pause = max(self.backoff.until - now, 0.0)
        self._timers.set("retry", pause, self._retry)
        later = f" in {pause:.0f} s" if pause else ""
        return (
            f"its workers serve on and a new template is started{later} "
            "(the code that it imports may be newer than theirs)"
        )

    def _lost_responder(self) -> str:
        now = self.services.loop.now
        self._responder_backoff = after_template_failure(self._responder_backoff, now)
        pause = self._responder_backoff.until - now
        self._timers.set("responder", pause, self._restart_responder)
        return f"started anew in {pause:.0f} s if there is no worker then"

    def _restart_responder(self) -> None:
        if self.failure is not None and not self.events.has_workers():
            self.start_responder()

    def _dismiss(self, template: TemplateProcess) -> None:
        self.old.append(template)
        template.quit()

    # ---------------------------------------------------------------- processes and what they say

    def _spawn(
        self, config: PoolConfig, mode: str, shared: Shared, *, generation: int | None = None
    ) -> TemplateProcess:
        limit = self.services.settings.log_limit
        if mode == "template":
            settings = worker_settings(config, log_limit=limit, slots=shared.board.slots)
        else:
            settings = unavailable_settings(config, log_limit=limit)
        spec = template_spec(
            config,
            generation=generation or self.generation,
            worker=settings,
            original_rlimit_files=self.services.original_rlimit_files,
            priority=self.services.settings.process_priority,
            inherited=self.services.environ,
            now=self.services.loop.now,
            # Looked at anew each time: who changes kernel.yama.ptrace_scope then needs no more than a reload.
            ptracer=os.getpid() if needs_named_tracer() else 0,
        )
        if mode == "unavailable":
            spec = unavailable_spec(spec)
        events = TemplateEvents(self._on_message, self._dismissal.startup_timeout, self._write_line)
        template = TemplateProcess(self.services, config, spec, self.share, events)
        listen = self.listener.socket.fileno()
        # What the responder parks when it leaves is for the pool's workers, though it has a scoreboard of its own.
        take, put = (end.fileno() for end in (self.shared or shared).park)
        try:
            template.spawn(PoolDescriptors(shared.board.fd, shared.wake, take, put, listen))
        except OSError:
            template.close()
            raise
        return template

    def _shared_for(self, config: PoolConfig) -> Shared:
        """The pool's shared memory and sockets, made anew if the present scoreboard is too small."""
        slots = slots_for(config)
        if self.shared is None or self.shared.board.slots < slots:
            return self._change_shared(Shared.create(self.services.loop, slots, self.shared))
        return self.shared

    def _change_shared(self, shared: Shared) -> Shared:
        if self.shared is not None:
            self.old_shared.append(self.shared)
        self.shared = shared
        self.events.on_shared(shared)
        return shared

    def release_shared(self, boards: Collection[Scoreboard]) -> None:
        """Close what only former generations have used, when their templates are gone.

        Args:
            boards: those on which there are workers.
        """
        if self.old or self.trial is not None:
            return
        for shared in [shared for shared in self.old_shared if all(shared.board is not board for board in boards)]:
            self.old_shared.remove(shared)
            shared.close()

    def _on_message(self, template: TemplateProcess, message: Event | MessageError) -> None:
        match message:
            case TemplateReady() if template.state is TemplateState.STARTING:
                template.become_ready(message)
                self._on_ready(template)
            case Failed() if template.failure is None:
                template.failure = (limit_lines(message.error), limit_lines(message.traceback))
            case Notice():
                self.events.log("notice", limit_lines(message.text))
            case LogText():  # of the 503 responder
                self.events.log("notice", limit_lines(message.text))
            case WorkerReady() if template.state is TemplateState.STARTING:
                template.become_ready(TemplateReady(preload=False, python="", chdir="", seconds=0, stack=message.stack))
                self._on_ready(template)
            case Forked():
                self.events.on_forked(template, message)
            case ForkFailed():
                self.events.on_fork_failed(template, message)
            case WorkerExited():
                self.events.on_worker_exit(template, message)
            case MessageError() if not template.channel.has_refused:
                template.channel.has_refused = True
                self.events.log("warning", f"the template has sent a message that is refused: {message}")

    def _on_ready(self, template: TemplateProcess) -> None:
        self.services.stacks.template_ready(self.config, template)
        if self.trial is not None and template is self.trial.template:
            self.events.on_trial_ready()
        elif template is self.present:
            if template.preload:
                self.failure = None
                self.backoff = replace(self.backoff, until=0.0)  # forgiven when a worker serves
            self.events.on_ready()

    def _write_line(self, stream: str, line: str, closed: bool) -> None:
        self.events.log("warning", f'template said into {stream}: "{line}"')


def _after_old(template: TemplateProcess, exit_: Exit, was_ready: bool) -> str:
    """What happens after the end of a template of a former generation; "" if it has ended as it was told."""
    if not was_ready or exit_.code == 0 or template.killed:
        return ""
    return "it was to leave with the last of its workers, which serve on"
