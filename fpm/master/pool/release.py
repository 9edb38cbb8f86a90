"""What the paths of a pool's configuration lead to, and the generations that a rollback knows: values. Pure."""

from __future__ import annotations

from dataclasses import replace

from fpm.config.model import PoolConfig
from fpm.frozen import dataclass

RESOLVED = ("chdir", "app", "python", "pythonpath")
"""What symbolic links may change from one generation to the next."""


@dataclass(frozen=True, slots=True)
class Release:
    """A configuration, and what its paths lead to."""

    config: PoolConfig
    """With the directories of this release."""
    paths: tuple[tuple[str, str], ...] = ()
    """What the path of each directive leads to. An interpreter that was replaced at its path leads elsewhere, too."""

    @property
    def directory(self) -> str:
        """Return the directory, or the script, from which the application is imported; "" if Python alone knows it."""
        found = dict(self.paths)
        return found.get("chdir") or found.get("app") or found.get("pythonpath", "")

    def differences(self, other: Release) -> frozenset[str]:
        """List the directives whose paths lead elsewhere."""
        mine, others = dict(self.paths), dict(other.paths)
        return frozenset(name for name in mine.keys() | others.keys() if mine.get(name) != others.get(name))

    def is_same(self, other: Release) -> bool:
        """Tell whether a generation of the other would differ in nothing that pyfpm knows: configuration or paths."""
        return self.paths == other.paths and replace(self.config, where="") == replace(other.config, where="")

    def with_numbers(self, config: PoolConfig) -> Release:
        """Take other numbers; the directories stay."""
        return replace(self, config=replace(config, **{name: getattr(self.config, name) for name in RESOLVED}))


@dataclass(frozen=True, slots=True)
class Generation:
    """A former generation, to which a rollback returns."""

    number: int
    release: Release
