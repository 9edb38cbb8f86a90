"""Releases behind a symbolic link, the way back, pools that sleep, and workers that import for themselves."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from tests.support import raw_fastcgi
from tests.support.fpm import Daemon, Start
from tests.support.pools import facts, wait_numbers
from tests.support.reloads import (
    VERSION,
    expect_told,
    fewest_ready,
    load,
    refused,
    reload,
    reload_by_command,
    single,
    version_of,
    write_version,
)
from tests.support.waiting import wait_until


def make_release(fpm: Daemon, version: object, more: str = "") -> Path:
    """A release in a directory of its own; nothing points at it yet."""
    directory = fpm.directory / "releases" / str(version)
    directory.mkdir(parents=True)
    (directory / "shop.py").write_text(VERSION.format(version=str(version), more=more))
    return directory


def switch(fpm: Daemon, version: object) -> None:
    """Let `current` point at another release, as deploy tools do it: at once."""
    new = fpm.directory / "new"
    new.symlink_to(fpm.directory / "releases" / str(version))
    new.rename(fpm.directory / "current")


def start(daemon: Start, **settings: object) -> Daemon:
    fpm = daemon({}, started=False)
    make_release(fpm, 1)
    switch(fpm, 1)
    values = {"app": "shop:application", "chdir": fpm.directory / "current", **settings}
    fpm.configure({"www": values})
    return fpm.start()


def kill_worker(fpm: Daemon) -> None:
    """Kill the only worker and wait for the next."""
    (worker,) = fpm.workers("www")
    fpm.expect_log(f"child {worker} exited on signal 9")
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: fpm.workers("www") not in ([], [worker]))


def kill_template(fpm: Daemon) -> None:
    """Kill the template and wait for the next."""
    (template,) = [process.pid for process in fpm.processes("template www")]
    fpm.expect_log(f"template {template} exited on signal 9")
    os.kill(template, signal.SIGKILL)
    wait_until(lambda: [one.pid for one in fpm.processes("template www") if one.pid != template])


@pytest.mark.parametrize("preload", ["auto", "no"])
def test_a_generation_keeps_its_release(daemon: Start, preload: str) -> None:
    fpm = start(daemon, preload=preload)
    make_release(fpm, 2)
    switch(fpm, 2)
    kill_worker(fpm)
    assert version_of(fpm, "www") == "1"
    kill_template(fpm)
    kill_worker(fpm)
    assert version_of(fpm, "www") == "1"
    assert facts(fpm, "www")["generation"] == 1
    said = fpm.cli("status").stdout
    assert f"directory:            {os.path.realpath(fpm.directory)}/releases/1\n" in said
    assert "generation:           1\n" in said
    reload(fpm)
    assert version_of(fpm, "www") == "2"
    assert "releases/2\n" in fpm.cli("status").stdout
    assert facts(fpm, "www")["generation"] == 2


@pytest.mark.parametrize("preload", ["auto", "no"])
def test_a_generation_keeps_its_release_over_an_upgrade(daemon: Start, preload: str) -> None:
    fpm = start(daemon, preload=preload)
    make_release(fpm, 2)
    switch(fpm, 2)
    assert fpm.cli("upgrade").returncode == 0
    kill_template(fpm)
    kill_worker(fpm)
    assert version_of(fpm, "www") == "1"
    reload(fpm)
    assert version_of(fpm, "www") == "2"


def test_without_a_name_every_pool_that_runs_gets_the_code(daemon: Start) -> None:
    """Also if only a number of one pool has changed; --changed takes only the pools that differ."""
    fpm = start(daemon)
    shop = {"app": "shop:application", "chdir": fpm.directory / "current"}
    blog = {"app": "deployed:application"}
    python = fpm.directory / "python3"
    python.symlink_to("/usr/bin/python3")
    sleeper = {**blog, "pm": "ondemand", "pm.process_idle_timeout": "1s", "python": python}
    write_version(fpm, 1)
    fpm.configure({"www": shop, "blog": blog, "sleeper": sleeper})
    reload(fpm, changed=True)
    assert [version_of(fpm, pool) for pool in ("www", "blog")] == ["1", "1"]
    wait_until(lambda: not fpm.processes("pool sleeper") + fpm.processes("template sleeper"))
    make_release(fpm, 2)
    switch(fpm, 2)
    write_version(fpm, 2)
    fpm.configure({"www": shop, "blog": {**blog, "pm.max_children": 2}, "sleeper": sleeper})
    release, apps = os.path.realpath(fpm.directory / "releases" / "2"), os.path.realpath(fpm.apps)
    plan = [
        f"pool www: new generation, code from {release} (chdir)",
        f"pool blog: new generation, code from {apps} (pm.max_children, pm.start_servers)",
        f"pool sleeper: sleeps, new generation with the next request, code from {apps}",
    ]
    assert fpm.cli("reload").stdout.splitlines() == plan
    for line in plan:
        assert f"NOTICE: reload: {line}\n" in fpm.log()
    assert [version_of(fpm, pool) for pool in ("www", "blog", "sleeper")] == ["2", "2", "2"]
    fpm.wait_workers("blog", 2)
    wait_until(lambda: not fpm.processes("pool sleeper") + fpm.processes("template sleeper"))
    # Now the same once more: none differs.
    workers = {pool: fpm.workers(pool) for pool in ("www", "blog")}
    write_version(fpm, 3)
    assert [line.split(": ")[1] for line in fpm.cli("reload", "--changed").stdout.splitlines()] == ["unchanged"] * 3
    assert "NOTICE: reload: unchanged: www, blog, sleeper\n" in fpm.log()
    assert {pool: fpm.workers(pool) for pool in ("www", "blog")} == workers
    python.unlink()
    shutil.copy("/usr/bin/python3", python)
    make_release(fpm, 3)
    switch(fpm, 3)
    plan = [line.partition(", code")[0] for line in fpm.cli("reload", "--changed", "--dry-run").stdout.splitlines()]
    asleep = "pool sleeper: sleeps, new generation with the next request"
    assert plan == ["pool www: new generation", "pool blog: unchanged", asleep]
    switch(fpm, 2)
    fpm.signal(signal.SIGHUP)
    wait_until(lambda: version_of(fpm, "blog") == "3")
    assert fpm.cli("reload", "--changed", "www").returncode == 64


def test_rollback(daemon: Start) -> None:
    fpm = start(daemon)
    done = fpm.cli("rollback", "www")
    assert done.returncode == 78
    expect_told(fpm, done.stderr)
    assert "pool www has no previous generation" in done.stderr
    for version in (2, 3):
        make_release(fpm, version)
        switch(fpm, version)
        with load(single(fpm, "www")) as found:
            reload(fpm)
        assert found.bad == []
    assert version_of(fpm, "www") == "3"
    with load(single(fpm, "www")) as found:
        done = fpm.cli("rollback", "www")
        assert done.returncode == 0, done.stderr
        assert version_of(fpm, "www") == "2"
    assert found.bad == []
    assert facts(fpm, "www")["directory"].endswith("/releases/2")
    kill_worker(fpm)
    assert version_of(fpm, "www") == "2"
    # And back again: the generation before this one is now that of release 3, if it is there.
    shutil.rmtree(fpm.directory / "releases" / "3")
    workers = fpm.workers("www")
    done = fpm.cli("rollback", "www")
    assert done.returncode == 78
    expect_told(fpm, done.stderr)
    assert "releases/3, does not exist" in done.stderr
    assert version_of(fpm, "www") == "2"
    assert fpm.workers("www") == workers


def test_rollback_of_code_that_was_edited_in_place(daemon: Start) -> None:
    """Nothing of it is left: that is said, and nothing happens."""
    fpm = start(daemon)
    workers = fpm.workers("www")
    (fpm.directory / "releases" / "1" / "shop.py").write_text(VERSION.format(version="edited", more=""))
    reload(fpm)
    wait_until(lambda: not set(workers) & set(fpm.workers("www")))
    workers = fpm.workers("www")
    done = fpm.cli("rollback", "www")
    assert done.returncode == 78
    expect_told(fpm, done.stderr)
    release = os.path.realpath(fpm.directory / "releases" / "1")
    assert f"generation 2 has the same directory ({release})" in done.stderr
    assert "nothing to go back to" in done.stderr
    assert fpm.workers("www") == workers
    # Another configuration is one to go back to; the code stays, and that is said.
    fpm.configure({"www": {"app": "shop:application", "chdir": fpm.directory / "current", "env[COLOUR]": "blue"}})
    reload(fpm)
    done = fpm.cli("rollback", "www")
    assert done.returncode == 0
    assert "back from generation 3 to what generation 2 was. WARNING: only the configuration goes back" in done.stdout
    assert version_of(fpm, "www") == "edited"


def test_rollback_then_upgrade(daemon: Start) -> None:
    """The files have not changed since they were read, and the pool stays where it has gone back to."""
    fpm = start(daemon)
    values = {"app": "shop:application", "chdir": fpm.directory / "current"}
    make_release(fpm, 2)
    switch(fpm, 2)
    fpm.configure({"www": {**values, "env[COLOUR]": "blue", "listen": fpm.directory / "other.sock"}})
    reload(fpm)
    done = fpm.cli("rollback", "www")
    assert done.returncode == 0, done.stderr
    first, second = (os.path.realpath(fpm.directory / "releases" / number) for number in "12")
    assert f"pool www: new generation, code from {first}" in done.stdout
    assert "; back from generation 2 to what generation 1 was\n" in done.stdout
    fpm.wait_log(rf"NOTICE: reload: pool www: new generation, code from {first}.*; back from generation 2")
    assert fpm.cli("upgrade").returncode == 0
    former = fpm.directory / "www.sock"
    assert raw_fastcgi.get(str(former)).body.startswith(b"1 ")
    kill_template(fpm)
    kill_worker(fpm)
    assert raw_fastcgi.get(str(former)).body.startswith(b"1 ")
    assert not (fpm.directory / "other.sock").exists()
    done = fpm.cli("rollback", "www")  # the generation before is known to the new program, too
    assert done.returncode == 0, done.stderr
    assert f"code from {second}" in done.stdout
    assert fpm.cli("upgrade").returncode == 0
    assert version_of(fpm, "www") == "2"


def test_rollback_to_code_that_has_become_broken(daemon: Start) -> None:
    fpm = start(daemon)
    make_release(fpm, 2)
    switch(fpm, 2)
    reload(fpm)
    (fpm.directory / "releases" / "1" / "shop.py").write_text("1/0\n")
    done = fpm.cli("rollback", "www")
    assert done.returncode == 1
    expect_told(fpm, done.stderr)
    assert "ZeroDivisionError" in done.stderr
    assert version_of(fpm, "www") == "2"


def test_rollback_returns_to_the_configuration_too(daemon: Start) -> None:
    fpm = start(daemon)
    values = {"app": "shop:application", "chdir": fpm.directory / "current"}
    (fpm.directory / "releases" / "1" / "other.py").write_text(VERSION.format(version="other", more=""))
    fpm.configure({"www": {**values, "app": "other:application", "pm.max_children": 2}})
    reload(fpm)
    assert version_of(fpm, "www") == "other"
    assert fpm.cli("rollback", "www").returncode == 0
    assert version_of(fpm, "www") == "1"
    fpm.wait_workers("www", 1)
    reload(fpm)  # what the files say counts again
    assert version_of(fpm, "www") == "other"


def test_a_pool_that_sleeps_wakes_up_with_the_new_code(daemon: Start) -> None:
    settings = {"pm": "ondemand", "pm.max_children": 2, "pm.process_idle_timeout": "1s"}
    fpm = start(daemon, **settings)
    assert fpm.processes(" www") == []
    make_release(fpm, 2)
    switch(fpm, 2)
    said = reload_by_command(fpm)
    assert fpm.processes(" www") == [], "nobody needs it now"
    release = os.path.realpath(fpm.directory / "releases" / "2")
    assert said == f"pool www: sleeps, new generation with the next request, code from {release} (chdir)\n"
    assert version_of(fpm, "www") == "2"
    make_release(fpm, 3)
    switch(fpm, 3)
    reload(fpm)  # awake
    assert version_of(fpm, "www") == "3"
    wait_until(lambda: fpm.processes(" www") == [])
    make_release(fpm, 4, "1/0")
    switch(fpm, 4)
    assert "ZeroDivisionError" in refused(fpm, "www"), "a pool that is named is proved, asleep or not"
    wait_until(lambda: fpm.processes(" www") == [])
    switch(fpm, 2)
    reload(fpm, "www")
    assert version_of(fpm, "www") == "2"


def test_static_pool_is_replaced_without_a_dip(daemon: Start) -> None:
    fpm = start(daemon, **{"preload": "no", "pm.max_children": 3})
    fpm.wait_workers("www", 3)
    former = fpm.workers("www")
    make_release(fpm, 2, "time.sleep(0.3)")
    switch(fpm, 2)
    with load(single(fpm, "www"), single(fpm, "www")) as found, fewest_ready(fpm, "www") as looks:
        reload(fpm)
        wait_until(lambda: not set(former) & set(fpm.workers("www")))
    assert found.bad == []
    assert min(looks) >= 3
    assert version_of(fpm, "www") == "2"


def test_an_old_worker_stays_while_its_replacement_cannot_import(daemon: Start) -> None:
    settings = {"app": "deployed:application", "preload": "no", "pm.max_requests": 5, "pm.max_requests_jitter": 0}
    fpm = daemon({"www": settings}, started=False)
    write_version(fpm, 1)
    fpm.start()
    (worker,) = fpm.workers("www")
    write_version(fpm, 2, "1/0")
    fpm.expect_log("failed to start: ZeroDivisionError", r"ERROR: \[pool www\]", "exited with code 70")
    with load(single(fpm, "www")) as found:
        fpm.wait_log(f"child {worker} keeps serving past pm.max_requests: nothing can replace it")
        begun = len(found.good)
        wait_until(lambda: len(found.good) > begun + 20)
        assert found.versions() == {"1"}
        assert worker in fpm.workers("www")
        write_version(fpm, 3)  # mended: the next try takes its place
        wait_until(lambda: worker not in fpm.workers("www"))
        wait_until(lambda: "3" in found.versions())
    assert found.bad == []


def test_recycling_takes_the_running_generations_code(daemon: Start) -> None:
    settings = {"app": "deployed:application", "pm.max_requests": 3, "pm.max_requests_jitter": 0}
    fpm = daemon({"www": settings}, started=False)
    write_version(fpm, 1)
    fpm.start()
    write_version(fpm, 2, "1/0")
    with load(single(fpm, "www"), single(fpm, "www")) as found:
        wait_until(lambda: len({body.split()[1] for body in found.good}) > 5)
    assert found.bad == []
    assert found.versions() == {"1"}
    wait_numbers(fpm, "www", idle_processes=1)
