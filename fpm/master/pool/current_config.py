"""The configuration in force of one pool, and the numbers of its generations: one object, which all its parts read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fpm.config.hung_paths import is_hung
from fpm.config.model import PoolConfig

RESOLVED = ("chdir", "app", "python", "pythonpath")
"""What symbolic links may change from one generation to the next."""


class CurrentConfig:
    """What counts for a pool now.

    A generation's directory, such as /srv/app/current, is followed once, when the generation begins. Whatever starts
    later within the generation (a worker, a template after a crash) finds the same release, also while the next one is
    being put in its place.
    """

    def __init__(self, config: PoolConfig) -> None:
        self.config = config
        """As the file says. A change of numbers replaces it, and nothing else here."""
        self.resolved = resolve_release(config)
        """The same with the directories of this generation."""
        self.former: PoolConfig | None = None
        """The resolved configuration of the generation before, for a rollback."""
        self.generation = 0
        """0 until the pool begins to serve: a new one does not before the reload that brings it is decided."""
        self.last_generation = 0
        """Numbers are not used again: that of a check that has failed is in the log."""

    def begin(self) -> None:
        """Begin the first generation, unless a check has begun it."""
        if not self.generation:
            self.generation = self.next_generation()

    def next_generation(self) -> int:
        """Take the next number."""
        self.last_generation += 1
        return self.last_generation

    def new_generation(self, config: PoolConfig, resolved: PoolConfig, generation: int) -> None:
        """Let this generation take the place of the present one."""
        self.former = self.resolved if self.generation else None
        self.config, self.resolved, self.generation = config, resolved, generation

    def apply_live(self, config: PoolConfig) -> None:
        """Go on with the same generation by other numbers; its directories stay."""
        self.config = config
        self.resolved = replace(config, **{name: getattr(self.resolved, name) for name in RESOLVED})

    def resolve_again(self) -> None:
        """Follow the links anew: nothing of this generation runs."""
        self.resolved = resolve_release(self.config)

    def dump(self) -> dict[str, Any]:
        """Describe it for the next master, which reads the same configuration."""
        return {
            "generation": self.generation,
            "last_generation": self.last_generation,
            "resolved": {name: getattr(self.resolved, name) for name in RESOLVED},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where `dump` was."""
        self.generation, self.last_generation = state["generation"], state["last_generation"]
        values = state["resolved"]
        self.resolved = replace(self.config, **{**values, "pythonpath": tuple(values["pythonpath"])})


def resolve_release(config: PoolConfig) -> PoolConfig:
    """Resolve `chdir`, and move what lies below it (app, pythonpath, python) along.

    A pool in a chroot is left as it is: its links mean something else outside.
    """
    directory = config.chdir
    if directory is None or config.chroot is not None or is_hung(directory):
        return config
    real = os.path.realpath(directory)
    if real == os.path.normpath(directory):
        return config

    def move(path: str) -> str:
        if path.startswith("script:/"):
            return "script:" + move(path.removeprefix("script:"))
        return real + path[len(directory) :] if path.startswith(directory.rstrip("/") + "/") else path

    # The interpreter of a venv below the directory: its own links must stay links, or it would not find its venv.
    return replace(
        config,
        chdir=real,
        app=move(config.app),
        python=move(config.python),
        pythonpath=tuple(move(path) for path in config.pythonpath),
    )


def still_exists(resolved: PoolConfig) -> bool:
    """Can a generation with this configuration begin again, as far as its directory tells?"""
    directory = resolved.chdir
    return directory is None or resolved.chroot is not None or (not is_hung(directory) and os.path.isdir(directory))
