"""Presets of confinement: what `isolation` turns on, as far as the machine can do it and the file does not say other.

Pure.
"""

from __future__ import annotations

from posixpath import join

from fpm.cgroups.support import explain_missing
from fpm.config.directives import POOL_DIRECTIVES
from fpm.config.section import Diagnostics, Section
from fpm.config.system import System
from fpm.config.values import parse_value
from fpm.protocol.mounts import TEMPORARY, lies_in

_BASIC = {"private_tmp": "yes", "no_new_privs": "yes", "seccomp": "default"}
_STRONG = {
    **_BASIC,
    "chroot.automount": "yes",
    "namespaces": "mount pid ipc uts cgroup",
    "private_tmp.size": "256M",
    "rlimit_processes": "512",
    "cgroup.pids_max": "512",
    "cgroup.cpu_weight": "100",
    "cgroup.io_weight": "100",
}
PRESETS: dict[str, dict[str, str]] = {
    "none": {},
    "basic": _BASIC,
    "strong": _STRONG,
    "sealed": {**_STRONG, "seccomp": "strict", "network": "none"},
}
"""What each of them sets."""
OF_ROOT = "basic"
"""The preset of pools that say nothing, where pyfpm runs as root."""
MUST = "sealed"
"""The preset that has all of it, or does not start."""
_NEEDS = {
    "private_tmp": "jail",
    "chroot.automount": "jail",
    "namespaces": "jail",
    "network": "jail",
    "seccomp": "seccomp",
}
"""Names in fpm.config.system.Abilities.missing."""
_SHARES = {"cgroup.pids_max": "pids", "cgroup.cpu_weight": "cpu", "cgroup.io_weight": "io"}
"""Directives with the controllers that they need. A machine without these is none that keeps pools less apart."""


def apply_isolation(pool: Section, system: System, report: Diagnostics) -> None:
    """Set the directives of the preset that the file does not set.

    What this machine cannot do is left out, with a notice if the file names the preset; with `sealed` the pool fails.
    """
    values = pool.values
    if not pool.is_valid("isolation"):
        return
    is_asked = values["isolation"] is not None
    preset = values["isolation"] = values["isolation"] or (OF_ROOT if system.is_root else "none")
    lacking: dict[str, list[str]] = {}
    for name, text in PRESETS[preset].items():
        if pool.is_set(name) or not pool.is_valid(name):
            continue
        reason = _lacking(name, pool, system)
        if not reason:
            values[name] = parse_value(POOL_DIRECTIVES[name], text)
        elif preset == MUST and name not in _SHARES:
            report.add_obstacle(pool, "isolation", f"{preset} needs {name} = {text}: {reason}")
        elif is_asked:
            lacking.setdefault(reason, []).append(f"{name} = {text}")
    for reason, what in lacking.items():
        sentence = f"{preset} goes without {', '.join(what)}: {reason}"
        report.notice(pool.location_of("isolation"), pool.name, "isolation", sentence)


def _lacking(name: str, pool: Section, system: System) -> str:
    """Say why a directive cannot be set; "" if it can."""
    values = pool.values
    if name in _SHARES:
        return _without_groups(system)
    if name == "chroot.automount" and values["rootfs"]:
        return "rootfs is set, which takes its place"
    if name == "private_tmp" and PRESETS[values["isolation"]] is _BASIC and _lies_in_tmp(pool):
        return "the application itself lies there"
    if name == "seccomp" and not values["no_new_privs"]:
        return "no_new_privs is off"
    need = _NEEDS.get(name)
    return system.abilities().missing.get(need, "") if need else ""


def _without_groups(system: System) -> str:
    support = system.cgroups()
    missing = (explain_missing(controller, support) for controller in _SHARES.values())
    return support.missing or next(filter(None, missing), "")


def _lies_in_tmp(pool: Section) -> bool:
    values = pool.values
    paths = [values["chdir"], values["pythonpath"], values["venv"], values["python"], values["app"]]
    base = values["chdir"] or values["prefix"]
    shown = [join(base, part) for path in paths if path for part in path.split(":")]
    return not values["chroot"] and any(lies_in(path, TEMPORARY) for path in shown)
