"""Checks what a pool may take against what the machine has. Pure."""

from __future__ import annotations

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
