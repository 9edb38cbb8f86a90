"""What there is here: memory, limits, systemd's unit, and the daemon if it runs."""

from __future__ import annotations

import os
import re
import resource
from collections.abc import Iterator, Mapping
from os.path import basename, dirname
from pathlib import Path

from fpm.cgroups.places import directory_of, parse_membership, parse_mounts
from fpm.config.model import GlobalConfig
from fpm.doctor.capacity import Machine
from fpm.doctor.helpers import run_program
from fpm.doctor.service import read_show
from fpm.master.processes.oom_reports import limit_files, parse_limit
from fpm.system.systemd import Service, find_service

UNIT = Service("pyfpm.service")
"""What the unit is called where the daemon does not run."""
SHOW_TIME = 10.0
PROPERTIES = "LoadState,TimeoutStopUSec,LimitNOFILE,MemoryMax"


def unit_of(pid: int) -> Service:
    """Return the unit of systemd that a process belongs to; pyfpm.service for pid 0."""
    return (find_service(_read(f"/proc/{pid}/cgroup")) if pid else None) or UNIT


def show_unit(unit: Service) -> dict[str, str]:
    """Ask systemd for what matters of a unit; empty if there is no systemd, or no such unit."""
    whose = ["--user"] if unit.of_user else []
    done = run_program(["systemctl", *whose, "show", "--property", PROPERTIES, "--", unit.name], SHOW_TIME)
    found = read_show(done.stdout) if done is not None and done.returncode == 0 else {}
    return found if found.get("LoadState") == "loaded" else {}


def selinux_enforces() -> bool:
    """Tell whether SELinux is on, and more than warns."""
    return _read("/sys/fs/selinux/enforce").strip() == "1"


def look_at_machine(settings: GlobalConfig, pid: int, unit: str, properties: Mapping[str, str]) -> Machine:
    """Gather what limits the pools.

    Args:
        pid: of the daemon; 0: it does not run.
        unit: of systemd.
        properties: of the unit; empty: there is none.
    """
    limits = list(_cgroup_limits(pid or os.getpid()))
    if not pid and properties.get("MemoryMax", "").isdigit():
        limits.append((int(properties["MemoryMax"]), f"{unit} (MemoryMax)"))
    limit, name = min(limits, default=(None, ""), key=lambda one: one[0] or 0)
    descriptors, source = _descriptors(settings, pid, unit, properties)
    somaxconn = _read("/proc/sys/net/core/somaxconn").strip()
    return Machine(
        ram=_ram(),
        limit=limit,
        limit_name=name,
        somaxconn=int(somaxconn) if somaxconn.isdigit() else None,
        descriptors=descriptors,
        descriptors_source=source,
        unit=unit if properties else "",
    )


def _ram() -> int | None:
    found = re.search(r"^MemTotal:\s+(\d+) kB", _read("/proc/meminfo"), re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def _cgroup_limits(pid: int) -> Iterator[tuple[int, str]]:
    """Yield the memory limits of a process's control group and of all above it, v2 and v1."""
    membership = parse_membership(_read(f"/proc/{pid}/cgroup"))
    mounts = parse_mounts(_read("/proc/self/mountinfo"))
    place = directory_of(membership, mounts) if membership is not None else None
    if membership is None or place is None:
        return
    points = [mount.point for mount in mounts if mount.version == membership.version]
    top = max((point for point in points if place.startswith(point)), key=len, default=place)
    group = membership.path
    for file in limit_files(place, top, membership.version):
        limit = parse_limit(_read(file))
        if limit is not None:
            yield limit, f"the control group {group} ({basename(file)})"
        group = dirname(group)


def _descriptors(settings: GlobalConfig, pid: int, unit: str, properties: Mapping[str, str]) -> tuple[int | None, str]:
    """Find RLIMIT_NOFILE of the master: it takes as much as it may."""
    if pid:
        found = re.search(r"^Max open files\s+\d+\s+(\d+)", _read(f"/proc/{pid}/limits"), re.MULTILINE)
        if found:
            return int(found[1]), f"of the running daemon, pid {pid}"
    if settings.rlimit_files:
        return settings.rlimit_files, "rlimit_files in [global]"
    if properties.get("LimitNOFILE", "").isdigit():
        return int(properties["LimitNOFILE"]), f"LimitNOFILE of {unit}"
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard == resource.RLIM_INFINITY:
        return None, ""
    return hard, "the limit of this shell"


def _read(path: str) -> str:
    """Read a file of /proc or /sys; "" if it cannot be read."""
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""
