"""Death certificates: what is known of a process that has ended, as a value; and what the pool does next, in words.

Pure. All that a pool has said of itself is bounded here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import field

from fpm.frozen import dataclass
from fpm.log.escape import cut, decode_wire, escape
from fpm.master.pool.history import MEMORY_HARD, MEMORY_SOFT
from fpm.master.processes.exits import MEMORY_MAX, Exit, Usage, signal_name
from fpm.master.processes.oom_reports import OomVerdict
from fpm.scoreboard.snapshot import Slot
from fpm.scoreboard.stages import Stage
from fpm.stacks.trace import Trace
from fpm.status.death_text import AFTER_RESPONSE, FATAL, FINISHED, NOT_CHECKED, RUNNING, TEXT_MAX
from fpm.status.overview import Death

REQUEST_MAX = 1024
"""Characters of the last request that are kept; the line shows fewer, for it has to end with what happens next."""
STACK_MAX = 12
"""Frames, or lines of the last words, that are kept."""
OURS = ("/fpm/template/", "/fpm/worker/", "/fpm/wsgi/response.py")


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known when a process has ended."""

    who: str
    """"worker", "template", "503 responder"."""
    pid: int
    exit: Exit
    age: float
    """Seconds."""
    usage: Usage = field(default_factory=Usage)
    slot: Slot | None = None
    """As it was at the end; None without one."""
    verdict: OomVerdict = field(default_factory=lambda: OomVerdict("no"))
    memory_events: str = ""
    """What the pool's cgroup has counted since it was made."""
    core: str = ""
    told: str = ""
    ended: bool = False
    trace: Trace | None = None
    """The last stack that was taken."""
    exit_calls: tuple[str, ...] = ()
    """What it has told of its os._exit()."""
    words: tuple[str, ...] = ()


def certify(facts: Facts, now: float) -> Death:
    """The certificate, but for what happens next; `now` is epoch seconds."""
    slot = facts.slot
    request, state, age = describe_request(slot, now) if slot is not None else ("", "", 0.0)
    return Death(
        at=now,
        pid=facts.pid,
        cause=str(facts.exit),
        age=facts.age,
        requests=slot.requests if slot is not None else 0,
        request=request,
        who=facts.who,
        code=facts.exit.code,
        signal=signal_name(facts.exit.signal) if facts.exit.signal is not None else "",
        core=facts.core if facts.exit.core else "",
        oom=facts.verdict.answer,
        oom_note=_note(facts.verdict),
        memory_events=facts.memory_events,
        request_state=state,
        request_age=age,
        has_answered=slot is not None and state == RUNNING and slot.has_answered,
        task=decode_wire(slot.task)[:TEXT_MAX] if slot is not None and state == AFTER_RESPONSE else "",
        pending_tasks=name_undone(slot) if slot is not None and state in (RUNNING, AFTER_RESPONSE) else "",
        # The worker's own word counts where nobody else could tell.
        memory_peak=facts.usage.memory or min(slot.memory_peak if slot is not None else 0, MEMORY_MAX),
        cpu_user=facts.usage.user,
        cpu_system=facts.usage.system,
        retire_reason=facts.told,
        killed_by_master=facts.ended,
        stack=tuple(_calls_at_end(facts)),
        output=tuple(line[:TEXT_MAX] for line in facts.words[:STACK_MAX]),
    )


def _note(verdict: OomVerdict) -> str:
    return ", ".join(filter(None, (verdict.note, f"by the {verdict.source}" if verdict.source else "")))


def describe_request(slot: Slot, now: float) -> tuple[str, str, float]:
    """The last request of a slot, what had become of it, and since when (seconds, see fpm.status.overview.Death)."""
    if not slot.method or slot.request_start <= 0.0:
        return "", "", 0.0
    query = f"?{slot.query}" if slot.query else ""
    request = decode_wire(f"{slot.method} {slot.uri}{query}")[:REQUEST_MAX]
    if slot.released > 0.0:
        return request, AFTER_RESPONSE, max(now - slot.released, 0.0)
    if slot.stage > Stage.ACCEPTING and slot.duration == 0:
        return request, RUNNING, max(now - slot.request_start, 0.0)
    return request, FINISHED, max(now - slot.request_start - slot.duration / 1e6, 0.0)


def _calls_at_end(facts: Facts) -> Iterable[str]:
    if facts.exit_calls and facts.exit.code is not None:
        return [call[:TEXT_MAX] for call in facts.exit_calls[:STACK_MAX]]
    return stack_lines(facts.trace, wanted=facts.ended and facts.who == "worker")


def stack_lines(trace: Trace | None, *, wanted: bool) -> Iterable[str]:
    """The main thread's newest calls, a line each; or why there are none.

    Args:
        wanted: there should be a stack, for the master has ended the process.
    """
    if trace is None:
        if wanted:
            yield "no stack: it has not come in time"
        return
    if not trace.threads:
        yield f"no stack: {trace.error}"[:TEXT_MAX]
        return
    frames = trace.threads[0].frames
    # What has led to the application's first call tells nobody anything; of an idle worker it is all there is.
    count = next((at for at, frame in enumerate(frames) if is_ours(frame.file)), len(frames))
    for frame in frames[: min(count or len(frames), STACK_MAX)]:
        yield f"{frame.function} ({frame.file}:{frame.line})"[:TEXT_MAX]


def is_ours(text: str) -> bool:
    """Does a line of a stack name a file of pyfpm's that stands below the application's first call?"""
    return any(place in text for place in OURS)


@dataclass(frozen=True, slots=True)
class RestartPlan:
    """How a pool stands after one of its workers has ended and all has been done about it that could be done now."""

    made: bool
    """A new worker has been asked for."""
    stopping: bool = False
    on_trial: bool = False
    """It was to prove a new generation."""
    told: str = ""
    """Why it had been told to exit: then what should come in its place has been seen to."""
    failed_for: float | None = None
    """Seconds until the next start of a pool that has failed; None: it has not."""
    pause: float = 0.0
    """Seconds until a worker may be made (backoff)."""
    failures: int = 0
    """Deaths of young workers in a row."""
    ondemand: bool = False
    has_template: bool = True
    """There is a template that can fork."""
    is_missing: bool = True
    """The pool wants one more worker than it has."""
    has_room: bool = True
    """process.max allows one more."""


_AFTER_LEAVING = {
    "reload": "replaced by the new generation",
    "reload abandoned": "not replaced, its generation has failed",
    "idle": "not replaced, there are enough",
    MEMORY_SOFT: "not replaced, the pool is above pm.memory_soft",
    MEMORY_HARD: "not replaced, the pool is above pm.memory_hard",
}


def next_step(plan: RestartPlan) -> str:
    """What happens next, as a clause."""
    if plan.stopping:
        return "not replaced, the pool stops"
    if plan.on_trial:
        return NOT_CHECKED
    if plan.failed_for is not None:
        return f"the pool has failed, next try in {max(plan.failed_for, 0.0):.0f} s"
    if plan.told and not plan.is_missing:
        return _AFTER_LEAVING.get(plan.told, "already replaced")
    if plan.made:
        return "respawned"
    if plan.ondemand and not plan.is_missing:
        later = f"in {plan.pause:.1f} s at the earliest (ondemand, backoff)" if plan.pause else "(ondemand)"
        return f"the next request starts a new one {later}"
    if plan.pause > 0.0:
        return f"respawned in {plan.pause:.1f} s (backoff, {plan.failures} died early in a row)"
    if not plan.is_missing:
        return "not replaced, there are enough"
    if not plan.has_template:
        return "respawned when the template is ready"
    return "respawned soon" if plan.has_room else "not respawned before process.max allows it"


NAME_MAX = 120
"""Characters of a name that are shown."""


def name_task(slot: Slot) -> str:
    """The function that runs after the response, "" without one; fit for a log line."""
    return cut(escape(decode_wire(slot.task)), NAME_MAX)


def name_undone(slot: Slot) -> str:
    """The functions that wait behind it, as in "shop.mail, shop.count and 2 more"; "" if there are none."""
    if not slot.waiting:
        return ""
    names = [cut(escape(decode_wire(name)), NAME_MAX) for name in slot.later]
    more = slot.waiting - len(names)
    if not names:
        return f"{more} function{'' if more == 1 else 's'}"
    return ", ".join(names) + (f" and {more} more" if more > 0 else "")


KEPT = 60
"""Lines that are kept to explain why a worker does not become ready."""
SHORTLY = 1.0
"""Seconds before the end in which a line may tell of it."""
LINES = 3
_CURRENT = "Current thread "
_FRAME = "  "
_DUMP = "Timeout ("
"""How faulthandler.dump_traceback_later() begins."""


class LastWords:
    """The last lines of a worker's output, and Python's own account of a crash if it has given one."""

    def __init__(self) -> None:
        self.lines: deque[str] = deque(maxlen=KEPT)
        self._at = 0.0
        """Monotonic seconds of the last line."""
        self._crash: list[str] = []
        self._in_thread = False
        """Within the stack of the thread that has crashed; faulthandler may write those of others before and after."""

    def add(self, line: str, now: float) -> None:
        """One line, escaped; `now` is monotonic seconds."""
        self._at = now
        self.lines.append(line)
        if line.startswith(FATAL):
            self._crash, self._in_thread = [line], False
        elif self._crash and line.startswith(_CURRENT):
            self._in_thread = True
        elif self._in_thread:
            self._in_thread = line.startswith(_FRAME) and not is_ours(line) and len(self._crash) < STACK_MAX
            if self._in_thread:
                self._crash.append(line)

    @property
    def has_dump(self) -> bool:
        """Has it shown its stack, as the process of an import does shortly before its startup_timeout is over?"""
        return any(line.startswith(_DUMP) for line in self.lines)

    def text(self) -> str:
        """All lines that are kept."""
        return "\n".join(self.lines)

    def of_end(self, now: float, *, by_exit: bool) -> tuple[str, ...]:
        """The lines that tell of the end.

        Args:
            now: monotonic seconds of the end.
            by_exit: it has ended with an exit code of its own: then it may have said why.
        """
        if now - self._at > SHORTLY:
            return ()
        if self._crash and not by_exit:
            return tuple(self._crash)
        return tuple(self.lines)[-LINES:] if by_exit else ()
