"""How many workers one pool has: compares what is with what should be, and decides how the next change is noticed.

Rules of the file. Everything that happens ends in `evaluate`. The arithmetic is `fpm.master.pool.process_manager`'s.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from fpm.config.model import PoolConfig
from fpm.events.base import PoolEvent
from fpm.events.pool import MaxChildrenReached, PoolBusy
from fpm.master.pool import process_manager
from fpm.master.pool.current_config import CurrentConfig
from fpm.master.pool.memory_limits import Level
from fpm.master.pool.process_manager import Census, Demand
from fpm.master.pool.template_starter import TemplateStarter
from fpm.master.pool.turns import SHORTEST, Turns, release_replaced, retire_surplus, supersede_former
from fpm.master.pool.workers import Workers
from fpm.master.processes.backoff import Backoff, after_worker_death
from fpm.master.services import Services
from fpm.system.listen_queue import count_parked
from fpm.system.listening import Listener

UNAVAILABLE_AFTER = 1.5
"""Seconds without any worker that clients may wait, else they are told 503; more than restarts.SERVING_DELAY_MAX, so
that a request that kills its worker costs nobody else his answer."""
RETRY = 0.05
"""Seconds until workers that could not be asked for are asked for again."""


class Scaler:
    """Decides about the number of workers of one pool.

    It has many methods, for each is one thing that may happen to a pool, or one step of the same decision.
    """

    def __init__(
        self,
        services: Services,
        current: CurrentConfig,
        listener: Listener,
        workers: Workers,
        starter: TemplateStarter,
        asked: Callable[[], None],
        write_header: Callable[[], None],
        emit: Callable[[PoolEvent], None],
    ) -> None:
        self.services = services
        self._current = current
        self.workers = workers
        self._starter = starter
        self._asked = asked
        self.turns = Turns(services, listener, workers, self.evaluate, self.maintain)
        self._write_header = write_header
        self._emit = emit
        self._stopped = False
        self._demand = Demand()
        self._rate = 1
        self._reached_max = False
        self._backoff = Backoff()
        self.memory = Level.WITHIN
        """How the pool's memory stands to its limits."""

    @property
    def config(self) -> PoolConfig:
        """The configuration in force."""
        return self._current.config

    # ---------------------------------------------------------------- what happens

    def start(self) -> None:
        """Begin with as many workers as the configuration says."""
        self._backoff = Backoff()
        self._want_first(process_manager.first_workers(self.config))

    def resume(self) -> None:
        """Go on with the workers that an upgrade has handed over."""
        if self._starter.failures.failure is not None:
            self._demand = replace(self._demand, first=process_manager.first_workers(self.config))
        self.evaluate()

    def start_over(self) -> None:
        """The application does not start: begin anew when it does."""
        first = max(self._demand.first, process_manager.first_workers(self.config))
        self._demand = replace(self._demand, first=first)
        self.evaluate()

    def stop(self) -> None:
        """Make no workers and watch nothing any more."""
        self._stopped = True
        self.turns.stop()

    def replace_all(self) -> None:
        """A new generation serves from now on: make its workers; the old ones leave as the new ones become ready."""
        former = supersede_former(self.workers, self._starter.templates.present)
        self._backoff = Backoff()
        self._want_first(max(process_manager.first_workers(self.config), min(former, self.config.pm_max_children)))

    def adjust(self) -> None:
        """The numbers have changed: make or send away what they say now."""
        retire_surplus(self.workers, self.workers.census().total - self.config.pm_max_children)
        self.turns.maintain_in(None)
        if self.config.pm != "ondemand":
            self._want_first(process_manager.first_workers(self.config))
        else:
            self.evaluate()

    def replace_one(self) -> None:
        """A worker leaves at its limit."""
        self._demand = replace(self._demand, owed=self._demand.owed + 1)
        self.evaluate()

    def refill(self) -> None:
        """A place is free at once, and nobody is to blame for it."""
        if self.config.pm == "ondemand":
            self.evaluate()
        else:
            self.replace_one()

    def set_memory(self, level: Level) -> None:
        """The pool's memory stands differently to its limits: it may grow again, or less."""
        self.memory = level
        self.turns.maintain_in(None)
        self.evaluate()

    def worker_ready(self) -> None:
        """A new worker serves: those that have waited for it may leave."""
        all_ready = self._demand.wanted() == 0 and self.workers.census().starting == 0
        release_replaced(self.workers, all_ready=all_ready)
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
        return self._wanted(self.workers.census()) > 0

    @property
    def pause(self) -> float:
        """Seconds until a worker may be made again after failures; 0.0: now."""
        until = max(self._backoff.until, self._starter.failures.backoff.until)
        return max(until - self.services.loop.now, 0.0)

    # ---------------------------------------------------------------- what is, what should be

    def evaluate(self) -> None:
        """Make workers if some are missing, and decide what to watch."""
        if self._stopped:
            return
        census = self.workers.census()
        waiting, wanted = self._waiting(census), self._wanted(census)
        if wanted == 0 and waiting == 0:
            self._watch(census)
        elif self._is_held_back():
            self.turns.saturation.off()
        elif self._starter.ready_template() is None:
            self.turns.saturation.off()  # it will report ready, or fail
        else:
            self._make(census, wanted, waiting)
            self._watch(self.workers.census())

    def maintain(self) -> None:
        """The regular turn: spare workers, surplus, idle time."""
        if self._stopped:
            return
        census = self.workers.census()
        idle = self.workers.idle_children()
        config = process_manager.limit_by_memory(self.config, census, self.memory)
        turn = process_manager.decide_maintenance(config, census, self._rate, [seconds for seconds, _ in idle])
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
            self._request(min(turn.spawn, process_manager.room_beside_leaving(self.config, census)))
        self.turns.maintain_in(turn.look_again)
        self._watch(self.workers.census())

    def _want_first(self, count: int) -> None:
        """Let a generation begin with so many."""
        self._demand = replace(self._demand, first=max(count - self.workers.census().total, 0))
        self.evaluate()

    def _wanted(self, census: Census) -> int:
        config = process_manager.limit_by_memory(self.config, census, self.memory)
        return self._demand.wanted(process_manager.missing_workers(config, census))

    def _make(self, census: Census, wanted: int, waiting: int) -> None:
        room = self.config.pm_max_children - census.total
        limited = process_manager.limit_by_memory(self.config, census, self.memory)
        burst = process_manager.decide_burst(limited, census, waiting)
        if waiting - census.starting > room and self.config.pm != "static":
            self._say_max_reached()
        count = max(burst, min(wanted, room))
        if count <= 0:
            self._demand = Demand()
            return
        count = min(count, process_manager.room_beside_leaving(self.config, census))  # more when they have left
        made = self._request(count)
        if made:
            self.turns.saturation.was_right()
        self._demand = self._demand.less(made)
        if made < count:
            self.turns.evaluate_in("retry", RETRY)

    def _request(self, count: int) -> int:
        template, shared = self._starter.ready_template(), self._starter.resources.current
        if template is None or shared is None:
            return 0
        made = self.workers.request(template, shared.board, count)
        if made:
            self._asked()
            self.turns.timers.cancel("idle-template")
        return made

    def _waiting(self, census: Census) -> int:
        """Count the connections that wait for a worker, if it matters now."""
        if census.idle > 0:
            return 0
        saturation, values = self.turns.saturation, self.workers.record.values
        length = self.services.queues.read(saturation.listen_fd).length
        waiting = length + count_parked(saturation.parked_fd)
        if waiting > values.max_listen_queue:
            values.max_listen_queue = waiting
            self._write_header()
        if self.config.pm == "static":
            return 0
        # However many are parked, one new worker takes them all; if it gets busy with the first, it is asked again.
        return length + saturation.anything_parked()

    def _watch(self, census: Census) -> None:
        """Choose how the next change is noticed."""
        timers, config = self.turns.timers, process_manager.limit_by_memory(self.config, census, self.memory)
        if self.config.pm != "static" and census.total == 0:
            if self._starter.templates.present is not None and "idle-template" not in timers:
                timers.set("idle-template", self.config.pm_process_idle_timeout, self._leave_idle_template)
        elif self.config.pm != "static" and "maintain" not in timers:
            idle = [seconds for seconds, _ in self.workers.idle_children()]
            turn = process_manager.decide_maintenance(config, census, self._rate, idle)
            self.turns.maintain_in(SHORTEST if turn.spawn or turn.retire else turn.look_again)
        self.turns.watch(config, census)

    def _leave_idle_template(self) -> None:
        if self.config.pm == "ondemand" and not self.workers.children:
            self._starter.retire()

    def _is_held_back(self) -> bool:
        """Is a pause after failures running? Then `evaluate` is called again at its end."""
        pause = self.pause
        if pause <= 0.0:
            return False
        self.turns.evaluate_in("backoff", pause)
        if pause >= UNAVAILABLE_AFTER and not self.workers.children:
            self._starter.responder.start()
        return True

    def _say_max_reached(self) -> None:
        if not self._reached_max and self.memory is not Level.HARD:
            self._reached_max = True
            self._emit(MaxChildrenReached(self.config.pm_max_children, pool=self.config.name))
            self._write_header()
