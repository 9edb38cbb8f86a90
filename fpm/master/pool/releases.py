"""A generation's own directory: symbolic links such as /srv/app/current are followed once, when the generation begins.

Whatever starts later within the generation (a worker, a template after a crash) finds the same release, also while the
next one is being put in its place.
"""

from __future__ import annotations

import os
from dataclasses import replace

from fpm.config.model import PoolConfig


def pin(config: PoolConfig) -> PoolConfig:
    """The configuration with `chdir` resolved, and what lies below it (app, pythonpath, python) moved along.

    A pool in a chroot is left as it is: its links mean something else outside.
    """
    directory = config.chdir
    if directory is None or config.chroot is not None:
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


def still_exists(config: PoolConfig) -> bool:
    """Can a generation with this pinned configuration begin again, as far as its directory tells?"""
    return config.chdir is None or config.chroot is not None or os.path.isdir(config.chdir)
