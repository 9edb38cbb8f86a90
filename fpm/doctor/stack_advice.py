"""What mends that stacks cannot be read by ptrace. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from fpm.config.model import PoolConfig
from fpm.doctor.findings import Finding
from fpm.doctor.shell import write_file

CHECK = "stacks"


def judge(pool: PoolConfig, reason: str, unit: str) -> list[Finding]:
    """Judge one pool.

    Args:
        reason: why ptrace does not work for its processes; "" if it does.
        unit: of systemd; "" without it.
    """
    if not reason:
        return []
    text = (
        f"stacks of this pool's processes cannot be read by ptrace: {reason}. They write them themselves when they are "
        "signalled, which fails for one that hangs in C"
    )
    return [Finding(CHECK, "warning", text, pool.name, commands=_commands(reason, unit))]


def _commands(reason: str, unit: str) -> tuple[str, ...]:
    for word, commands in _BY_REASON.items():
        if word in reason:
            return commands
    if "CAP_SYS_PTRACE" in reason and unit:
        path = f"/etc/systemd/system/{unit}.d/stacks.conf"
        return (write_file(path, "[Service]", "AmbientCapabilities=CAP_SYS_PTRACE"), "systemctl daemon-reload")
    return ()


_BY_REASON: Mapping[str, tuple[str, ...]] = {
    "kernel.yama.ptrace_scope = 1": ("sysctl -w kernel.yama.ptrace_scope=0",),
    "kernel.yama.ptrace_scope = 2": ("sysctl -w kernel.yama.ptrace_scope=1",),
}
