"""Do the numbers of a pool fit this machine: memory, listen queue, descriptors. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from fpm.config.model import Config, PoolConfig, TcpAddress
from fpm.doctor.findings import Finding
from fpm.doctor.shell import Shell, join, write_file
from fpm.frozen import dataclass
from fpm.status.figures import format_size

SHARE = 0.9
"""Of the memory, what pools may have at most: the rest is for everybody else."""
PER_POOL, PER_CHILD, MASTERS_OWN = 1, 5, 64
"""Descriptors of the master (docs/scaling.md)."""
WORKER_ROOM = 32
"""Descriptors that an application should have for itself: files, connections to databases."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What the workers of a pool take, in bytes."""

    each: int
    """One more worker."""
    shared: int
    """What all of them share."""
    source: str
    """How it was measured."""

    def for_all(self, pool: PoolConfig) -> int:
        """Return what the pool takes with pm.max_children workers."""
        return self.shared + self.each * pool.pm_max_children


@dataclass(frozen=True, slots=True)
class Machine:
    """What there is here. None: not known."""

    ram: int | None
    limit: int | None
    """The control group's, of the daemon if it runs."""
    limit_name: str
    """Where that limit is set."""
    somaxconn: int | None
    descriptors: int | None
    """RLIMIT_NOFILE of the master, or what it would have."""
    descriptors_source: str
    unit: str
    """The unit of systemd that the daemon is, or would be; "" without systemd."""

    @property
    def bounds(self) -> list[tuple[int, str]]:
        """Return what limits memory, the least first."""
        found = [(self.ram, "of RAM"), (self.limit, f"of {self.limit_name}")]
        return sorted((size, name) for size, name in found if size is not None)


def judge_memory(pool: PoolConfig, memory: Memory | None, machine: Machine, shell: Shell) -> list[Finding]:
    """Judge whether all workers of one pool find room."""
    own = [(pool.cgroup_memory_max or 0, "of cgroup.memory_max"), (pool.pm_memory_hard, "of pm.memory_hard")]
    bounds = sorted([*machine.bounds, *(limit for limit in own if limit[0])])
    if memory is None or not bounds:
        return []
    bound, name = bounds[0]
    need = memory.for_all(pool)
    if need <= bound * SHARE:
        return []
    text = (
        f"pm.max_children = {pool.pm_max_children} takes about {format_size(need)} ({format_size(memory.each)} for "
        f"each worker and {format_size(memory.shared)} that they share, {memory.source}), and there are "
        f"{format_size(bound)} {name}: workers would be killed"
    )
    fitting = int((bound * SHARE - memory.shared) // max(memory.each, 1))
    if fitting < 1:
        return [Finding("memory", "problem", f"{text}. Not even one worker fits; give it more memory", pool.name)]
    return [Finding("memory", "problem", text, pool.name, _lowered(pool, fitting), (shell.reload(pool.name),))]


def _lowered(pool: PoolConfig, most: int) -> tuple[str, ...]:
    """Return the lines for fewer workers, and for the numbers that cannot be above that."""
    lines = [f"pm.max_children = {most}"]
    if pool.pm == "dynamic":
        numbers = {
            "pm.max_spare_servers": pool.pm_max_spare_servers,
            "pm.start_servers": pool.pm_start_servers,
            "pm.min_spare_servers": pool.pm_min_spare_servers,
        }
        lines += [f"{name} = {most}" for name, number in numbers.items() if number > most]
    return tuple(lines)


def judge_all_memory(config: Config, memories: Mapping[str, Memory], machine: Machine) -> list[Finding]:
    """Judge whether all pools find room beside each other, where each does alone."""
    if len(memories) < 2 or not machine.bounds:
        return []
    bound, name = machine.bounds[0]
    needs = {pool.name: memories[pool.name].for_all(pool) for pool in config.pools if pool.name in memories}
    total = sum(needs.values())
    if total <= bound * SHARE or max(needs.values()) > bound * SHARE:
        return []
    largest = sorted(needs, key=lambda one: -needs[one])[:3]
    shown = ", ".join(f"{one} {format_size(needs[one])}" for one in largest)
    text = (
        f"if all {len(needs)} pools have pm.max_children workers, they take about {format_size(total)} (the largest: "
        f"{shown}), and there are {format_size(bound)} {name}. Lower pm.max_children, or set process.max in [global]"
    )
    return [Finding("memory", "warning", text)]


def judge_backlog(pool: PoolConfig, machine: Machine, shell: Shell) -> list[Finding]:
    """Judge listen.backlog, which the kernel cuts without a word."""
    limit, wanted = machine.somaxconn, pool.listen_backlog
    if limit is None or wanted <= limit:
        return []
    text = f"listen.backlog = {wanted} is cut to {limit}, as net.core.somaxconn says: more connections are refused"
    if not isinstance(pool.listen, TcpAddress):
        text = f"listen.backlog = {wanted} is cut to {limit}, as net.core.somaxconn says: nginx answers 502 beyond that"
    setting = f"net.core.somaxconn={wanted}"
    commands = (
        join("sysctl", "-w", setting),
        write_file("/etc/sysctl.d/60-pyfpm.conf", setting),
        shell.reload(pool.name),
    )
    return [Finding("backlog", "problem", text, pool.name, commands=commands)]


def judge_descriptors(config: Config, machine: Machine) -> list[Finding]:
    """Judge whether the master can hold its descriptors when all pools are full."""
    children = sum(pool.pm_max_children for pool in config.pools)
    if config.global_.process_max:
        children = min(children, config.global_.process_max)
    need = MASTERS_OWN + PER_POOL * len(config.pools) + PER_CHILD * children
    limit = machine.descriptors
    if limit is None or need <= limit:
        return []
    text = (
        f"with {children} workers in {len(config.pools)} pools the master needs about {need} descriptors, and it has "
        f"{limit} ({machine.descriptors_source})"
    )
    if config.global_.rlimit_files:
        line = f"rlimit_files = {need}"
        text = f"{text}. The line is for [global] of {config.global_.file}; restart the daemon then"
        return [Finding("descriptors", "problem", text, "", (line,))]
    if machine.unit:
        path = f"/etc/systemd/system/{machine.unit}.d/descriptors.conf"
        write = write_file(path, "[Service]", f"LimitNOFILE={need}")
        commands = (write, "systemctl daemon-reload", join("systemctl", "restart", machine.unit))
        return [Finding("descriptors", "problem", text, commands=commands)]
    text = f"{text}. Restart the daemon, after this command in the same shell"
    return [Finding("descriptors", "problem", text, commands=(f"ulimit -n {need}",))]


def judge_worker_descriptors(pool: PoolConfig, used: int | None, shell: Shell) -> list[Finding]:
    """Judge whether a worker can open anything beside what it has from the beginning.

    Args:
        used: descriptors of one that has had no request; None: not known.
    """
    limit = pool.rlimit_files or None
    if used is None or limit is None or limit - used >= WORKER_ROOM:
        return []
    text = (
        f"rlimit_files = {limit} leaves an application {max(limit - used, 0)} descriptors: a worker has {used} before "
        "its first request"
    )
    lines = (f"rlimit_files = {used + 8 * WORKER_ROOM}",)
    return [Finding("descriptors", "problem", text, pool.name, lines, (shell.reload(pool.name),))]
