"""`pyfpm upgrade`: the master's program is exchanged, and nobody notices."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from importlib.metadata import version
from pathlib import Path

import psutil
import pytest

from tests.support import raw_fastcgi as raw
from tests.support.installation import Installation
from tests.support.load import Load
from tests.support.reloads import expect_told
from tests.support.waiting import wait_until


def test_everything_stays_but_the_program(daemon):
    ondemand = {"pm": "ondemand", "pm.process_idle_timeout": "10m"}
    fpm = daemon({"www": {"pm.max_children": 2, "pm.status_path": "/status"}, "od": ondemand})
    first = fpm.wait_workers("www", 2)
    assert fpm.get("www").status == 200
    assert fpm.get("od").status == 200
    asleep = fpm.workers("od")
    pid, begun = fpm.pid, psutil.Process(fpm.pid).create_time()
    for _ in range(3):
        done = fpm.cli("upgrade")
        assert (done.returncode, done.stderr) == (0, f"pyfpm {version('python-fpm')} is running\n")
        fpm.wait_notify("READY=1")
    assert fpm.pid == pid
    assert psutil.Process(pid).create_time() == begun
    assert (fpm.workers("www"), fpm.workers("od")) == (first, asleep)
    assert fpm.get("www").status == 200
    page = fpm.get("www", "/status").body.decode()
    assert "accepted conn:        3\n" in page  # two before, and the status itself
    assert len(fpm.log().split("upgraded to pyfpm")) == 4


def test_descriptors_do_not_grow(daemon):
    fpm = daemon({"www": {"pm.max_children": 2}})
    fpm.wait_workers("www", 2)
    assert fpm.cli("upgrade").returncode == 0
    with fpm.no_descriptor_leak():
        for _ in range(3):
            assert fpm.cli("upgrade").returncode == 0


def test_no_request_is_lost(daemon):
    fpm = daemon({"www": {"pm.max_children": 3}, "slow": {"app": "slow:application", "pm.max_children": 2}})
    fpm.wait_workers("www", 3)
    stop, failures, answered = threading.Event(), [], []

    def client() -> None:
        end = time.monotonic() + 30
        while not stop.is_set() and time.monotonic() < end:
            try:
                reply = fpm.get("www")
                if reply.status != 200:
                    failures.append(reply.status)
            except OSError as error:
                failures.append(error)
            answered.append(1)

    slow: list[int] = []
    waiting = threading.Thread(target=lambda: slow.append(fpm.get("slow", query="2.5").status))
    clients = [threading.Thread(target=client) for _ in range(3)]
    for thread in (waiting, *clients):
        thread.start()
    wait_until(lambda: len(answered) > 50)
    for _ in range(3):
        assert fpm.cli("upgrade").returncode == 0
        count = len(answered)
        wait_until(lambda count=count: len(answered) > count + 20)
    stop.set()
    for thread in (waiting, *clients):
        thread.join()
    assert failures == []
    assert slow == [200]


def test_the_new_program_does_all_that_the_old_one_did(daemon):
    fpm = daemon({"www": {"pm.max_children": 2, "app": "noisy:application"}})
    fpm.wait_workers("www", 2)
    assert fpm.cli("upgrade").returncode == 0
    # a crash is replaced, and its exit status known
    victim = fpm.workers("www")[0]
    os.kill(victim, signal.SIGKILL)
    fpm.expect_log("exited on signal 9", "said into")
    fpm.wait_log(rf"child {victim} exited on signal 9 \(SIGKILL\)")
    workers = fpm.wait_workers("www", 2)
    # the template of before the upgrade still forks; a reload makes a new one
    template = fpm.processes("pyfpm: template www")[0].pid
    assert fpm.cli("reload").returncode == 0
    wait_until(lambda: not set(workers) & set(fpm.workers("www")))
    wait_until(lambda: [p.pid for p in fpm.processes("pyfpm: template www")] != [template])
    fpm.signal(signal.SIGUSR1)
    fpm.wait_log("log file re-opened")


def test_pools_get_the_limits_that_the_first_master_was_started_with(daemon):
    """Each master raises its own as far as it may."""
    fpm = daemon({"www": {}}, started=False)
    prlimit = shutil.which("prlimit")
    assert prlimit is not None, "it is part of util-linux"
    fpm.start(wrapper=[prlimit, "--nofile=700:5000"])
    assert open_files(fpm.pid) == ["5000", "5000"]
    for _ in range(2):
        assert fpm.cli("upgrade").returncode == 0
        (former,) = fpm.workers("www")
        assert fpm.cli("reload").returncode == 0
        wait_until(lambda former=former: former not in fpm.workers("www"))
        (worker,) = fpm.workers("www")
        assert open_files(worker) == ["700", "5000"]


def open_files(pid: int) -> list[str]:
    """RLIMIT_NOFILE of a process, soft and hard."""
    (line,) = [
        line for line in Path(f"/proc/{pid}/limits").read_text().splitlines() if line.startswith("Max open files")
    ]
    return line.split()[3:5]


def test_workers_whose_template_is_gone_are_kept(daemon):
    fpm = daemon({"www": {"pm.max_children": 2}})
    workers = fpm.wait_workers("www", 2)
    fpm.expect_log("template .* exited on signal 9", "exited on signal 9")
    template = fpm.processes("pyfpm: template www")[0]
    template.kill()
    fpm.wait_log("a new template is started")
    wait_until(lambda: [p.pid for p in fpm.processes("pyfpm: template www")] not in ([], [template.pid]))
    assert fpm.cli("upgrade").returncode == 0
    assert fpm.workers("www") == workers
    os.kill(workers[0], signal.SIGKILL)
    fpm.wait_log(rf"child {workers[0]} exited on signal 9")
    fpm.wait_workers("www", 2)


def test_a_failed_pool_is_tried_again(daemon):
    fpm = daemon({"www": {}, "bad": {"app": "broken_import:application"}})
    fpm.expect_log(r"\[pool bad\]")
    assert raw.get(fpm.address("bad")).status == 503
    assert fpm.cli("upgrade").returncode == 0
    wait_until(lambda: raw.get(fpm.address("bad")).status == 503)
    assert "has failed" in fpm.cli("status").stderr
    (fpm.apps / "broken_import.py").write_text("from hello import application\n")
    wait_until(lambda: raw.get(fpm.address("bad")).status == 200)


def test_an_edited_configuration_is_refused(daemon):
    fpm = daemon({"www": {}})
    fpm.configure({"www": {"pm.max_children": 2}})
    fpm.expect_log("upgrade failed", r"\[www\] pm")
    done = fpm.cli("upgrade")
    assert done.returncode == 1
    assert "run `pyfpm reload` first" in done.stderr
    fpm.configure({"www": {"pm": "sometimes"}})
    done = fpm.cli("upgrade")
    assert done.returncode == 1
    assert "[www] pm: " in done.stderr
    assert fpm.get("www").status == 200


@pytest.mark.parametrize("trouble", ["raise SystemError('half installed')", "import os; os._exit(3)", "1 +"])
def test_a_broken_installation_is_refused(daemon, tmp_path, trouble):
    """An installation of its own, in a directory that no interpreter knows, is broken while it runs."""
    installed = Installation(tmp_path)
    fpm = daemon({"www": {}}, started=False).start(wrapper=installed.wrapper)
    assert fpm.cli("upgrade").returncode == 0
    (installed.package / "__init__.py").write_text(trouble + "\n")
    master = psutil.Process(fpm.pid).create_time()
    done = fpm.cli("upgrade")
    assert done.returncode == 1
    assert "the installed program cannot take over, the present one goes on" in done.stderr
    expect_told(fpm, done.stderr)
    assert psutil.Process(fpm.pid).create_time() == master
    assert fpm.get("www").status == 200


def test_versions_with_other_directives(daemon, tmp_path):
    """The next version has directives, numbers and fields of messages more; then the former one is installed again."""
    installed = Installation(tmp_path)
    pools = {"www": {"pm.max_children": 3}, "od": {"pm": "ondemand", "pm.process_idle_timeout": "10m"}}
    fpm = daemon(pools, started=False).start(wrapper=installed.wrapper)
    fpm.wait_workers("www", 3)
    assert fpm.get("od").status == 200
    with Load(fpm.address("www"), clients=3) as load:
        wait_until(lambda: len(load.replies) > 20)
        for install in (installed.install_next, installed.install_present):
            install()
            workers = fpm.workers("www")
            done = fpm.cli("upgrade")
            assert done.returncode == 0, done.stderr
            assert fpm.workers("www") == workers
            # What runs by the former version's code does all that it did: templates fork, workers are told things.
            fpm.signal(signal.SIGUSR1)
            assert fpm.cli("status", "www").returncode == 0
            fpm.expect_log("exited on signal 9", "said into")
            os.kill(workers[0], signal.SIGKILL)
            wait_until(lambda workers=workers: workers[0] not in fpm.workers("www"))
            fpm.wait_workers("www", 3)
            # And the next generation serves by this one's.
            assert fpm.cli("reload").returncode == 0
            wait_until(lambda workers=workers: not set(workers) & set(fpm.workers("www")))
            fpm.wait_workers("www", 3)
            count = len(load.replies)
            wait_until(lambda count=count: len(load.replies) > count + 20)
    # A worker that is killed takes its request with it, if it has one.
    assert [error for error in load.errors if "cut off" not in error] == []
    assert {reply.status for reply in load.replies} == {200}


def test_a_value_that_another_version_reads_differently(daemon, tmp_path):
    """Nothing has changed then, and what is said helps: after that it works, and loses no request."""
    installed = Installation(tmp_path)
    pools = {"www": {"pm.max_children": 2}, "shop": {}}
    fpm = daemon(pools, started=False).start(wrapper=installed.wrapper)
    workers = fpm.wait_workers("www", 2)
    installed.change("config/tables/manager.py", '            "32",\n', '            "64",\n')
    with Load(fpm.address("www")) as load:
        wait_until(lambda: len(load.replies) > 20)
        done = fpm.cli("upgrade")
        assert done.returncode == 1
        assert "[www] [shop] pm.max_spawn_rate is 32 in the running version, and 64 in this one" in done.stderr
        expect_told(fpm, done.stderr)
        assert fpm.workers("www") == workers
        fpm.configure({name: {**pool, "pm.max_spawn_rate": 32} for name, pool in pools.items()})
        assert fpm.cli("reload").returncode == 0
        done = fpm.cli("upgrade")
        assert done.returncode == 0, done.stderr
        count = len(load.replies)
        wait_until(lambda: len(load.replies) > count + 20)
    load.no_loss()


def test_files_that_are_edited_in_the_very_moment(daemon, tmp_path):
    """The master has been replaced then, and nobody else has its pools: the next reload says what is wrong."""
    installed = Installation(tmp_path)
    fpm = daemon({"www": {"pm.max_children": 2}}, started=False).start(wrapper=installed.wrapper)
    workers = fpm.wait_workers("www", 2)
    kept = "            keep_reading(reading, config)\n"
    edit = f"            open({str(fpm.config_file)!r}, 'a').write('pm = sometimes\\n')\n"
    installed.change("cli/daemon.py", kept, kept + edit)
    done = fpm.cli("upgrade")
    assert done.returncode == 0, done.stderr
    assert fpm.workers("www") == workers
    fpm.expect_log("pm: ")
    assert "sometimes" in fpm.cli("reload").stderr
    assert fpm.get("www").status == 200


def test_a_reload_while_the_installed_program_is_asked(daemon, tmp_path):
    installed = Installation(tmp_path)
    fpm = daemon({"www": {"app": "slow:application"}}, started=False).start(wrapper=installed.wrapper)
    check, asked, go = "        check_handed(handed, config)\n", tmp_path / "asked", tmp_path / "go"
    wait = f"        while not os.path.exists({str(go)!r}): __import__('time').sleep(0.02)\n"
    installed.change("cli/daemon.py", check, f"{check}        open({str(asked)!r}, 'w')\n{wait}")
    upgrade = fpm.begin("upgrade")
    wait_until(asked.exists)
    assert fpm.cli("reload").returncode == 0
    go.touch()
    fpm.expect_log("upgrade failed")
    _, said = upgrade.communicate(timeout=60)
    assert upgrade.returncode == 1
    assert "a stop or a reload has begun meanwhile; try again" in said
    assert fpm.get("www", query="0").status == 200


def test_in_the_background(daemon):
    fpm = daemon({"www": {}}, started=False)
    log = fpm.directory / "error.log"
    fpm.configure({"www": {}}, global_={"error_log": log})
    assert fpm.start_background().returncode == 0
    assert fpm.cli("upgrade").returncode == 0
    assert fpm.get("www").status == 200
    assert "upgraded to pyfpm" in log.read_text()


def test_stop_right_after(daemon):
    fpm = daemon({"www": {"pm.max_children": 2}})
    assert fpm.cli("upgrade").returncode == 0
    assert fpm.cli("stop").returncode == 0
    assert fpm.wait() == 0
