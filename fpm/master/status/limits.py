"""What bounds the processes and the requests of a pool, as its page shows it. Pure."""

from __future__ import annotations

from fpm.config.directives import POOL_DIRECTIVES
from fpm.config.model import PoolConfig
from fpm.config.tables.entry import Directive
from fpm.status.figures import format_size, format_span

ALWAYS = ("request_terminate_timeout", "request_slowlog_timeout")
"""Shown also where they are off: one who looks for the limit of a request must see that there is none."""
NAMES = (
    *ALWAYS,
    "startup_timeout",
    "read_timeout",
    "send_timeout",
    "background_timeout",
    "pm.background_max",
    "pm.max_memory",
    "pm.max_memory_hard",
    "pm.memory_soft",
    "pm.memory_hard",
    "cgroup.memory_max",
    "cgroup.memory_high",
    "cgroup.cpu_max",
    "cgroup.pids_max",
    "rlimit_files",
    "rlimit_processes",
    "rlimit_as",
    "rlimit_core",
    "rlimit_fsize",
    "rlimit_memlock",
    "cpu_affinity",
)
_DIRECTIVES = [POOL_DIRECTIVES[name] for name in NAMES]
_SIZES = frozenset({"rlimit_as", "rlimit_core", "rlimit_fsize", "rlimit_memlock"})
"""Of kind `limit`, and in bytes."""


def effective_limits(config: PoolConfig) -> list[tuple[str, str]]:
    """List the directives that are set, each with its value in words; see ALWAYS."""
    shown = [(one.name, _words(one, getattr(config, one.attribute))) for one in _DIRECTIVES]
    return [(name, words or "off") for name, words in shown if words or name in ALWAYS]


def _words(directive: Directive, value: float | str | tuple[int, ...] | None) -> str:
    """Return a value in words; "" for one that is not set."""
    if not value:
        return ""
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    if isinstance(value, str):
        return value
    if value == -1:
        return "unlimited"
    if directive.kind == "time":
        return format_span(value)
    is_size = directive.kind == "size" or directive.name in _SIZES
    return format_size(value) if is_size else str(int(value))
