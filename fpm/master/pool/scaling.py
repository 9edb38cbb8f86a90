"""How many workers one pool has: compares what is with what should be, and decides how the next change is noticed.

Rules of the file. Everything that happens ends in `evaluate`. The arithmetic is `fpm.master.pool.process_manager`'s.
"""

from __future__ import annotations

from collections.abc import Callable

from fpm.config.model import PoolConfig
from fpm.events.base import PoolEvent
from fpm.events.pool import MaxChildrenReached, PoolBusy
from fpm.master.loop.timers import NamedTimers
from fpm.master.pool import process_manager
from fpm.master.pool.child import Child
from fpm.master.pool.process_manager import Census
from fpm.master.pool.saturation import SaturationWatch
from fpm.master.pool.templates import Templates
from fpm.master.pool.worker_state import WorkerEvent, WorkerState
from fpm.master.pool.workers import Workers
from fpm.master.processes.backoff import Backoff, after_worker_death
from fpm.master.services import Services
from fpm.system.listening import Listener

UNAVAILABLE_AFTER = 1.5
"""Seconds without any worker that clients may wait, else they are told 503; more than restarts.SERVING_DELAY_MAX, so
that a request that kills its worker costs nobody else his answer."""
SATURATED_LOOK = 1.0
"""Seconds between looks at a pool that is as large as it may be."""
RETRY = 0.05
"""Seconds until workers that could not be asked for are asked for again."""
SHORTEST = 0.01


class Scaler:
    """Decides about the number of workers of one pool."""

    def __init__(
        self,
        services: Services,
        config: PoolConfig,
        listener: Listener,
        workers: Workers,
        templates: Templates,
        write_header: Callable[[], None],
        emit: Callable[[PoolEvent], None],
    ) -> None:
        self.services = services
        self.config = config
        self.listener = listener
        self.workers = workers
        self.templates = templates
        self.saturation = SaturationWatch(services.loop, self._on_saturation, lambda: workers.census().idle)
        self._write_header = write_header
        self._emit = emit
        self._timers = NamedTimers(services.loop)
        self._stopped = False
        self._rate = 1
        self._first = 0
        """Workers of a beginning generation that are still to be made."""
        self._owed = 0
        """Workers that have died unasked, or leave at their limit, and are to be replaced."""
        self._reached_max = False
        self._backoff = Backoff()

    # ---------------------------------------------------------------- what happens

    def start(self) -> None:
        """Begin with as many workers as the configuration says."""
        self.saturation.set_listener(self.listener.socket.fileno())
        self.templates.has_begun = True
        self._backoff = Backoff()
        self._first = max(process_manager.first_workers(self.config) - self.workers.census().total, 0)
        self.evaluate()

    def resume(self) -> None:
        """Go on with the workers that an upgrade has handed over."""
        self.templates.has_begun = True
        self.saturation.set_listener(self.listener.socket.fileno())
        if self.templates.failure is not None:
            self._first = process_manager.first_workers(self.config)
        self.evaluate()

    def start_over(self) -> None:
        """The application does not start: begin anew when it does."""
        self._first = max(self._first, process_manager.first_workers(self.config))
        if not self._stopped:
            self.evaluate()

    def stop(self) -> None:
        """Make no workers and watch nothing any more."""
        self._stopped = True
        self.saturation.off()
        self._timers.cancel_all()

    def replace_all(self) -> None:
        """A new generation serves from now on: make its workers; the old ones leave as the new ones become ready."""
        present = self.templates.present
        former = [
            child
            for child in self.workers.children
            if child.template is not present and (child.state.is_counted or child.state is WorkerState.SUPERSEDED)
        ]
        for child in former:
            self.workers.happen(child, WorkerEvent.SUPERSEDE, reason="reload")
        self._backoff = Backoff()
        wanted = max(process_manager.first_workers(self.config), min(len(former), self.config.pm_max_children))
        self._first = max(wanted - self.workers.census().total, 0)
        self.evaluate()

    def adjust(self) -> None:
        """The numbers have changed: make or send away what they say now."""
        surplus = self.workers.census().total - self.config.pm_max_children
        if surplus > 0:
            idle = [child for _, child in self.workers.idle_children()]
            busy = [child for child in self.workers.children if child.state.is_counted and child not in idle]
            for child in [*idle, *busy][:surplus]:
                self.workers.retire(child, "idle")
        if self.config.pm != "ondemand":
            self._first = max(process_manager.first_workers(self.config) - self.workers.census().total, 0)
        self._timers.cancel("maintain")
        self.evaluate()

    def replace_one(self) -> None:
        """A worker leaves at its limit."""
        self._owed += 1
        self.evaluate()

    def refill(self) -> None:
        """A place is free at once, and nobody is to blame for it."""
        if self.config.pm != "ondemand":
            self._owed += 1
        self.evaluate()

    def worker_ready(self) -> None:
        """A new worker serves: those that have waited for it may leave."""
        self._retire_superseded()
        self._release_one_replaced()
        self.evaluate()

    def worker_died(self, age: float, requests: int) -> None:
        """A worker has ended unasked, after so many seconds and requests."""
        self._backoff = after_worker_death(self._backoff, age=age, requests=requests, now=self.services.loop.now)
        self.refill()

    @property
    def deaths_in_a_row(self) -> int:
        """Workers that have died young, one after the other."""
        return self._backoff.failures

    @property
    def is_short(self) -> bool:
        """Does the pool want a worker that has not been asked for yet?"""
        return max(self._first, self._owed, self._missing(self.workers.census())) > 0

    @property
    def pause(self) -> float:
        """Seconds until a worker may be made again after failures; 0.0: now."""
        until = max(self._backoff.until, self.templates.backoff.until)
        return max(until - self.services.loop.now, 0.0)

    # ---------------------------------------------------------------- what is, what should be

    def evaluate(self) -> None:
        """Make workers if some are missing, and decide what to watch."""
        if self._stopped:
            return
        census = self.workers.census()
        waiting = self._waiting(census)
        wanted = max(self._first, self._owed, self._missing(census))
        if wanted == 0 and waiting == 0:
            self._watch(census)
        elif self._is_held_back():
            self.saturation.off()
        elif self.templates.ready_template() is None:
            self.saturation.off()  # it will report ready, or fail
        else:
            self._make(census, wanted, waiting)
            self._watch(self.workers.census())

    def maintain(self) -> None:
        """The regular turn: spare workers, surplus, idle time."""
        if self._stopped:
            return
        census = self.workers.census()
        idle = self.workers.idle_children()
        turn = process_manager.decide_maintenance(self.config, census, self._rate, [seconds for seconds, _ in idle])
        self._rate = turn.rate
        if census.total - turn.retire < self.config.pm_max_children:
            self._reached_max = False  # the next time is another episode
        if turn.reached_max:
            self._say_max_reached()
        if turn.busy:
            self._emit(PoolBusy(turn.spawn, census.idle, census.total, pool=self.config.name))
        for _, child in idle[: turn.retire]:
            self.workers.retire(child, "idle")
        if turn.spawn and not self._is_held_back():
            self._spawn(turn.spawn)
        self._schedule_maintenance(turn.look_again)
        self._watch(self.workers.census())

    def _make(self, census: Census, wanted: int, waiting: int) -> None:
        room = self.config.pm_max_children - census.total
        burst = process_manager.decide_burst(self.config, census, waiting)
        if waiting - census.starting > room and self.config.pm != "static":
            self._say_max_reached()
        count = max(burst, min(wanted, room))
        if count <= 0:
            self._first = self._owed = 0
            return
        made = self._spawn(count)
        if made:
            self.saturation.was_right()
        self._first = max(self._first - made, 0)
        self._owed = max(self._owed - made, 0)
        if made < count:
            self._timers.set("retry", RETRY, self.evaluate)

    def _spawn(self, count: int) -> int:
        template, shared = self.templates.ready_template(), self.templates.shared
        if template is None or shared is None:
            return 0
        made = self.workers.request(template, shared.board, count)
        if made:
            self._timers.cancel("idle-template")
        return made

    def _missing(self, census: Census) -> int:
        return max(self.config.pm_max_children - census.total, 0) if self.config.pm == "static" else 0

    def _waiting(self, census: Census) -> int:
        """Connections that wait for a worker, if it matters now."""
        if census.idle > 0:
            return 0
        length = self.services.queues.read(self.listener.socket.fileno()).length
        if length > self.workers.record.values.max_listen_queue:
            self.workers.record.values.max_listen_queue = length
            self._write_header()
        if self.config.pm == "static":
            return 0
        # However many are parked, one new worker takes them all; if it gets busy with the first, it is asked again.
        return length + self.saturation.anything_parked()

    def _watch(self, census: Census) -> None:
        """Choose how the next change is noticed."""
        if self.config.pm == "static":
            self._watch_static(census)
            return
        if census.total == 0:
            self.saturation.watch_listener()
            if self.templates.present is not None and "idle-template" not in self._timers:
                self._timers.set("idle-template", self.config.pm_process_idle_timeout, self._leave_idle_template)
            return
        if "maintain" not in self._timers:
            idle = [seconds for seconds, _ in self.workers.idle_children()]
            turn = process_manager.decide_maintenance(self.config, census, self._rate, idle)
            self._schedule_maintenance(SHORTEST if turn.spawn or turn.retire else turn.look_again)
        if census.idle > 0:
            hurried = "maintain" in self._timers
            self.saturation.arm(process_manager.wake_threshold(self.config, hurried=hurried))
        elif census.total < self.config.pm_max_children:
            # Also while workers are starting: with an import of its own each may take seconds, and more clients come.
            self.saturation.watch_listener()
        elif census.starting > 0:
            self.saturation.off()  # it will report ready
        else:
            self.saturation.off()
            self._timers.set("saturated", SATURATED_LOOK, self.evaluate)

    def _watch_static(self, census: Census) -> None:
        """Nobody can be added; only how many wait at most is to be known, once a second while all are busy."""
        if "saturated" in self._timers:
            return
        if census.idle > 0:
            self.saturation.arm(1)
        else:
            self.saturation.off()
            self._timers.set("saturated", SATURATED_LOOK, self.evaluate)

    def _schedule_maintenance(self, seconds: float | None) -> None:
        if seconds is None:
            self._timers.cancel("maintain")
        else:
            self._timers.set("maintain", max(seconds, SHORTEST), self.maintain)

    def _on_saturation(self) -> None:
        # Until workers are made of it; a listening socket that is shut down, for one, is readable for ever.
        self.saturation.was_for_nothing()
        if self.config.pm == "static":
            self._timers.set("saturated", SATURATED_LOOK, self.evaluate)
        self.evaluate()

    def _leave_idle_template(self) -> None:
        if self.config.pm == "ondemand" and not self.workers.children:
            self.templates.dismiss_present()

    def _is_held_back(self) -> bool:
        """Is a pause after failures running? Then `evaluate` is called again at its end."""
        now = self.services.loop.now
        until = max(self._backoff.until, self.templates.backoff.until)
        if now >= until:
            return False
        self._timers.set("backoff", until - now, self.evaluate)
        if until - now >= UNAVAILABLE_AFTER and not self.workers.children:
            self.templates.start_responder()
        return True

    def _say_max_reached(self) -> None:
        if self._reached_max:
            return
        self._reached_max = True
        self._emit(MaxChildrenReached(self.config.pm_max_children, pool=self.config.name))
        self._write_header()

    # ---------------------------------------------------------------- who may leave

    def _retire_superseded(self) -> None:
        """A new worker is ready: one of the old generation may go; when all new ones are ready, all old ones."""
        superseded = self._in_state(WorkerState.SUPERSEDED)
        all_ready = self._first == 0 and self.workers.census().starting == 0
        for child in superseded if all_ready else superseded[:1]:
            self.workers.retire(child, "reload")

    def _release_one_replaced(self) -> None:
        for child in self._in_state(WorkerState.AT_LIMIT)[:1]:
            self.workers.retire(child, child.retire_reason)

    def _in_state(self, state: WorkerState) -> list[Child]:
        return [child for child in self.workers.children if child.state is state]
