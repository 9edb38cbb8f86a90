"""To which generation a pool goes back, and what is said about it. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from fpm.config.model import PoolConfig
from fpm.errors import StartError
from fpm.master.pool.release import Generation, Release


class Generations(Protocol):
    """A pool's generations (CurrentConfig)."""

    @property
    def former(self) -> Generation | None:
        """The last one of another release or configuration."""

    @property
    def release(self) -> Release:
        """The present one's."""

    @property
    def generation(self) -> int:
        """The present one's number."""

    @property
    def same_since(self) -> int:
        """The first one that has had nothing different from the present one."""


def find_rollback(pool: Generations, resolve: Callable[[PoolConfig], Release]) -> tuple[Generation, str]:
    """Choose the last generation that differs from the present one in its configuration or its paths.

    Args:
        resolve: says what the paths of a configuration lead to now.

    Returns:
        The generation as it can be had now, and a sentence about both.

    Raises:
        StartError: there is none.
    """
    name, former = pool.release.config.name, pool.former
    if former is None and pool.same_since >= pool.generation:
        raise StartError(f"pool {name} has no previous generation")
    release = pool.release if former is None else resolve(former.release.config)
    if former is None or release.is_same(pool.release):
        raise StartError(
            f"pool {name}: generation {pool.generation} has the same {_what(pool.release)} and the same configuration "
            "as those before it, so there is nothing to go back to. Code that was edited in place is not kept: "
            "put the former files back, then reload"
        )
    note = f"back from generation {pool.generation} to what generation {former.number} was"
    if release.paths == pool.release.paths:
        note += (
            f". WARNING: only the configuration goes back: {_what(pool.release)} is the same, and code that was edited "
            "in place stays as it is"
        )
    elif pool.generation > pool.same_since:
        note += (
            f". WARNING: generations {pool.same_since} to {pool.generation} have the same {_what(pool.release)}; "
            "code that was edited in place between them is not kept"
        )
    return Generation(former.number, release), note


def _what(release: Release) -> str:
    return f"directory ({release.directory})" if release.directory else "paths"
