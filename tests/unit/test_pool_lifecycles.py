"""The three tables together: a pool with its templates and workers, to which anything may happen in any order.

The model does with the actions what the pool does, without processes and time: it asks for missing workers, swaps
generations and fails.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fpm.master.pool.pool_state import POOL_TABLE, PoolAction, PoolState, PoolTrigger
from fpm.master.pool.template_state import TEMPLATE_TABLE, TemplateAction, TemplateEvent, TemplateState
from fpm.master.pool.worker_state import WorkerAction, WorkerEvent, WorkerState
from fpm.master.pool.worker_table import WORKER_TABLE

MAX_CHILDREN = 3
PICK = st.integers(0, 9)
OWN = st.sampled_from(
    [
        WorkerEvent.READY,
        WorkerEvent.FAILED,
        WorkerEvent.START_TIMEOUT,
        WorkerEvent.GIVE_UP,
        WorkerEvent.SERVING,
        WorkerEvent.LIMIT,
        WorkerEvent.TIMEOUT,
        WorkerEvent.SURVIVED,
        WorkerEvent.LATE,
        WorkerEvent.UNREACHABLE,
        WorkerEvent.HUNG_UP,
        WorkerEvent.SILENT,
    ]
)
"""What happens to a worker by itself, or by the master's clock."""


@dataclass(eq=False)
class Template:
    state: TemplateState


@dataclass(eq=False)
class Worker:
    template: Template
    state: WorkerState


@dataclass
class Reload:
    template: Template
    worker: Worker | None = None
    has_passed: bool = False


@dataclass
class Pool:
    """What PoolSupervisor and its parts do with the actions, less everything that takes time."""

    state: PoolState = PoolState.NEW
    templates: list[Template] = field(default_factory=list)
    workers: list[Worker] = field(default_factory=list)
    reload: Reload | None = None
    told: list[PoolAction] = field(default_factory=list)

    def happen(self, event: PoolTrigger) -> None:
        step = POOL_TABLE[self.state, event]
        self.state = step.state
        self.told += step.actions

    @property
    def present(self) -> Template | None:
        return next((one for one in self.templates if one.state.is_present), None)

    @property
    def counted(self) -> list[Worker]:
        return [worker for worker in self.workers if worker.state.is_counted]

    @property
    def ready(self) -> int:
        return sum(worker.state.is_serving for worker in self.workers)

    def fill(self) -> None:
        """Have as many workers as there should be, and the template for them."""
        present = self.present
        if self.state.is_stopping:
            return
        if present is None:
            self.templates.append(Template(TemplateState.STARTING))
            self.happen(PoolTrigger.TEMPLATE_STARTED)
        elif present.state.can_fork:
            while len(self.counted) < MAX_CHILDREN:
                self.workers.append(Worker(present, WorkerState.REQUESTED))
                self.happen(PoolTrigger.WORKERS_ASKED)

    # ---------------------------------------------------------------- templates

    def template(self, template: Template, event: TemplateEvent) -> None:
        former = template.state
        step = TEMPLATE_TABLE[former, event]
        template.state = step.state
        assert former is not TemplateState.GONE or not step.actions
        if step.state is TemplateState.GONE and former is not TemplateState.GONE:
            self.templates.remove(template)
        for action in step.actions:
            if action is TemplateAction.TELL_READY:
                self.happen(PoolTrigger.TEMPLATE_READY)
                self.fill()
            elif action is TemplateAction.TELL_TRIAL_READY and self.reload is not None:
                self.reload.worker = Worker(template, WorkerState.TRIAL_REQUESTED)
                self.workers.append(self.reload.worker)
            elif action is TemplateAction.FAIL_POOL:
                self.happen(PoolTrigger.FAIL)
            elif action is TemplateAction.FAIL_TRIAL:
                self.abandon()
        if template.state is TemplateState.GONE:
            for worker in [worker for worker in self.workers if worker.template is template]:
                self.worker(worker, WorkerEvent.NOT_FORKED)

    # ---------------------------------------------------------------- workers

    def worker(self, worker: Worker, event: WorkerEvent) -> None:
        former = worker.state
        step = WORKER_TABLE[former, event]
        worker.state = step.state
        assert former is not WorkerState.GONE or not step.actions
        for action in step.actions:
            if action is WorkerAction.BURY:
                self.workers.remove(worker)
            elif action in (WorkerAction.TELL_READY, WorkerAction.TELL_SERVING):
                self.swap()
            elif action is WorkerAction.TELL_TRIAL_READY and self.reload is not None:
                self.reload.has_passed = True
            elif action is WorkerAction.FAIL_TRIAL and self.reload is not None and self.reload.worker is worker:
                self.abandon()
            elif action is WorkerAction.FAIL_START:
                self.happen(PoolTrigger.FAIL)
            elif action is WorkerAction.END_TEMPLATE:
                self.template(worker.template, TemplateEvent.NOT_FORKING)
            elif action in (WorkerAction.REPLACE, WorkerAction.REFILL, WorkerAction.RESPAWN):
                self.fill()
        if not self.workers:
            self.happen(PoolTrigger.LAST_WORKER_GONE)

    def swap(self) -> None:
        """A new worker serves: one that has waited for it may leave, and all of them when all new ones serve."""
        if self.state.is_stopping:
            return
        starting = any(worker.state.is_starting for worker in self.counted)
        is_full = len(self.counted) == MAX_CHILDREN and not starting
        self.happen(PoolTrigger.WORKER_READY if starting else PoolTrigger.ALL_READY)
        superseded = [one for one in self.workers if one.state is WorkerState.SUPERSEDED]
        at_limit = [one for one in self.workers if one.state is WorkerState.AT_LIMIT]
        for worker in (superseded if is_full else superseded[:1]) + at_limit[:1]:
            self.worker(worker, WorkerEvent.RETIRE)
        self.fill()

    # ---------------------------------------------------------------- generations

    def abandon(self) -> None:
        reload, self.reload = self.reload, None
        if reload is not None:
            if reload.worker is not None:
                self.worker(reload.worker, WorkerEvent.RETIRE)
            self.template(reload.template, TemplateEvent.ABANDON)

    def commit(self) -> None:
        reload, self.reload = self.reload, None
        assert reload is not None
        assert reload.worker is not None
        self.worker(reload.worker, WorkerEvent.SERVE)
        former = self.present
        if former is not None:
            self.template(former, TemplateEvent.RETIRE)
        self.template(reload.template, TemplateEvent.ACCEPT)
        self.happen(PoolTrigger.RECOVER)
        self.happen(PoolTrigger.WORKERS_ASKED)
        for worker in [worker for worker in self.workers if worker.template is not reload.template]:
            self.worker(worker, WorkerEvent.SUPERSEDE)
        self.fill()


class PoolMachine(RuleBasedStateMachine):
    """Random events, and what must hold after each of them."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = Pool()
        self.pool.happen(PoolTrigger.START)
        self.pool.fill()

    @precondition(lambda self: self.pool.workers)
    @rule(pick=PICK, event=OWN)
    def a_worker_is_heard_of(self, pick: int, event: WorkerEvent) -> None:
        before, worker = self.pool.ready, self.pool.workers[pick % len(self.pool.workers)]
        self.pool.worker(worker, event)
        if event in (WorkerEvent.READY, WorkerEvent.SERVING):
            assert self.pool.ready >= before, "a worker has left for one that does not serve"

    @precondition(lambda self: self.pool.workers)
    @rule(pick=PICK)
    def a_worker_ends(self, pick: int) -> None:
        self.pool.worker(self.pool.workers[pick % len(self.pool.workers)], WorkerEvent.EXITED)

    @precondition(lambda self: any(worker.state.is_unforked for worker in self.pool.workers))
    @rule(pick=PICK)
    def a_worker_is_forked(self, pick: int) -> None:
        waiting = [worker for worker in self.pool.workers if worker.state.is_unforked]
        worker = waiting[pick % len(waiting)]
        self.pool.template(worker.template, TemplateEvent.FORKED)
        self.pool.worker(worker, WorkerEvent.FORKED)

    @precondition(lambda self: self.pool.templates)
    @rule(
        pick=PICK,
        event=st.sampled_from(
            [TemplateEvent.READY, TemplateEvent.FAILED, TemplateEvent.START_TIMEOUT, TemplateEvent.GIVE_UP]
        ),
    )
    def a_template_is_heard_of(self, pick: int, event: TemplateEvent) -> None:
        self.pool.template(self.pool.templates[pick % len(self.pool.templates)], event)

    @precondition(lambda self: self.pool.templates)
    @rule(pick=PICK, event=st.sampled_from([TemplateEvent.LEFT, TemplateEvent.DIED]))
    def a_template_ends(self, pick: int, event: TemplateEvent) -> None:
        template = self.pool.templates[pick % len(self.pool.templates)]
        has_forked = template.state is TemplateState.SERVING
        fails = template.state.is_present and not has_forked and template.state is not TemplateState.GONE
        self.pool.template(template, event)
        if fails:
            assert self.pool.state is PoolState.FAILED, "it has ended before it could make a worker"

    @rule()
    def a_pause_is_over(self) -> None:
        self.pool.fill()

    @precondition(lambda self: not self.pool.state.is_stopping)
    @rule()
    def a_reload_begins(self) -> None:
        before = self.pool.ready
        self.pool.abandon()
        template = Template(TemplateState.TRIAL_STARTING)
        self.pool.templates.append(template)
        self.pool.reload = Reload(template)
        assert self.pool.ready == before

    @precondition(lambda self: self.pool.reload is not None)
    @rule()
    def a_reload_is_given_up(self) -> None:
        """Another pool has failed."""
        before = self.pool.ready
        self.pool.abandon()
        assert self.pool.ready == before

    @precondition(lambda self: self.pool.reload is not None and self.pool.reload.has_passed)
    @rule()
    def a_reload_is_decided(self) -> None:
        before = self.pool.ready
        self.pool.commit()
        assert self.pool.ready >= before

    @rule()
    def the_pool_stops(self) -> None:
        if self.pool.state.is_stopping:
            return
        self.pool.happen(PoolTrigger.STOP)
        self.pool.abandon()
        for worker in list(self.pool.workers):
            self.pool.worker(worker, WorkerEvent.RETIRE)
        for template in list(self.pool.templates):
            self.pool.template(template, TemplateEvent.STOP)

    @invariant()
    def there_are_never_too_many(self) -> None:
        assert len(self.pool.counted) <= MAX_CHILDREN
        assert sum(one.state.is_present for one in self.pool.templates) <= 1
        assert sum(one.state.is_on_trial for one in self.pool.templates) <= 1
        assert not any(worker.state is WorkerState.GONE for worker in self.pool.workers)

    @invariant()
    def a_pool_that_stops_makes_nothing(self) -> None:
        if self.pool.state.is_stopping:
            assert not self.pool.counted
            assert not any(one.state.is_present or one.state.is_on_trial for one in self.pool.templates)

    def teardown(self) -> None:
        """Every way ends: when the pool has stopped and its processes have gone, it has gone."""
        self.the_pool_stops()
        for template in list(self.pool.templates):
            self.pool.template(template, TemplateEvent.KILL)
            self.pool.template(template, TemplateEvent.DIED)
        for worker in list(self.pool.workers):
            self.pool.worker(worker, WorkerEvent.EXITED)
        assert not self.pool.templates
        assert not self.pool.workers
        self.pool.happen(PoolTrigger.EMPTY)
        assert self.pool.state is PoolState.GONE
        assert self.pool.told.count(PoolAction.TELL_SETTLED) <= 1
        assert self.pool.told.count(PoolAction.TELL_EMPTY) == 1


TestPool = PoolMachine.TestCase
TestPool.settings = settings(max_examples=100, stateful_step_count=60, deadline=None)
