"""`pyfpm upgrade` to an installation that is broken, of another version, or changes in that moment."""

from __future__ import annotations

import os
import signal

import psutil
import pytest

from tests.support.installation import Installation
from tests.support.load import Load
from tests.support.reloads import expect_told
from tests.support.waiting import wait_until


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
    # Each of the two workers that are killed takes its request with it, if it has one, be it read or not.
    assert len(load.errors) <= 2, load.errors
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
