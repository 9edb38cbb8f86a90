"""How processes of an application end: as Python ends a program, each with what it has begun itself."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil
import pytest

from tests.support.fpm import Daemon, Start
from tests.support.pools import free_port, write_app
from tests.support.processes import lives
from tests.support.waiting import wait_until

ORDINARY = """
import atexit, os, tempfile, threading, weakref
from concurrent.futures import ThreadPoolExecutor

executor = ThreadPoolExecutor(2)
shared = tempfile.TemporaryDirectory(prefix="shared-", dir=os.environ["SHARED"])
template = os.getpid()
class Thing:
    pass
thing = Thing()
weakref.finalize(thing, lambda: say("finalizer of the import"))

def say(text):
    print(text, "in the template" if os.getpid() == template else "in a worker", flush=True)

atexit.register(say, "handler of the import")
own = []

def application(environ, start_response):
    executor.submit(sum, [1, 2]).result()
    if not own:
        own.append(Thing())
        weakref.finalize(own[0], say, "finalizer of a request")
        atexit.register(say, "handler of a request")
        threading.Thread(target=say, args=["thread of a request"]).start()
    start_response("200 OK", [])
    return [b"%d" % len(os.listdir(shared.name))]
"""

STARTING = """
import multiprocessing, os, subprocess, sys, time
child = subprocess.Popen(["sleep", "1000"], start_new_session=True)
shell = subprocess.Popen(["sh", "-c", "sleep 1000; true"])
def wait():
    time.sleep(1000)
process = multiprocessing.get_context("fork").Process(target=wait)
process.start()

def application(environ, start_response):
    start_response("200 OK", [])
    return [b"%d %d %d" % (child.pid, shell.pid, process.pid)]
"""

BUSY = """
import threading, time

def application(environ, start_response):
    threading.Thread(target=time.sleep, args=[1000]).start()
    start_response("200 OK", [])
    return []
"""


def shared(fpm: Daemon) -> set[Path]:
    return set((fpm.directory / "shared").iterdir())


def test_each_process_ends_what_it_has_begun(daemon: Start) -> None:
    fpm = daemon({"www": {}}, started=False)
    (fpm.directory / "shared").mkdir()
    (fpm.directory / "shared").chmod(0o777)
    write_app(fpm, "ordinary", ORDINARY)
    pool = {"app": "ordinary:application", "pm.max_requests": 2, "pm.max_requests_jitter": 0, "pm.max_children": 2}
    fpm.configure({"www": {**pool, "env[SHARED]": fpm.directory / "shared", "preload": "yes"}})
    fpm.start()
    (first,) = shared(fpm)
    for _ in range(8):
        assert fpm.get("www").body == b"0"
    for what in ("thread", "finalizer", "handler"):
        fpm.wait_log(f"{what} of a request in a worker")
    fpm.wait_workers("www", 2)
    assert "of the import" not in fpm.log()
    assert shared(fpm) == {first}
    fpm.cli("reload", "www")
    # The generation has ended, and once.
    wait_until(lambda: first not in shared(fpm))
    for what in ("finalizer", "handler"):
        fpm.wait_log(f"{what} of the import in the template")
        assert fpm.log().count(f"{what} of the import in the template") == 1
    assert "of the import in a worker" not in fpm.log()
    assert len(shared(fpm)) == 1
    assert fpm.get("www").body == b"0"


@pytest.mark.parametrize("preload", ["yes", "no"])
def test_processes_of_the_import_end_with_their_generation(daemon: Start, preload: str) -> None:
    fpm = daemon({"www": {}}, started=False)
    write_app(fpm, "starting", STARTING)
    fpm.configure({"www": {"app": "starting:application", "preload": preload}})
    fpm.expect_log('said into stderr: "Terminated"')  # by a shell
    fpm.start()
    started = [int(pid) for pid in fpm.get("www").body.split()]
    started += [child.pid for pid in started for child in psutil.Process(pid).children()]
    assert all(psutil.pid_exists(pid) for pid in started)
    fpm.cli("reload", "www")
    wait_until(lambda: not any(psutil.pid_exists(pid) for pid in started))
    assert fpm.get("www").status == 200


def test_no_process_waits_for_threads_when_the_master_is_gone(daemon: Start) -> None:
    fpm = daemon({"www": {"pm.max_children": 2}}, started=False)
    write_app(fpm, "busy", BUSY)
    fpm.configure({"www": {"app": "busy:application", "pm.max_children": 2}})
    fpm.start()
    for _ in range(4):
        assert fpm.get("www").status == 200
    family = fpm.processes()
    fpm.expected_exit = -signal.SIGKILL
    os.kill(fpm.pid, signal.SIGKILL)
    wait_until(lambda: not any(lives(process) for process in family))


def test_ports_and_random_generators_of_the_import_are_told(daemon: Start) -> None:
    fpm = daemon({"www": {}}, started=False)
    port = free_port()
    source = f"""
    import random, socket
    from hello import application
    generator = random.Random()
    listener = socket.socket()
    listener.bind(("127.0.0.1", {port})); listener.listen()
    """
    write_app(fpm, "binding", source)
    fpm.configure({"www": {"app": "binding:application"}})
    fpm.start()
    fpm.wait_log(rf"the application listens on 127.0.0.1:{port} since its import. A reload imports it again")
    fpm.wait_log(r"random generators made at import \(binding.generator\) give every worker the same numbers")
    fpm.expect_log(r"reload failed", r"ERROR: (\[pool www\] )?( |Traceback|OSError)")
    reload = fpm.cli("reload", "www")
    assert reload.returncode == 1
    assert f'binding.py:6: listener.bind(("127.0.0.1", {port}))' in reload.stderr
    assert "another process of this pool has bound it at its own import" in reload.stderr
