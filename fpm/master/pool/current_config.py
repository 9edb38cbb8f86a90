"""The configuration in force of one pool, and the numbers of its generations: one object, which all its parts read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fpm.config.application_value import script_file, split_application
from fpm.config.hung_paths import is_hung
from fpm.config.local_system import LocalSystem
from fpm.config.model import PoolConfig
from fpm.config.packed import pack_pool, unpack_pool
from fpm.master.pool.hot_paths import HotPaths
from fpm.master.pool.release import Generation, Release
from fpm.protocol.application import SCRIPT


class CurrentConfig:
    """What counts for a pool now.

    A generation's directory, such as /srv/app/current, is followed once, when the generation begins. Whatever starts
    later within the generation (a worker, a template after a crash) finds the same release, also while the next one is
    being put in its place.
    """

    def __init__(self, config: PoolConfig) -> None:
        self.config = config
        """As the file says. A change of numbers replaces it, and nothing else here."""
        self.release = resolve_release(config)
        """The same with the directories of this generation."""
        self.former: Generation | None = None
        """The last generation of another release or configuration, for a rollback."""
        self.same_since = 0
        """The first generation of the present release and configuration; later ones are reloads of the same."""
        self.hot_paths = HotPaths()
        self.generation = 0
        """0 until the pool begins to serve: a new one does not before the reload that brings it is decided."""
        self.last_generation = 0
        """Numbers are not used again: that of a check that has failed is in the log."""

    @property
    def resolved(self) -> PoolConfig:
        """The configuration in force, with the directories of this generation."""
        return self.release.config

    def begin(self) -> None:
        """Begin the first generation, unless a check has begun it."""
        if not self.generation:
            self.generation = self.same_since = self.next_generation()

    def follow(self, before: CurrentConfig) -> None:
        """Go on with the generations of a pool that moves to another socket; the configuration is that of this one."""
        self.former, self.same_since, self.release = before.former, before.same_since, before.release
        self.generation, self.last_generation = before.generation, before.last_generation

    def next_generation(self) -> int:
        """Take the next number."""
        self.last_generation += 1
        return self.last_generation

    def new_generation(self, config: PoolConfig, release: Release, generation: int) -> None:
        """Let this generation take the place of the present one."""
        if not self.generation:
            self.same_since = generation
        elif not release.is_same(self.release):
            self.former, self.same_since = Generation(self.generation, self.release), generation
        self.config, self.release, self.generation = config, release, generation
        self.hot_paths.forget_before(generation)

    def apply_live(self, config: PoolConfig) -> None:
        """Go on with the same generation by other numbers; its directories stay."""
        self.config = config
        self.release = self.release.with_numbers(config)

    def resolve_again(self) -> None:
        """Follow the links anew: nothing of this generation runs."""
        self.release = resolve_release(self.config)

    def dump(self) -> dict[str, Any]:
        """Describe it for the next master."""
        former = self.former
        return {
            "generation": self.generation,
            "last_generation": self.last_generation,
            "same_since": self.same_since,
            "config": pack_pool(self.config),
            "release": _dump_release(self.release),
            "former": None if former is None else [former.number, _dump_release(former.release)],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where `dump` was; the configuration in force has been given before, see `restore_config`."""
        self.generation, self.last_generation = state["generation"], state["last_generation"]
        self.same_since = state["same_since"]
        self.release = _restore_release(state["release"], self.config)
        if state["former"] is not None:
            number, release = state["former"]
            self.former = Generation(number, _restore_release(release, self.config))


def restore_config(state: Mapping[str, Any], base: PoolConfig) -> PoolConfig:
    """Return the configuration in force of a pool that `dump` has described.

    After a rollback that is not what the file says.

    Args:
        base: what the file says: counts where the former program does not know a directive.
    """
    return unpack_pool(state["config"], base)


def check_current(state: Mapping[str, Any], base: PoolConfig) -> PoolConfig:
    """Read all that `CurrentConfig.restore` will read; return the configuration in force.

    Raises:
        ValueError, LookupError, TypeError: `CurrentConfig.dump` has not made it.
    """
    own = restore_config(state, base)
    former = [] if state["former"] is None else [state["former"]]
    for number, release in [(state["generation"], state["release"]), *former]:
        _restore_release(release, own)
        int(number)
    int(state["last_generation"]), int(state["same_since"])
    return own


def _dump_release(release: Release) -> dict[str, Any]:
    return {"config": pack_pool(release.config), "paths": release.paths}


def _restore_release(state: Mapping[str, Any], base: PoolConfig) -> Release:
    return Release(unpack_pool(state["config"], base), tuple((name, path) for name, path in state["paths"]))


def resolve_release(config: PoolConfig) -> Release:
    """Resolve `chdir`, and move what lies below it (app, pythonpath, python) along.

    A pool in a chroot is left as it is: its links mean something else outside, and are followed when it starts.
    """
    directory = config.chdir
    if directory is None or config.chroot is not None or is_hung(directory):
        return Release(config, _paths(config))
    real = os.path.realpath(directory)
    if real == os.path.normpath(directory):
        return Release(config, _paths(config))

    def move(path: str) -> str:
        if path.startswith(f"{SCRIPT}/"):
            return SCRIPT + move(path.removeprefix(SCRIPT))
        return real + path[len(directory) :] if path.startswith(directory.rstrip("/") + "/") else path

    # The interpreter of a venv below the directory: its own links must stay links, or it would not find its venv.
    resolved = replace(
        config,
        chdir=real,
        app=move(config.app),
        python=move(config.python),
        pythonpath=tuple(move(path) for path in config.pythonpath),
    )
    return Release(resolved, _paths(resolved))


def _paths(config: PoolConfig) -> tuple[tuple[str, str], ...]:
    """Say what the paths lead to, in the pool's jail if it has one."""
    jail = (config.chroot or "").rstrip("/")
    found = {"python": _interpreter(jail, config.python)}
    if config.chdir is not None:
        found["chdir"] = real_path(config.chdir, jail)
    if config.pythonpath:
        found["pythonpath"] = ":".join(real_path(path, jail) for path in config.pythonpath)
    if config.env_file is not None:
        found["env_file"] = _with_version(real_path(config.env_file, ""))
    file = script_file(config.app) if config.app.startswith(SCRIPT) else split_application(config.app)[0]
    if file is not None and file.startswith("/"):
        found["app"] = real_path(file, jail)
    return tuple(sorted(found.items()))


def real_path(path: str, jail: str) -> str:
    """Return what an absolute path leads to, as a process in the jail ("": none) finds it, from outside."""
    system = LocalSystem(environ={}, is_root=True, allow_root=False)
    try:
        return system.components(path, jail)[-1].path
    except OSError:  # the jail has gone
        return jail + path


def _interpreter(jail: str, python: str) -> str:
    """Say which virtual environment it is, and which file: a new Python may be put at the same path."""
    if is_hung(jail + python):
        return jail + python
    return f"{real_path(os.path.dirname(python), jail)} {_with_version(real_path(python, jail))}"


def _with_version(path: str) -> str:
    """Add what tells a file from another that is put in its place, or from itself when it is written to."""
    if is_hung(path):
        return path
    try:
        found = os.stat(path, follow_symlinks=False)
    except OSError:
        return path
    return f"{path} {found.st_dev}:{found.st_ino}:{found.st_mtime_ns}"


def still_exists(resolved: PoolConfig) -> bool:
    """Can a generation with this configuration begin again, as far as its directory tells?"""
    directory = resolved.chdir
    return directory is None or resolved.chroot is not None or (not is_hung(directory) and os.path.isdir(directory))
