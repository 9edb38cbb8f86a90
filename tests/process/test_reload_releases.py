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
    planned,
    refused,
    reload,
    reload_by_command,
    single,
    version_of,
    write_version,
)
from tests.support.waiting import wait_until

Settings = dict[str, object]


class Site:
    """A pool whose code is a release behind a symbolic link, with a directory of its own."""

    def __init__(self, fpm: Daemon, pool: str = "www", **more: object) -> None:
        self.fpm = fpm
        self.pool = pool
        self.home = fpm.directory / f"{pool}.d"
        self.settings: Settings = {"app": "shop:application", "chdir": self.home / "current", **more}
        self.make_release(1)
        self.switch(1)

    def make_release(self, version: object, more: str = "") -> Path:
        """A release in a directory of its own; nothing points at it yet."""
        directory = self.home / "releases" / str(version)
        directory.mkdir(parents=True)
        (directory / "shop.py").write_text(VERSION.format(version=str(version), more=more))
        return directory

    def switch(self, version: object) -> None:
        """Let `current` point at another release, as deploy tools do it: at once."""
        new = self.home / "new"
        new.symlink_to(self.home / "releases" / str(version))
        new.rename(self.home / "current")

    def deploy(self, version: object, more: str = "") -> None:
        """Make a release, and let `current` point at it."""
        self.make_release(version, more)
        self.switch(version)

    def release(self, version: object) -> str:
        """The directory of a release as the daemon names it."""
        return os.path.realpath(self.home / "releases" / str(version))

    def version(self) -> str:
        """The version that answers."""
        return version_of(self.fpm, self.pool)

    def kill_worker(self) -> None:
        """Kill the only worker and wait for the next."""
        (worker,) = self.fpm.wait_workers(self.pool, 1)
        self.fpm.expect_log(f"child {worker} exited on signal 9")
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: self.fpm.workers(self.pool) not in ([], [worker]))

    def kill_template(self) -> None:
        """Kill the template and wait for the next."""
        (template,) = wait_until(
            lambda: [pid for pids in [self.fpm.templates(self.pool)] if len(pids) == 1 for pid in pids],
            message="a former template stays",
        )
        self.fpm.expect_log(f"template {template} exited on signal 9")
        os.kill(template, signal.SIGKILL)
        wait_until(lambda: [pid for pid in self.fpm.templates(self.pool) if pid != template])


def start(daemon: Start, *pools: str, **settings: object) -> tuple[Daemon, list[Site]]:
    """A daemon with these pools at their first release."""
    fpm = daemon({}, started=False)
    sites = [Site(fpm, pool, **settings) for pool in pools or ("www",)]
    fpm.configure({site.pool: site.settings for site in sites})
    return fpm.start(), sites


def test_a_generation_keeps_its_release_over_an_upgrade(daemon: Start) -> None:
    fpm = daemon({}, started=False)
    sites = [Site(fpm, "auto", preload="auto"), Site(fpm, "no", preload="no")]
    fpm.configure({site.pool: site.settings for site in sites})
    fpm.start()
    for site in sites:
        site.deploy(2)
        site.kill_worker()
        assert site.version() == "1", site.pool
        site.kill_template()
        site.kill_worker()
        assert site.version() == "1", site.pool
        assert facts(fpm, site.pool)["generation"] == 1
    said = fpm.cli("status", "--format", "text").stdout
    for site in sites:
        assert f"directory:            {site.release(1)}\n" in said
    assert said.count("generation:           1\n") == len(sites)
    assert fpm.cli("upgrade").returncode == 0
    for site in sites:
        site.kill_template()
        site.kill_worker()
        assert site.version() == "1", site.pool
    reload(fpm)
    for site in sites:
        assert site.version() == "2", site.pool
        assert facts(fpm, site.pool)["generation"] == 2
        assert facts(fpm, site.pool)["directory"] == site.release(2)


def test_without_a_name_every_pool_that_runs_gets_the_code(daemon: Start) -> None:
    """Also if only a number of one pool has changed; --changed takes only the pools that differ."""
    fpm, (www,) = start(daemon)
    shop = www.settings
    blog = {"app": "deployed:application"}
    python = fpm.directory / "python3"
    python.symlink_to("/usr/bin/python3")
    sleeper = {**blog, "pm": "ondemand", "pm.process_idle_timeout": "1s", "python": python}
    write_version(fpm, 1)
    fpm.configure({"www": shop, "blog": blog, "sleeper": sleeper})
    reload(fpm, changed=True)
    assert [version_of(fpm, pool) for pool in ("www", "blog")] == ["1", "1"]
    wait_until(lambda: not fpm.processes("pool sleeper") + fpm.processes("template sleeper"))
    www.deploy(2)
    write_version(fpm, 2)
    fpm.configure({"www": shop, "blog": {**blog, "pm.max_children": 2}, "sleeper": sleeper})
    release, apps = www.release(2), os.path.realpath(fpm.apps)
    plan = [
        f"pool www: new generation, code from {release} (chdir)",
        f"pool blog: new generation, code from {apps} (pm.max_children, pm.start_servers)",
        f"pool sleeper: sleeps, new generation with the next request, code from {apps}",
    ]
    assert fpm.cli("reload").stdout.splitlines() == plan
    for line in plan:
        assert f"NOTICE: reload: {line}\n" in fpm.log()
    assert [version_of(fpm, pool) for pool in ("www", "blog", "sleeper")] == ["2", "2", "2"]
    fpm.wait_workers("www", 1)
    fpm.wait_workers("blog", 2)
    wait_until(lambda: not fpm.processes("pool sleeper") + fpm.processes("template sleeper"))
    # Now the same once more: none differs.
    workers = {pool: fpm.workers(pool) for pool in ("www", "blog")}
    write_version(fpm, 3)
    assert [line.split(": ")[1] for line in planned(fpm, changed=True)] == ["unchanged"] * 3
    reload(fpm, changed=True)
    assert "NOTICE: reload: unchanged: www, blog, sleeper\n" in fpm.log()
    assert {pool: fpm.workers(pool) for pool in ("www", "blog")} == workers
    python.unlink()
    shutil.copy("/usr/bin/python3", python)
    www.deploy(3)
    plan = [line.partition(", code")[0] for line in planned(fpm, changed=True)]
    asleep = "pool sleeper: sleeps, new generation with the next request"
    assert plan == ["pool www: new generation", "pool blog: unchanged", asleep]
    www.switch(2)
    fpm.signal(signal.SIGHUP)
    wait_until(lambda: version_of(fpm, "blog") == "3")
    assert fpm.cli("reload", "--changed", "www").returncode == 64


POOLS = ("twice", "edited", "upgraded", "broken", "configured")


class Sites(dict[str, Site]):
    """Pools of one daemon that go back to former generations, each by itself."""

    def configure(self, pool: str, **more: object) -> None:
        """Give a pool more settings, and reload it."""
        fpm = self[pool].fpm
        self[pool].settings = {**self[pool].settings, **more}
        fpm.configure({name: site.settings for name, site in self.items()})
        reload(fpm, pool)


@pytest.fixture(scope="module")
def sites(shared_daemon: Start) -> Sites:
    return Sites({site.pool: site for site in start(shared_daemon, *POOLS)[1]})


def not_back(fpm: Daemon, pool: str, status: int = 78) -> str:
    """A rollback that must fail; what is said of it."""
    done = fpm.ask("rollback", pool=pool)
    assert (done["ok"], done["status"]) == (False, status), done
    said = "\n".join(done["complaints"])
    expect_told(fpm, "\n".join([said, done.get("traceback") or ""]))
    return said


def back(fpm: Daemon, pool: str) -> str:
    """A rollback by the command, which must succeed; its plan."""
    done = fpm.cli("rollback", pool)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_rollback(sites: Sites) -> None:
    site = sites["twice"]
    fpm, pool = site.fpm, site.pool
    done = fpm.cli("rollback", pool)
    assert done.returncode == 78
    expect_told(fpm, done.stderr)
    assert f"pool {pool} has no previous generation" in done.stderr
    for version in (2, 3):
        site.deploy(version)
        with load(single(fpm, pool)) as found:
            reload(fpm, pool)
        assert found.bad == []
    assert site.version() == "3"
    with load(single(fpm, pool)) as found:
        back(fpm, pool)
        wait_until(lambda: site.version() == "2")
    assert found.bad == []
    assert facts(fpm, pool)["directory"].endswith("/releases/2")
    fpm.wait_workers(pool, 1)
    site.kill_worker()
    assert site.version() == "2"
    # And back again: the generation before this one is now that of release 3, if it is there.
    shutil.rmtree(site.home / "releases" / "3")
    workers = fpm.workers(pool)
    assert "releases/3, does not exist" in not_back(fpm, pool)
    assert site.version() == "2"
    assert fpm.workers(pool) == workers
    site.switch(2)


def test_rollback_of_code_that_was_edited_in_place(sites: Sites) -> None:
    """Nothing of it is left: that is said, and nothing happens."""
    site = sites["edited"]
    fpm, pool = site.fpm, site.pool
    workers = fpm.workers(pool)
    (site.home / "releases" / "1" / "shop.py").write_text(VERSION.format(version="edited", more=""))
    reload(fpm, pool)
    wait_until(lambda: not set(workers) & set(fpm.workers(pool)))
    workers = fpm.workers(pool)
    said = not_back(fpm, pool)
    assert f"generation 2 has the same directory ({site.release(1)})" in said
    assert "nothing to go back to" in said
    assert fpm.workers(pool) == workers
    # Another configuration is one to go back to; the code stays, and that is said.
    sites.configure(pool, **{"env[COLOUR]": "blue"})
    said = back(fpm, pool)
    assert "back from generation 3 to what generation 2 was. WARNING: only the configuration goes back" in said
    assert site.version() == "edited"


def test_rollback_then_upgrade(sites: Sites) -> None:
    """The files have not changed since they were read, and the pool stays where it has gone back to."""
    site = sites["upgraded"]
    fpm, pool = site.fpm, site.pool
    site.deploy(2)
    sites.configure(pool, **{"env[COLOUR]": "blue", "listen": fpm.directory / "other.sock"})
    first, second = site.release(1), site.release(2)
    said = back(fpm, pool)
    assert f"pool {pool}: new generation, code from {first}" in said
    assert "; back from generation 2 to what generation 1 was\n" in said
    fpm.wait_log(rf"NOTICE: reload: pool {pool}: new generation, code from {first}.*; back from generation 2")
    assert fpm.cli("upgrade").returncode == 0
    former = fpm.directory / f"{pool}.sock"
    assert raw_fastcgi.get(str(former)).body.startswith(b"1 ")
    site.kill_template()
    site.kill_worker()
    assert raw_fastcgi.get(str(former)).body.startswith(b"1 ")
    assert not (fpm.directory / "other.sock").exists()
    # The generation before is known to the new program, too.
    assert f"code from {second}" in back(fpm, pool)
    assert fpm.cli("upgrade").returncode == 0
    assert site.version() == "2"


def test_an_upgrade_says_what_a_removed_release_lacks(daemon: Start) -> None:
    """A reload alone would not help where what runs and the files differ, and the files' release is not there."""
    fpm, (site, _) = start(daemon, "www", "other")
    site.deploy(2)
    reload(fpm)
    back(fpm, "www")
    shutil.rmtree(site.release(2))
    assert fpm.cli("upgrade").returncode == 0, "nothing was changed: what runs needs no directory"
    reload(fpm, "other")  # leaves the pool where it has gone back to
    done = fpm.cli("upgrade")
    assert done.returncode == 1
    lacking = f"[www] chdir: the chdir path '{site.home}/current' does not exist"
    assert "see to this, then run `pyfpm reload` first" in done.stderr
    assert lacking in done.stderr.split("first:")[1]
    expect_told(fpm, done.stderr)
    site.switch(1)
    reload(fpm)
    assert fpm.cli("upgrade").returncode == 0
    assert site.version() == "1"


def test_rollback_to_code_that_has_become_broken(sites: Sites) -> None:
    site = sites["broken"]
    fpm, pool = site.fpm, site.pool
    site.deploy(2)
    reload(fpm, pool)
    (site.home / "releases" / "1" / "shop.py").write_text("1/0\n")
    assert "ZeroDivisionError" in not_back(fpm, pool, status=1)
    assert site.version() == "2"


def test_rollback_returns_to_the_configuration_too(sites: Sites) -> None:
    site = sites["configured"]
    fpm, pool = site.fpm, site.pool
    (site.home / "releases" / "1" / "other.py").write_text(VERSION.format(version="other", more=""))
    sites.configure(pool, **{"app": "other:application", "pm.max_children": 2})
    assert site.version() == "other"
    assert fpm.ask("rollback", pool=pool)["ok"]
    assert site.version() == "1"
    fpm.wait_workers(pool, 1)
    reload(fpm, pool)  # what the files say counts again
    assert site.version() == "other"


def test_a_pool_that_sleeps_wakes_up_with_the_new_code(daemon: Start) -> None:
    settings = {"pm": "ondemand", "pm.max_children": 2, "pm.process_idle_timeout": "1s"}
    fpm, (site,) = start(daemon, **settings)
    assert fpm.processes(" www") == []
    site.deploy(2)
    said = reload_by_command(fpm)
    assert fpm.processes(" www") == [], "nobody needs it now"
    assert said == f"pool www: sleeps, new generation with the next request, code from {site.release(2)} (chdir)\n"
    assert version_of(fpm, "www") == "2"
    site.deploy(3)
    reload(fpm)  # awake
    assert version_of(fpm, "www") == "3"
    wait_until(lambda: fpm.processes(" www") == [])
    site.deploy(4, "1/0")
    assert "ZeroDivisionError" in refused(fpm, "www"), "a pool that is named is proved, asleep or not"
    wait_until(lambda: fpm.processes(" www") == [])
    site.switch(2)
    reload(fpm, "www")
    assert version_of(fpm, "www") == "2"


def test_static_pool_is_replaced_without_a_dip(daemon: Start) -> None:
    fpm, (site,) = start(daemon, **{"preload": "no", "pm.max_children": 3})
    fpm.wait_workers("www", 3)
    former = fpm.workers("www")
    site.deploy(2, "time.sleep(0.3)")
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
