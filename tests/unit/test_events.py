"""What happens, as values: their text, and their form as JSON."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpm.event_text.describe import TABLE, describe
from fpm.events import master, pool, worker
from fpm.events.base import Event, PoolEvent, ProcessEvent
from fpm.events.wire import CLASSES, pack_event, unpack_event
from fpm.log.lines import pool_prefix
from fpm.protocol.wire import MessageError
from fpm.status.overview import Death

P: Any = {"pool": "www"}
C: Any = {"pool": "www", "pid": 7}
CLEAN = Death(5.0, 7, "with code 0", 2.5, 3, "GET /", code=0, request_state="finished", next_action="respawned")
CRASH = replace(CLEAN, cause="on signal 11 (SIGSEGV)", code=None, signal="SIGSEGV")
LOST = replace(CLEAN, request_state="running", request_age=0.5)
DIED = "child 7 exited {} after 2.500000 seconds from start; {}; 3 requests served; respawned"
IDLE = 'idle, last request "GET /" ended 0 ms before'

LINES: list[tuple[Event, str, str]] = [
    (master.MasterStarted(pid=1), "NOTICE", "fpm is running, pid 1"),
    (master.MasterUpgraded("1.2", pid=1), "NOTICE", "upgraded to pyfpm 1.2, pid 1"),
    (master.MasterReady(()), "NOTICE", "ready to handle connections"),
    (master.MasterReady(("a", "b")), "NOTICE", "ready to handle connections (failed pools: a, b)"),
    (master.StrictStartFailed(("a", "b")), "ALERT", "started with --strict, and these pools have failed: a, b"),
    (master.MasterStopping(True), "NOTICE", "Finishing ..."),
    (master.MasterStopping(False), "NOTICE", "Terminating ..."),
    (master.MasterExiting(), "NOTICE", "exiting, bye-bye!"),
    (master.StopRequested(), "NOTICE", "stop requested on the control socket"),
    (
        master.StopIgnored("finishing", "terminating"),
        "DEBUG",
        "not switching to 'finishing' state, because already in 'terminating' state",
    ),
    (master.ProgramGone(), "NOTICE", "the program that started this master has exited"),
    (master.InternalError("a\nb"), "ALERT", "internal error, please report it; the master goes on:\na\nb"),
    (master.MasterOutput("{x}"), "", "{x}"),
    (master.EventsDropped(3), "WARNING", "3 events were dropped: the program could not take them in time"),
    (master.ConfigNotice("{n}"), "NOTICE", "{n}"),
    (master.RestartNeeded("control"), "NOTICE", "[global] control has changed; it takes effect at the next start"),
    (master.SocketUnused("x"), "WARNING", "socket x passed by LISTEN_FDS belongs to no pool; closing it"),
    (master.ControlSocketFailed("no /x"), "ERROR", "no /x; no command can reach this daemon"),
    (master.PidFileFailed("no /x"), "ERROR", "no /x; keeping the previous file"),
    (master.ErrorLogReopened(), "NOTICE", "error log file re-opened"),
    (master.ErrorLogFailed("why"), "ERROR", "unable to re-open error log file: why"),
    (master.ReloadStarted(), "NOTICE", "Reloading in progress ..."),
    (master.ReloadStarted("www"), "NOTICE", "Rolling back www"),
    (master.ReloadPlanned(("a", "b")), "NOTICE", "reload: a\nreload: b"),
    (master.ReloadProgressed("checked", pool="www"), "", "reload: checked"),
    (master.ReloadEnded(True), "NOTICE", "reload finished"),
    (master.ReloadEnded(False, ("a",), "b\n"), "ERROR", "reload failed, nothing has changed: a\nb"),
    (
        master.ReloadEnded(False, ("a", "b")),
        "ERROR",
        "reload failed, nothing has changed: a\nreload failed, nothing has changed: b",
    ),
    (
        master.ReloadEnded(False, ("the master is stopping",), given_up=True),
        "NOTICE",
        "reload cancelled, nothing has changed: the master is stopping",
    ),
    (master.UpgradeStarted(), "NOTICE", "Upgrading: asking the installed program whether it can take over"),
    (master.UpgradeExecuting(), "NOTICE", "Upgrading: executing the installed program"),
    (master.UpgradeFailed("why"), "ERROR", "upgrade failed, nothing has changed: why"),
    (
        master.ProcessMaxReached(),
        "WARNING",
        "The maximum number of processes has been reached. "
        "Please review your configuration and consider raising 'process.max'",
    ),
    (
        master.ProcessesLeft((7, 8)),
        "ALERT",
        "SIGKILL does not end 7, 8 (uninterruptible sleep?); exiting without them",
    ),
    (
        master.CgroupLeft("/sys/fs/cgroup/pyfpm-1/pool-www"),
        "WARNING",
        "the cgroup /sys/fs/cgroup/pyfpm-1/pool-www cannot be removed, it still has processes (cgroup.procs)",
    ),
    (
        master.OrphanExited("with code 1", pid=9),
        "DEBUG",
        "process 9, left behind by an application, exited with code 1",
    ),
    (
        master.OrphanKilled("a\nb", pid=9),
        "NOTICE",
        r"killing process 9 (a\x0ab), left behind by an application",
    ),
    (
        master.PathHung("/srv/a"),
        "WARNING",
        "the file system of /srv/a does not answer; it is taken for missing until it does",
    ),
    (master.HelperOutput("the tracer", "x"), "WARNING", "the tracer said: x"),
    (master.HelperStartFailed("the tracer", "why"), "ERROR", "cannot start the tracer: why"),
    (
        master.HelperExited("the tracer", "with code 1", 2.0),
        "WARNING",
        "the tracer exited with code 1; restarting it in 2 s",
    ),
    (master.HelperStuck("the tracer"), "WARNING", "the tracer does not respond; killing it"),
    (
        master.HistoryFileFailed("/run/pyfpm/pyfpm.history", "why"),
        "WARNING",
        "the past of the pools will not survive a restart: cannot open /run/pyfpm/pyfpm.history: why",
    ),
    (master.StatusMessageInvalid("why"), "WARNING", "the status process sent an invalid message: why"),
    (master.TracerAnswerInvalid("why"), "WARNING", "the tracer sent an invalid answer: why"),
    (master.StacksAvailable(), "NOTICE", "stacks of slow requests are read by ptrace"),
    (pool.PoolFailed("why", "a\nb\n", 4.4, **P), "ERROR", "failed to start: why; next try in 4 s\na\nb"),
    (pool.PoolFailed("why", "a\nb", 4.0, True, **P), "ERROR", "failed to start: why; next try in 4 s"),
    (pool.PoolRecovered(**P), "", "the application has started again"),
    (
        pool.SocketShutDown("listening", **P),
        "WARNING",
        "a process of this pool has shut down the listening socket; it is replaced, and so are the workers",
    ),
    (
        pool.SocketShutDown("listening", "why", **P),
        "WARNING",
        "the listening socket cannot be replaced: why; trying again",
    ),
    (pool.StatusListenFailed("why", **P), "ERROR", "why; serving without it until the next reload"),
    (pool.PoolChangeFailed("why", **P), "ERROR", "why; keeping the previous one"),
    (
        pool.SwapStalled(**P),
        "WARNING",
        "new workers do not become ready; the previous generation keeps serving until they do",
    ),
    (
        pool.EmergencyRestart(3, 60.0, "on signal 11 (SIGSEGV)", **C),
        "WARNING",
        "failed processes threshold (3 in 60 sec) is reached, restarting the template of this pool; the last was child "
        "7, on signal 11 (SIGSEGV). Its workers are replaced when the new template is ready",
    ),
    (pool.EmergencyRestartFailed("why", **P), "ERROR", "the new template failed, keeping the previous one: why"),
    (pool.TemplateStarted(2, **C), "", "template 7 started (generation 2)"),
    (pool.TemplateReady(2, **C), "", "template 7 is ready (generation 2)"),
    (pool.PlainHotPath(2, "{x}", **P), "NOTICE", "hot path: python, because {x}"),
    (pool.TemplateNotice("{x}", **C), "NOTICE", "{x}"),
    (pool.WarmupFailed("GET /", "{x}", **C), "WARNING", "preload.warmup: GET /: {x}"),
    (
        pool.TemplateKilled("reload", 2.04, **C),
        "NOTICE",
        "template 7 is killed after 2.0 s of importing: its generation was abandoned",
    ),
    (pool.TemplateKilled("stop", **C), "NOTICE", "template 7 is killed during the import (stop)"),
    (
        pool.TemplateKilled("upgrade", **C),
        "NOTICE",
        "template 7 is killed during the import (upgrade)",
    ),
    (
        pool.TemplateKilled("late", no_stack="no stack: why", **C),
        "WARNING",
        "template 7 has not exited in time (stop), sending SIGKILL to its process group; no stack: why",
    ),
    (pool.ForkFailed("why", **C), "ERROR", "the template cannot fork: why"),
    (pool.ResponderFailed("why", **P), "ERROR", "cannot start the 503 responder: why"),
    (
        pool.Scaled(2, 0, "connections wait", 0, 3, 1, **P),
        "",
        "workers: 2 created (connections wait); there were 0 idle, 3 active, 1 starting",
    ),
    (
        pool.Scaled(0, 1, "idle", 4, 0, 0, **P),
        "",
        "workers: 1 retired (idle); there were 4 idle, 0 active, 0 starting",
    ),
    (
        pool.PoolOverMemory("pm.memory_soft", 2**20, 2**21, **P),
        "WARNING",
        "uses 2.0 MiB of memory, more than pm.memory_soft (1.0 MiB): it keeps one spare worker only",
    ),
    (
        pool.PoolOverMemory("pm.memory_hard", 2**20, 2**21, **P),
        "WARNING",
        "uses 2.0 MiB of memory, more than pm.memory_hard (1.0 MiB): it does not grow, and its largest workers leave",
    ),
    (
        pool.PoolMemoryEased("pm.memory_hard", 2**21, 2**20, **P),
        "NOTICE",
        "uses 1.0 MiB of memory, less than pm.memory_hard (2.0 MiB) again",
    ),
    (
        pool.MaxChildrenReached(5, **P),
        "WARNING",
        "server reached pm.max_children setting (5), consider raising it",
    ),
    (
        pool.PoolBusy(8, 1, 9, **P),
        "WARNING",
        "seems busy (you may need to increase pm.start_servers, or pm.min/max_spare_servers), "
        "spawning 8 children, there are 1 idle, and 9 total children",
    ),
    (pool.WorkerNotCreated("cannot make a worker: why", **P), "ERROR", "cannot make a worker: why"),
    (pool.AccessLogReopened(**P), "NOTICE", "access log file re-opened"),
    (pool.AccessLogFailed("why", **P), "ERROR", "why; keeping the previous file"),
    (pool.SlowLogReopened(**P), "NOTICE", "slowlog file re-opened"),
    (pool.SlowLogFailed("open", "why", "/a", **P), "ERROR", "why; slowlog(/a) stays in use"),
    (pool.SlowLogFailed("open", "why", **P), "ERROR", "why; entries go to the error log"),
    (
        pool.SlowLogFailed("reopen", "/a: why", **P),
        "ERROR",
        "unable to re-open slowlog(/a: why); keeping the previous file",
    ),
    (
        pool.SlowLogFailed("recreate", "why", "/a", **P),
        "ERROR",
        "slowlog(/a) was removed and cannot be recreated: why",
    ),
    (
        pool.SlowLogFailed("write", "why", "/a", **P),
        "ERROR",
        "unable to write to slowlog(/a): why. Entries that cannot be kept are dropped",
    ),
    (pool.SlowLogRecreated("/a", **P), "NOTICE", "slowlog(/a) was removed and has been recreated"),
    (pool.SlowLogRecovered("/a", **P), "NOTICE", "slowlog(/a) is writable again"),
    (pool.StackLogged("a\nb", **C), "NOTICE", "a\nb"),
    (
        pool.SlowRequestsSkipped(200.0, **P),
        "WARNING",
        "more than 200 slow requests at once; logging only some of them",
    ),
    (pool.StacksUnavailable("why", **P), "WARNING", "why"),
    (
        pool.StacksFromInside("why", **P),
        "WARNING",
        "stacks cannot be read from outside: why; processes write their own stacks instead",
    ),
    (worker.WorkerStarted(False, **C), "NOTICE", "child 7 started"),
    (worker.WorkerStarted(True, **C), "DEBUG", "child 7 started"),
    (
        worker.WorkerExited("with code 0", 0, 2.5, "max_requests", **C),
        "NOTICE",
        "child 7 exited with code 0 after 2.500000 seconds from start",
    ),
    (
        worker.WorkerExited("with code 0", 0, 2.5, "idle", **C),
        "DEBUG",
        "child 7 has been killed by the process management after 2.500000 seconds from start",
    ),
    (worker.ProcessDied(CLEAN, 0, **C), "NOTICE", DIED.format("with code 0", IDLE)),
    (worker.ProcessDied(CRASH, 11, **C), "WARNING", DIED.format("on signal 11 (SIGSEGV)", IDLE)),
    (
        worker.ProcessDied(LOST, 0, "app:app", **C),
        "WARNING",
        DIED.format("with code 0", 'request "GET /" for 500 ms (script app:app)'),
    ),
    (worker.ProcessDied(CLEAN, 0, is_logged=True, **C), "", DIED.format("with code 0", IDLE)),
    (
        worker.WorkerKept("max_requests", **C),
        "WARNING",
        "child 7 keeps serving past pm.max_requests: nothing can replace it",
    ),
    (
        worker.WorkerOverMemory(2**21, 2**20, 9, **C),
        "NOTICE",
        "child 7 has used 2.0 MiB of memory, more than pm.max_memory (1.0 MiB); it is replaced after 9 requests",
    ),
    (
        worker.WorkerOverMemory(2**21, 2**20, 9, "GET /\n", **C),
        "NOTICE",
        "child 7 has used 2.0 MiB of memory, more than pm.max_memory (1.0 MiB); it is replaced after request "
        '"GET /\\x0a"',
    ),
    (
        worker.WorkerDiscarded(2**21, 2**20, **C),
        "WARNING",
        "child 7 uses 2.0 MiB of memory, more than pm.max_memory_hard (1.0 MiB); it is idle and is replaced",
    ),
    (
        worker.WorkerKilledForMemory("GET /\n", 2.5, 2**21, 2**20, "", "", **C),
        "WARNING",
        'child 7, request "GET /\\x0a" (2.500000 sec), uses 2.0 MiB of memory, more than pm.max_memory_hard (1.0 MiB), '
        "sending SIGKILL",
    ),
    (
        worker.WorkerKilledForMemory("", 2.5, 2**21, 2**20, "", "no stack: gone", **C),
        "WARNING",
        "child 7 uses 2.0 MiB of memory, more than pm.max_memory_hard (1.0 MiB), sending SIGKILL; no stack: gone",
    ),
    (
        worker.WorkerReclaimed(2**21, "GET /\n", **C),
        "NOTICE",
        'child 7, which uses 2.0 MiB of memory, leaves after request "GET /\\x0a" (pm.memory_hard), and is not '
        "replaced before the pool uses less",
    ),
    (
        worker.WorkerReclaimed(2**21, "", **C),
        "NOTICE",
        "child 7, which uses 2.0 MiB of memory, leaves now (pm.memory_hard), and is not replaced before the pool uses "
        "less",
    ),
    (
        worker.MemoryLimitLow(2**20, 2, 3.0, **C),
        "WARNING",
        "pm.max_memory (1.0 MiB) seems to be less than the application needs: child 7 has exceeded it after 2 requests "
        "and 3.0 s, consider raising it",
    ),
    (
        worker.MemoryLimitNotApplied(2**21, 2**20, **C),
        "WARNING",
        "child 7 uses 2.0 MiB of memory right after its start, more than pm.max_memory (1.0 MiB), which is not "
        "applied to such workers: each would exit after one request. Set it well above the size of the application",
    ),
    (
        worker.WorkerSignalled("SIGTERM", "idle", **C),
        "WARNING",
        "child 7 has not exited in time (idle), sending SIGTERM",
    ),
    (
        worker.WorkerSignalled("SIGKILL", "", "GET /\n", "reading the body", "no stack: why", **C),
        "WARNING",
        r'child 7, request "GET /\x0a" has not exited in time (it has closed its channel), sending SIGKILL '
        "(reading the body); no stack: why",
    ),
    (
        worker.SigtermIgnored("background_timeout", **C),
        "WARNING",
        "child 7 has not exited on SIGTERM (background_timeout), sending SIGKILL",
    ),
    (
        worker.SigkillPending(**C),
        "WARNING",
        "child 7 does not exit on SIGKILL: it is in uninterruptible sleep (state D, see proc(5))",
    ),
    (
        worker.StrangerRejected(**C),
        "WARNING",
        "process 7 sent a message as a worker but is not one; disconnecting it",
    ),
    (
        worker.IdentityChanged(0, 42, **C),
        "WARNING",
        "process 7 is no longer its pool's user's (it is uid 0 gid 42 now: a setuid program, see no_new_privs); "
        "it is neither signalled nor looked at",
    ),
    (worker.MessageRefused("worker", "why", **C), "WARNING", "child 7 has sent a message that is refused: why"),
    (worker.MessageRefused("template", "why", **C), "WARNING", "the template has sent a message that is refused: why"),
    (worker.WorkerLogged("error", "a\nb", **C), "ERROR", "child 7: a\nb"),
    (worker.WorkerLogged("notice", "a", "GET /", **C), "NOTICE", "child 7, GET /: a"),
    (worker.ProcessOutput("worker", "stdout", "{x}", **C), "WARNING", 'child 7 said into stdout: "{x}"'),
    (
        worker.ProcessOutput("worker", "stderr", "x", is_closed=True, **C),
        "WARNING",
        'child 7 said into stderr: "x", pipe is closed',
    ),
    (worker.ProcessOutput("worker", "stderr", "{x}", is_decorated=False, **C), "", "{x}"),
    (worker.ProcessOutput("template", "stderr", "x", **C), "WARNING", 'template said into stderr: "x"'),
    (
        worker.RequestSlow("/a.py", "GET /", 1.5, **C),
        "WARNING",
        "child 7, script '/a.py' (request: \"GET /\") executing too slow (1.500000 sec), logging",
    ),
    (
        worker.RequestSlow("/a.py", "GET /\n", 1.5, "sending", **C),
        "WARNING",
        "child 7, script '/a.py' (request: \"GET /\\x0a\") executing too slow (1.500000 sec), logging (sending)",
    ),
    (worker.SlowRequestEnded("GET /", 2.0, **C), "", 'child 7, request "GET /" took 2.000000 sec'),
    (
        worker.RequestTimedOut(
            "/a.py", "GET /", 1.5, "request_terminate_timeout", "terminating", no_stack="no stack: why", **C
        ),
        "WARNING",
        "child 7, script '/a.py' (request: \"GET /\") execution timed out (1.500000 sec), terminating; no stack: why",
    ),
    (
        worker.RequestTimedOut("/a.py", "GET /", 1.5, "request_terminate_timeout", "interrupting", "sending", **C),
        "WARNING",
        "child 7, script '/a.py' (request: \"GET /\") execution timed out (1.500000 sec), interrupting (sending)",
    ),
    (
        worker.RequestCutOff("GET /", 1.5, "stop", **C),
        "NOTICE",
        'child 7, request "GET /" is cut off after 1.500000 sec (stop)',
    ),
]


@pytest.mark.parametrize(("event", "level", "text"), LINES, ids=[event.kind for event, _, _ in LINES])
def test_each_event_has_a_line(event: Event, level: str, text: str) -> None:
    described = describe(event, 12.5)
    assert (described.level, described.text, described.time) == (level, text, 12.5)
    assert described == event
    assert described.is_problem == (level in ("WARNING", "ERROR", "ALERT"))


def test_no_event_is_without_a_line() -> None:
    assert set(TABLE) == set(CLASSES.values())
    assert {type(event) for event, _, _ in LINES} == set(TABLE)


@pytest.mark.parametrize("event", [event for event, _, _ in LINES], ids=lambda event: event.kind)
def test_json_gives_the_same_event(event: Event) -> None:
    described = describe(event, 12.5)
    back = unpack_event(pack_event(described))
    assert type(back) is type(event)
    assert [getattr(back, field.name) for field in fields(back)] == [
        getattr(described, field.name) for field in fields(described)
    ]


def test_what_is_of_a_pool_names_it() -> None:
    for module in (pool, worker):
        for event in vars(module).values():
            if isinstance(event, type) and issubclass(event, Event) and event.__module__ == module.__name__:
                assert issubclass(event, PoolEvent)
    with pytest.raises(TypeError, match="pool"):
        pool.SwapStalled()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="pid"):
        worker.SigkillPending(pool="www")  # type: ignore[call-arg]
    assert issubclass(worker.WorkerStarted, ProcessEvent)
    assert (pool_prefix("www"), pool_prefix("")) == ("[pool www] ", "")


CHANGES: list[Mapping[str, object]] = [
    {"v": 2},
    {"event": "no_such_event"},
    {"event": "event"},
    {"pid": "7"},
    {"pid": True},
    {"pool": None},
    {"failed": "www"},
    {"failed": [1]},
]


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_other_json_is_refused(change: Mapping[str, object]) -> None:
    message = json.loads(pack_event(describe(master.MasterReady(("www",)), 1.0)))
    assert unpack_event(json.dumps(message))
    with pytest.raises(MessageError):
        unpack_event(json.dumps(message | change))


@given(st.text() | st.binary())
def test_any_other_line_is_refused(line: str | bytes) -> None:
    with pytest.raises(MessageError):
        unpack_event(line)


@given(st.text())
def test_what_an_application_writes_stays_in_its_field(line: str) -> None:
    for is_decorated in (True, False):
        event = worker.ProcessOutput("worker", "stdout", line, is_decorated, pool="www", pid=7)
        packed = pack_event(describe(event, 1.0))
        assert packed.count(b"\n") == 1
        assert unpack_event(packed) == event


SOURCES = sorted((Path(__file__).parents[2] / "fpm").rglob("*.py"))


def test_the_name_of_a_pool_is_put_before_a_line_in_one_place() -> None:
    found = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr) and any(
                "[pool " in str(getattr(part, "value", "")) for part in node.values
            ):
                found.add(path.name)
    assert found == {"lines.py", "format.py"}, "the error log, and the head of an entry of the slow log"


def test_the_master_logs_by_events_alone() -> None:
    sentences = {"debug", "notice", "warning", "error", "alert", "log", "raw"}
    for path in SOURCES:
        if "master" not in path.parts or path.name == "core.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in sentences:
                assert not ast.unparse(node.func.value).endswith("log"), f"{path}:{node.lineno}"
