"""Checks what a pool may take against what the machine has. Pure."""

from __future__ import annotations

from types import SimpleNamespace

from fpm.cgroups.bounds import controllers_of, settings_of
from fpm.cgroups.support import explain_missing
from fpm.config.bound_values import spell_cpus
from fpm.config.section import Diagnostics, Section
from fpm.config.system import System


def check_bounds(pool: Section, system: System, report: Diagnostics) -> None:
    """Check that the machine can give the pool what its bounds name."""
    wanted = frozenset(pool.values["cpu_affinity"])
    if wanted and pool.is_valid("cpu_affinity"):
        missing = wanted - system.cpus()
        if missing:
            sentence = f"CPU {spell_cpus(missing)} is not online; this machine has {spell_cpus(system.cpus())}"
            report.add_obstacle(pool, "cpu_affinity", sentence)
    _check_group(pool, system, report)


def _check_group(pool: Section, system: System, report: Diagnostics) -> None:
    values = {name.replace(".", "_"): value for name, value in pool.values.items() if name.startswith("cgroup")}
    config = SimpleNamespace(**values)
    needed = controllers_of(config)
    first = next((setting.directive for setting in settings_of(config) if setting.is_set), "cgroup")
    if (not needed and config.cgroup == "auto") or not pool.is_valid("cgroup", *needed.values()):
        return
    support = system.cgroups()
    if support.depends_on_start:
        # Said by whoever tests in a shell: the daemon may be a service with a group of its own.
        report.notice(pool.location_of(first), pool.name, first, support.missing)
    elif support.missing:
        report.add_obstacle(pool, first, support.missing)
    else:
        for controller, directive in needed.items():
            sentence = explain_missing(controller, support)
            if sentence:
                report.add_obstacle(pool, directive, sentence)
