"""The presets of confinement: what they choose, what the file says instead, and what the machine lacks."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from fpm.cgroups.support import Support
from fpm.config.isolation import MUST, PRESETS, apply_isolation
from fpm.config.local_system import LocalSystem
from fpm.config.section import Diagnostics, Section, Setting, SourceLocation
from fpm.config.system import Abilities

HERE = SourceLocation(0, 3, "pool.conf")
JAIL = "it needs CAP_SYS_ADMIN"


class Machine(LocalSystem):
    """This machine, with other abilities."""

    def __init__(self, *, is_root: bool = True, **missing: str) -> None:
        super().__init__(environ={}, is_root=is_root, allow_root=False)
        self.missing = missing
        self.groups = Support("/sys/fs/cgroup/system.slice/pyfpm.service", frozenset({"cpu", "io", "pids"}))

    def cgroups(self) -> Support:
        return self.groups

    def abilities(self) -> Abilities:
        return replace(super().abilities(), missing=self.missing)


def choose(machine: Machine, chdir: str = "/srv/shop", **directives: str) -> tuple[dict[str, Any], Diagnostics]:
    """Apply the preset to a pool that sets these directives, `__` standing for a dot."""
    from fpm.config.build import parse_all

    report = Diagnostics()
    pool = Section("pool", "www", HERE)
    given = {"app": "shop:app", "listen": "/run/x.sock", "pm": "static", "pm.max_children": "1", "chdir": chdir}
    given |= {name.replace("__", "."): text for name, text in directives.items()}
    pool.settings = {name: Setting(HERE, text) for name, text in given.items()}
    parse_all(pool, report)
    assert not report.failed
    pool.values["prefix"] = pool.values["prefix"] or str(Path("/etc/pyfpm"))
    apply_isolation(pool, machine, report)
    return pool.values, report


def test_root_has_basic_and_others_have_none() -> None:
    values, _ = choose(Machine())
    assert (values["isolation"], values["private_tmp"], values["seccomp"]) == ("basic", True, "default")
    values, _ = choose(Machine(is_root=False))
    assert (values["isolation"], values["private_tmp"], values["seccomp"]) == ("none", False, "off")


def test_each_preset_has_all_that_the_former_has() -> None:
    names = list(PRESETS)
    assert names == ["none", "basic", "strong", "sealed"]
    for weaker, stronger in pairwise(names):
        assert PRESETS[weaker].keys() <= PRESETS[stronger].keys()


def test_the_file_counts_more() -> None:
    values, report = choose(Machine(), isolation="sealed", seccomp="off", network="host", namespaces="ipc")
    assert (values["seccomp"], values["network"], values["namespaces"]) == ("off", "host", ("ipc",))
    assert values["chroot.automount"] is True
    assert not report.errors()


@pytest.mark.parametrize("preset", ["basic", "strong", "sealed"])
def test_what_the_machine_lacks_is_said(preset: str) -> None:
    values, report = choose(Machine(jail=JAIL), isolation=preset)
    assert values["private_tmp"] is False
    assert values["seccomp"] == PRESETS[preset]["seccomp"]
    if preset == MUST:
        assert f"pool.conf:3: [www] isolation: sealed needs private_tmp = yes: {JAIL}." in report.obstacles()["www"]
        return
    assert not report.obstacles()
    (notice,) = report.notices()
    more = "" if preset == "basic" else ", chroot.automount = yes, namespaces = mount pid ipc uts cgroup"
    assert notice == f"pool.conf:3: [www] isolation: {preset} goes without private_tmp = yes{more}: {JAIL}."


@pytest.mark.parametrize("preset", ["strong", "sealed"])
def test_shares_of_the_machine_are_given_where_there_are_groups(preset: str) -> None:
    values, report = choose(Machine(), isolation=preset)
    assert (values["cgroup.pids_max"], values["cgroup.cpu_weight"], report.notices()) == (512, 100, ())
    machine = Machine()
    machine.groups = Support(missing="there is no cgroup v2 here")
    values, report = choose(machine, isolation=preset)
    assert values["cgroup.pids_max"] is None
    (notice,) = report.notices()
    assert notice.endswith("cgroup.cpu_weight = 100, cgroup.io_weight = 100: there is no cgroup v2 here.")


def test_nothing_is_said_of_what_nobody_has_asked_for() -> None:
    values, report = choose(Machine(jail=JAIL, seccomp="the kernel has none"))
    assert (values["private_tmp"], values["seccomp"]) == (False, "off")
    assert report.notices() == ()


@pytest.mark.parametrize("directives", [{"chdir": "/tmp/x"}, {"pythonpath": "/srv/a:/var/tmp/b"}, {"venv": "/tmp/v"}])
def test_an_application_in_tmp_keeps_it(directives: dict[str, str]) -> None:
    values, _ = choose(Machine(), **directives)
    assert values["private_tmp"] is False
    values, _ = choose(Machine(), isolation="strong", **directives)
    assert values["private_tmp"] is True, "there, its directory is shown"


def test_setuid_programs_and_filters_do_not_go_together() -> None:
    values, report = choose(Machine(), no_new_privs="no", isolation="strong")
    assert values["seccomp"] == "off"
    (notice,) = report.notices()
    assert notice == "pool.conf:3: [www] isolation: strong goes without seccomp = default: no_new_privs is off."
