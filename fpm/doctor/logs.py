"""Can a pool's logs be written after the change of user, and by nobody else. Pure."""

from __future__ import annotations

from posixpath import basename

from fpm.config.model import PoolConfig
from fpm.config.permissions import EXECUTE, WRITE, PathComponent, describe, obstacle
from fpm.doctor.findings import Finding
from fpm.doctor.shell import Shell, as_user, join
from fpm.frozen import dataclass

CHECK = "logs"
SAFE = "/var/log/pyfpm"
"""Where logs lie that only root opens."""


@dataclass(frozen=True, slots=True)
class LogFacts:
    """One log of a pool."""

    directive: str
    path: str
    by_pool: bool
    """The pool's user opens it, as he can make and remove files in its directory (fpm.paths.place)."""
    refusal: str
    """Why nobody opens it."""
    warning: str
    """Who else can make and remove files there."""
    components: tuple[PathComponent, ...]
    """Of the file; the last has mode 0 if it is not there."""

    @property
    def exists(self) -> bool:
        """Is there such a file now?"""
        return bool(self.components[-1].mode)

    @property
    def directory(self) -> tuple[PathComponent, ...]:
        """The components of its directory."""
        return self.components[:-1]


def judge(pool: PoolConfig, logs: list[LogFacts], shell: Shell) -> list[Finding]:
    """Judge the logs of one pool."""
    return [found for log in logs for found in _judge_one(pool, log, shell)]


def _judge_one(pool: PoolConfig, log: LogFacts, shell: Shell) -> list[Finding]:
    elsewhere = (
        (f"{log.directive} = {SAFE}/{pool.name}.{basename(log.path)}",),
        (join("install", "-d", "-m", "0755", SAFE), shell.reload(pool.name)),
    )
    if log.refusal:
        text = f"{log.directive} {log.path} cannot be used safely: {log.refusal}"
        return [Finding(CHECK, "problem", text, pool.name, *elsewhere)]
    identity = pool.identity
    if not log.by_pool or identity is None:
        if not log.warning:
            return []
        text = f"{log.directive} {log.path}: {log.warning}, so others can put a file of theirs in its place"
        return [Finding(CHECK, "warning", text, pool.name, *elsewhere)]
    way, want = (log.components, WRITE) if log.exists else (log.directory, WRITE | EXECUTE)
    blocked = obstacle(way, identity.uid, identity.groups, want)
    if blocked is None:
        text = (
            f"{log.directive} {log.path} lies where {identity.user}, as whom the pool runs, makes and removes files: "
            "an attacker who breaks into the application can change or remove the log"
        )
        return [Finding(CHECK, "warning", text, pool.name, *elsewhere)]
    text = f"{identity.user}, as whom the pool runs, cannot write {log.directive} {log.path}: {describe(blocked)}"
    if log.exists and obstacle(log.directory, identity.uid, identity.groups, WRITE | EXECUTE) is None:
        # He does it himself: in his directory the name may mean another file a moment later.
        away = as_user(identity.user, "mv", "--", log.path, f"{log.path}.old")
        return [Finding(CHECK, "problem", text, pool.name, commands=(away, shell.reload(pool.name)))]
    return [Finding(CHECK, "problem", text, pool.name, *elsewhere)]
