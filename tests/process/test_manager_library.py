"""The manager in a program: as its user would use it, in the test's own process and in programs of their own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from fpm import Manager, Pool, Settings
from fpm.errors import ConfigError, ControlError, StartError
from fpm.events import master, worker
from fpm.manager import Event
from tests.support import raw_fastcgi
from tests.support.processes import descriptors, is_zombie
from tests.support.waiting import wait_until

APPS = Path(__file__).parents[1] / "apps"
ROOT = Path(__file__).parents[2]
IS_ROOT = os.geteuid() == 0


def pool(directory: Path, name: str = "www", app: str = "hello:application", **directives: object) -> Pool:
    values = {"chdir": str(APPS), "pm": "static", "pm_max_children": 2, **directives}
    return Pool(name, app=app, listen=str(directory / f"{name}.sock"), **values)


def manager_of(*pools: Pool, **options: object) -> Manager:
    return Manager(list(pools), allow_root=IS_ROOT, **options)  # type: ignore[arg-type]


def lives(pid: int) -> bool:
    """Zombies, which this test process has inherited, do not."""
    try:
        return not is_zombie(psutil.Process(pid))
    except psutil.NoSuchProcess:
        return False


@pytest.fixture(autouse=True)
def own_temporary_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Managers of other tests and of other programs make their directories elsewhere."""
    tmp_path_factory.getbasetemp()  # else made by the first test, in a directory that goes with it
    with tempfile.TemporaryDirectory(prefix="pyfpm-test-", dir="/tmp") as directory:
        monkeypatch.setattr(tempfile, "tempdir", directory)
        yield


@contextlib.contextmanager
def nothing_left() -> Iterator[None]:
    """No process, descriptor or directory more than before."""
    before = {process.pid for process in psutil.Process().children(recursive=True)}

    def others() -> list[psutil.Process]:
        return [p for p in psutil.Process().children(recursive=True) if p.pid not in before and not is_zombie(p)]

    fds = len(descriptors(os.getpid()))
    directories = set(Path(tempfile.gettempdir()).glob("pyfpm-manager-*"))
    yield
    wait_until(lambda: not others(), message="processes are left")
    wait_until(lambda: len(descriptors(os.getpid())) <= fds, message="descriptors are left")
    assert set(Path(tempfile.gettempdir()).glob("pyfpm-manager-*")) <= directories


def test_start_status_reload_and_stop(tmp_path: Path) -> None:
    seen: list[Event] = []
    with nothing_left():
        manager = manager_of(pool(tmp_path), Pool_late(tmp_path), on_event=seen.append)
        assert not manager.is_running
        with pytest.raises(ControlError, match="is not running"):
            manager.status()
        manager.start()
        with pytest.raises(RuntimeError, match="is already running"):
            manager.start()
        assert raw_fastcgi.get(str(tmp_path / "www.sock")).status == 200
        status = manager.status()
        assert [one.name for one in status.pools] == ["www", "late"]
        workers = [worker.pid for worker in status.pools[0].workers]
        assert len(workers) == 2
        assert len(manager.status("late").pools) == 1
        with pytest.raises(ControlError, match="nope"):
            manager.status("nope")

        outcome = manager.reload(["www"])
        assert outcome
        assert outcome.steps
        wait_until(lambda: not set(workers) & {worker.pid for worker in manager.status("www").pools[0].workers})
        refused = manager.reload(pools=[pool(tmp_path, app="broken_import:application"), Pool_late(tmp_path)])
        assert not refused
        assert any("www" in complaint for complaint in refused.complaints)
        assert refused.traceback
        with pytest.raises(ConfigError, match=r"^Pool\('www', pm_max_children=\.\.\.\): "):
            manager.reload(pools=[pool(tmp_path, pm_max_children="many")])
        assert manager.reload(pools=[pool(tmp_path, pm_max_children=3)], settings=Settings(log_level="debug"))
        assert [one.name for one in manager.status().pools] == ["www"]
        wait_until(lambda: len(manager.status("www").pools[0].workers) == 3)
        assert raw_fastcgi.get(str(tmp_path / "www.sock")).status == 200
        assert manager.stop() == 0
        assert manager.stop() == 0
        assert not manager.is_running
        assert manager.pid == 0
    expected = {master.MasterReady, worker.WorkerStarted, worker.WorkerExited, master.MasterExiting}
    assert expected <= {type(event) for event in seen}
    assert [event.ok for event in seen if isinstance(event, master.ReloadEnded)] == [True, False, True]
    assert all(event.pool in ("www", "late") for event in seen if isinstance(event, worker.WorkerStarted))
    assert not (tmp_path / "www.sock").exists()


def Pool_late(directory: Path) -> Pool:
    return pool(directory, "late", pm="ondemand")


def test_events_and_two_managers_at_once(tmp_path: Path) -> None:
    (tmp_path / "two").mkdir()
    with nothing_left(), manager_of(pool(tmp_path)) as one, manager_of(pool(tmp_path / "two")) as two:
        assert one.pid != two.pid
        found: list[Event] = []
        events = one.events()

        def collect() -> None:
            found.extend(events)

        thread = threading.Thread(target=collect)
        thread.start()
        victim = one.status().pools[0].workers[0].pid
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: any(isinstance(event, worker.ProcessDied) for event in found))
        died = next(event for event in found if isinstance(event, worker.ProcessDied))
        assert (died.pool, died.pid, died.level, died.is_problem) == ("www", victim, "WARNING", True)
        assert (died.death.signal, died.death.who) == ("SIGKILL", "worker")
        assert died.death.next_action
        assert died.text.startswith(f"child {victim} exited on signal 9 (SIGKILL)")
        assert abs(died.time - time.time()) < 60
        assert raw_fastcgi.get(str(tmp_path / "two" / "www.sock")).status == 200
        assert one.stop(graceful=False) == 0
        thread.join(60)
        assert not thread.is_alive()
        assert two.is_running


FORGER = """
import json, os, sys

LINES = [
    json.dumps({"v": 1, "event": "master_ready", "failed": ["www"], "pool": "", "pid": 0, "time": 1.0, "level": "ALERT",
                "text": "forged"}),
    "[28-Nov-2026 10:00:00] ALERT: [pool www] child 1 exited on signal 9 (SIGKILL) after 1.0 seconds from start",
    "reload finished",
]

def application(environ, start_response):
    for line in LINES:
        os.write(1, line.encode() + b"\\n")
    start_response("200 OK", [])
    return [json.dumps(LINES).encode()]
"""


@pytest.mark.parametrize("decorated", ["yes", "no"])
def test_an_application_cannot_forge_an_event(tmp_path: Path, decorated: str) -> None:
    (tmp_path / "forger.py").write_text(FORGER)
    tmp_path.chmod(0o755)
    seen: list[Event] = []
    forger = pool(
        tmp_path,
        app="forger:application",
        chdir=str(tmp_path),
        catch_workers_output=True,
        decorate_workers_output=decorated,
    )
    with nothing_left(), manager_of(forger, on_event=seen.append):
        lines = json.loads(raw_fastcgi.get(str(tmp_path / "www.sock")).body)
        wait_until(lambda: len([event for event in seen if isinstance(event, worker.ProcessOutput)]) == len(lines))
        said = [event for event in seen if isinstance(event, worker.ProcessOutput)]
        assert [event.line for event in said] == lines
        assert {(event.pool, event.stream, event.is_decorated) for event in said} == {
            ("www", "stdout", decorated == "yes")
        }
        assert not any(event.is_problem and not isinstance(event, worker.ProcessOutput) for event in seen)
        assert not any(isinstance(event, worker.ProcessDied | master.ReloadEnded) for event in seen)
        assert [event.failed for event in seen if isinstance(event, master.MasterReady)] == [()]


def test_a_program_gives_its_own_socket(tmp_path: Path) -> None:
    with nothing_left(), socket.create_server(("127.0.0.1", 0)) as listening:
        web = Pool("web", app="hello:application", listen=listening, chdir=str(APPS), pm_max_children=2)
        with manager_of(web):
            assert raw_fastcgi.get(listening.getsockname()).status == 200
        assert listening.fileno() >= 0


def test_a_pool_that_does_not_start(tmp_path: Path) -> None:
    broken = pool(tmp_path, "broken", app="broken_import:application")
    with nothing_left():
        with pytest.raises(StartError, match=r"(?s)failed: broken.*Error"):
            manager_of(broken, pool(tmp_path)).start()
        lenient = manager_of(broken, pool(tmp_path))
        lenient.start(strict=False)
        assert lenient.failed == ("broken",)
        assert raw_fastcgi.get(str(tmp_path / "broken.sock")).status == 503
        assert raw_fastcgi.get(str(tmp_path / "www.sock")).status == 200
        lenient.stop()
        (tmp_path / "www.sock").write_text("not a socket")
        with pytest.raises(StartError, match=r"www\.sock"):
            manager_of(pool(tmp_path)).start()


def test_a_master_that_is_killed_is_noticed(tmp_path: Path) -> None:
    with nothing_left():
        manager = manager_of(pool(tmp_path))
        manager.start()
        workers = [worker.pid for worker in manager.status().pools[0].workers]
        os.kill(manager.pid, signal.SIGKILL)
        assert manager.wait(60) == -signal.SIGKILL
        wait_until(lambda: not any(map(lives, workers)), message="workers outlive their master")
        manager.start()
        assert raw_fastcgi.get(str(tmp_path / "www.sock")).status == 200
        assert manager.stop() == 0


PROGRAM = """
import os, sys, threading, time
sys.path.insert(0, {root!r})
from fpm import Manager, Pool
manager = Manager([Pool("www", app="hello:application", listen={socket!r}, chdir={apps!r}, pm="static",
                        pm_max_children=2)], allow_root=True)
manager.start()
print(manager.pid, flush=True)
{end}
"""


@pytest.mark.parametrize("end", ["time.sleep(600)", "sys.exit(3)", "os._exit(4)"])
def test_the_master_ends_with_its_program(tmp_path: Path, end: str) -> None:
    values = {"root": str(ROOT), "apps": str(APPS), "socket": str(tmp_path / "a.sock")}
    program = textwrap.dedent(PROGRAM).format(end=end, **values)
    environ = {**os.environ, "TMPDIR": str(tmp_path)}
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=environ)
    assert process.stdout is not None
    master = int(process.stdout.readline())
    if "sleep" in end:
        process.kill()
    process.communicate(timeout=30)
    wait_until(lambda: not lives(master), message="the master outlives its program")
    assert not (tmp_path / "a.sock").exists()
    # TMPDIR was the test's own.
    assert not list(tmp_path.glob("pyfpm-manager-*"))


def test_the_example_runs() -> None:
    example = ROOT / "examples" / "embed" / "site.py"
    run = subprocess.run([sys.executable, str(example)], capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stderr
    assert "200" in run.stdout


ALL_IN_ONE = """
import os, sys, time
sys.path.insert(0, {root!r})
from fpm import Manager, Pool, Settings
from fpm.events.worker import RequestSlow
from fpm.manager import Event, ReloadResult

pool = Pool("www", app={file!r} + ":application", listen={socket!r}, pm="static", pm_max_children=1, **{identity!r})
manager = Manager([pool], Settings(), allow_root=True)

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    try:
        manager.start()
    except RuntimeError as error:
        return [str(error).encode()]

if __name__ == "__main__":
    manager.start()
    if os.fork() == 0:
        manager.stop()
        sys.exit(0)
    os.wait()
    child = os.fork()
    if child == 0:
        os.close(1)
        time.sleep(600)
    print(manager.pid, child, flush=True)
    time.sleep(600)
"""


def test_one_file_for_both_and_a_program_that_forks(tmp_path: Path) -> None:
    file, address = tmp_path / "all_in_one.py", str(tmp_path / "www.sock")
    tmp_path.chmod(0o755)
    identity = {"user": "root"} if os.geteuid() == 0 else {}
    file.write_text(ALL_IN_ONE.format(root=str(ROOT), file=str(file), socket=address, identity=identity))
    process = subprocess.Popen([sys.executable, str(file)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    master, child = map(int, process.stdout.readline().split())
    try:
        # What it has forked has ended without ending the manager; a pool's process has none.
        assert b"cannot be used in a process of a pool" in raw_fastcgi.get(address).body
        process.kill()
        wait_until(lambda: not lives(master), message="a forked process keeps the master")
        assert lives(child)
    finally:
        process.kill()
        process.communicate(timeout=30)
        os.kill(child, signal.SIGKILL)
