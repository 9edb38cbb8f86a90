"""What a reload is to bring about, and which pools it judges.

Judged are those that somebody wants to change: the named ones, or, if nobody is named, the new and changed ones. If one
of them lacks something on this machine, the reload is refused. Any other pool that lacks something is left as it is:
its user can see to that at any time, so it must not decide about the others. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace

from fpm.config.model import Config, PoolConfig
from fpm.frozen import dataclass
from fpm.master.reload.plan import Scope, compare_pools


@dataclass(frozen=True, slots=True)
class Target:
    """The new configuration, and what of it counts.

    Attributes:
        scope: what the administrator has asked for.
        judged: pools for which the reload is refused if they could not start.
        left: pools that are left as they are, with the reason.
        notes: what is to be said of pools beside the plan.
        files: what has been read last, if that is not `config`: a rollback changes a pool, and no file.
    """

    config: Config
    scope: Scope
    judged: frozenset[str]
    left: dict[str, str] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    files: Config | None = None

    @property
    def lacking(self) -> list[str]:
        """List what this machine lacks for the pools that are judged: the reload is refused for it."""
        judged = [pool.name for pool in self.config.pools if pool.name in self.judged]
        return [line for name in judged for line in self.config.obstacles.get(name, ())]

    def refuse(self, name: str, reason: str) -> bool:
        """Note that a pool's address cannot be had; tell whether the whole reload is refused for it."""
        if name in self.judged:
            return True
        self.left[name] = reason
        return False

    def settle(self, running: Mapping[str, PoolConfig]) -> Target:
        """Let the pools that are left keep the configuration by which they run; one that does not run does not come."""
        pools = [running.get(pool.name) if pool.name in self.left else pool for pool in self.config.pools]
        return replace(self, config=replace(self.config, pools=tuple(pool for pool in pools if pool is not None)))


def make_target(config: Config, running: Mapping[str, PoolConfig], scope: Scope) -> Target:
    """Say what a reload of these pools, or of all, brings about."""
    judged = frozenset(scope.named) or frozenset(
        pool.name for pool in config.pools if pool.name not in running or compare_pools(running[pool.name], pool)
    )
    left = {name: "; ".join(lines) for name, lines in config.obstacles.items() if name not in judged}
    return Target(config, scope, judged, left)
