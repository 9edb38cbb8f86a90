"""Control groups: where a daemon may make them, what is written into their files and what is read from them."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpm.cgroups.bounds import (
    controllers_of,
    daemon_group,
    has_group,
    is_daemon_group,
    pool_group,
    settings_of,
)
from fpm.cgroups.figures import READ, describe_events, parse_flat, parse_pressure, read_figures
from fpm.cgroups.files import list_groups, opened, remove_group, write_file
from fpm.cgroups.local import look_at_support
from fpm.cgroups.places import parse_old_controllers, parse_unified
from fpm.cgroups.support import Support, explain_missing, find_base, not_delegated
from fpm.scoreboard.numbers import ROWS
from fpm.status.facts import pool_facts
from fpm.system.spawn import run_once
from tests.support import overviews

HYBRID = "9:name=systemd:/\n8:pids:/\n5:cpu,cpuacct:/\n4:memory:/jobs/a b\n0::/system.slice/pyfpm.service\n"
PSI = "some avg10=12.34 avg60=1.00 avg300=0.00 total=123456\nfull avg10=99.99 avg60=0.00 avg300=0.00 total=0\n"
CPU_STAT = "usage_usec 89123\nuser_usec 1\nsystem_usec 2\nnr_periods 3\nnr_throttled 1\nthrottled_usec 2500\n"
EVENTS = "low 7\nhigh 12\nmax 0\noom 1\noom_kill 1\noom_group_kill 0\n"


def bounded(**values: Any) -> Any:
    usual = dict.fromkeys(["memory_max", "memory_high", "cpu_max", "cpu_weight", "pids_max", "io_weight"], None)
    return SimpleNamespace(
        cgroup=values.pop("cgroup", "auto"), **{f"cgroup_{k}": v for k, v in (usual | values).items()}
    )


def test_membership() -> None:
    assert parse_unified(HYBRID) == "/system.slice/pyfpm.service"
    assert parse_unified("4:memory:/\n") is None
    assert parse_old_controllers(HYBRID) == {"pids", "cpu", "cpuacct", "memory", "name=systemd"}
    assert parse_old_controllers("0::/\nnonsense\n") == frozenset()


SERVICE = "/system.slice/pyfpm.service"
OWN = daemon_group("/run/pyfpm/control.sock")


@pytest.mark.parametrize(
    ("path", "marked", "is_root", "expected"),
    [
        (SERVICE, SERVICE, True, SERVICE),
        (f"{SERVICE}/main", SERVICE, True, SERVICE),  # DelegateSubgroup=
        (f"{SERVICE}/{OWN}/master", SERVICE, True, SERVICE),  # after an upgrade
        (f"{SERVICE}/{OWN}/other", SERVICE, True, None),
        (SERVICE, "", True, None),
        (f"{SERVICE}/a/b", SERVICE, True, None),  # somebody else's, a user's own systemd for example
        ("/", "", True, "/"),
        ("/", "", False, None),
        (f"/{OWN}/master", "", True, "/"),
        ("/jobs", "", True, None),
    ],
)
def test_the_base(path: str, marked: str, is_root: bool, expected: str | None) -> None:
    assert find_base(path, lambda group: group == marked, is_root=is_root) == expected


def test_what_is_said_of_each_lack() -> None:
    here = Support("/sys/fs/cgroup", frozenset({"cpu", "pids"}), frozenset({"memory", "blkio"}))
    assert explain_missing("cpu", here) == ""
    for name in ("memory", "io"):
        said = explain_missing(name, here)
        assert said.startswith(f"the controller {name} is in cgroup v1 on this machine, which is not supported")
        assert said.endswith("start the kernel with systemd.unified_cgroup_hierarchy=1")
    said = explain_missing("memory", replace(here, old=frozenset()))
    assert said.startswith("cgroup v2 at /sys/fs/cgroup has no controller memory, only cpu pids.")
    assert "Delegate=yes" in said
    assert "only none" in explain_missing("cpu", Support("/x"))
    assert not_delegated("/user.slice/session-1.scope").depends_on_start
    assert not not_delegated("/system.slice/cron.service").depends_on_start
    assert "Delegate=yes below [Service]" in not_delegated("/").missing


@pytest.mark.parametrize(
    ("cgroup", "mounts", "part"),
    [
        ("4:memory:/\n", "", "cgroup v2 is not mounted on this machine, and cgroup v1 is not supported"),
        ("0::/\n", "", "cgroup v2 is not mounted"),
        (
            "0::/user.slice/session-2.scope\n",
            "31 23 0:28 / /nowhere rw - cgroup2 cgroup2 rw\n",
            "the cgroup of this process, /user.slice/session-2.scope, is not delegated to it",
        ),
    ],
)
def test_a_look_at_machines_without(tmp_path: Path, cgroup: str, mounts: str, part: str) -> None:
    (tmp_path / "cgroup").write_text(cgroup)
    (tmp_path / "mountinfo").write_text(mounts)
    assert part in look_at_support(str(tmp_path)).missing


def test_what_is_written() -> None:
    config = bounded(
        memory_max=1 << 30, memory_high=1 << 29, cpu_max="150000 100000", cpu_weight=50, pids_max=9, io_weight=7
    )
    written = {setting.file: setting.text for setting in settings_of(config)}
    assert written == {
        "memory.high": str(1 << 29),
        "memory.max": str(1 << 30),
        "cpu.max": "150000 100000",
        "cpu.weight": "50",
        "pids.max": "9",
        "io.weight": "default 7",
    }
    assert set(controllers_of(config)) == {"memory", "cpu", "pids", "io"}
    unset = {setting.file: (setting.text, setting.is_set) for setting in settings_of(bounded())}
    assert unset == {
        "memory.high": ("max", False),
        "memory.max": ("max", False),
        "cpu.max": ("max", False),
        "cpu.weight": ("100", False),
        "pids.max": ("max", False),
        "io.weight": ("default 100", False),
    }
    assert [has_group(bounded()), has_group(bounded(cgroup="yes")), has_group(bounded(pids_max=1))] == [0, 1, 1]


@given(st.text(max_size=80))
def test_a_group_is_a_name_and_never_a_path(pool: str) -> None:
    name = pool_group(pool)
    assert name.startswith("pool-")
    assert not set(name) & set("/\0\n ")
    assert not is_daemon_group(name)


def test_groups_of_two_daemons() -> None:
    first, second = daemon_group("/run/a.sock"), daemon_group("/run/b.sock")
    assert first != second
    assert is_daemon_group(first)
    assert pool_group("a.b@c+d") == "pool-a.b@c+d"
    assert pool_group("../x") == "pool-..%2fx"


def test_figures() -> None:
    texts = {
        "memory.current": "4096\n",
        "memory.peak": "8192\n",
        "memory.events": EVENTS,
        "pids.current": "3\n",
        "cpu.stat": CPU_STAT,
        "cpu.pressure": PSI,
        "memory.pressure": "",
        "io.pressure": "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
    }
    assert set(texts) == set(READ)
    assert read_figures(texts) == {
        "cgroup_memory": 4096,
        "cgroup_memory_peak": 8192,
        "cgroup_high": 12,
        "cgroup_max": 0,
        "cgroup_oom": 1,
        "cgroup_oom_kill": 1,
        "cgroup_processes": 3,
        "cgroup_cpu": 89,
        "cgroup_throttled": 2,
        "cpu_pressure": 1234,
        "io_pressure": 0,
    }
    assert set(read_figures(texts)) < set(ROWS)
    assert describe_events(EVENTS) == "high 12, oom 1, oom_kill 1"
    assert describe_events("") == ""


def test_limits_written_by_a_helper(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("")
    done = run_once("fpm.cgroups.write_memory", [str(tmp_path), "memory.max=4096"], 30.0)
    assert (done.returncode, (tmp_path / "memory.max").read_text()) == (0, "4096")
    done = run_once("fpm.cgroups.write_memory", [str(tmp_path), "memory.high=1"], 30.0)
    assert (done.returncode, done.stdout) == (1, "No such file or directory (memory.high)\n")


def test_figures_are_shown_where_they_are_known() -> None:
    shown = dict(pool_facts(overviews.pool(), overviews.NOW, dates=False))
    assert "cgroup" not in shown
    assert "pressure" not in shown
    known = overviews.pool(cgroup_memory=5 << 20, cgroup_cpu=1500, cpu_pressure=149, io_pressure=0)
    shown = dict(pool_facts(known, overviews.NOW, dates=False))
    assert shown["cgroup"] == "memory 5.0 MiB, CPU time 1.5 s"
    assert shown["pressure"] == "CPU 1 %, disks 0 %"


@given(st.sampled_from(sorted(READ)), st.text(max_size=60))
def test_any_text_is_read(name: str, text: str) -> None:
    assert all(isinstance(value, int) for value in read_figures({name: text}).values())
    assert parse_pressure(text) is None or isinstance(parse_pressure(text), int)
    assert isinstance(parse_flat(text), dict)


def test_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "cgroup.procs").write_text("")
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "real" / "linked").symlink_to("cgroup.procs")
    with pytest.raises(OSError, match="link"), opened(str(tmp_path), "link"):
        pass
    with opened(str(tmp_path)) as above:
        assert list_groups(above) == ["real"]
        assert remove_group(above, "gone")
        assert not remove_group(above, "link")
    with opened(str(tmp_path), "real") as group:
        with pytest.raises(OSError, match="symbolic links"):
            write_file(group, "linked", "0")
        with pytest.raises(FileNotFoundError):
            write_file(group, "memory.max", "max")
    assert (tmp_path / "real" / "cgroup.procs").read_text() == ""
    assert not os.path.exists(tmp_path / "real" / "memory.max")
