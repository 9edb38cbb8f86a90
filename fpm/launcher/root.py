"""The plain chroot of a pool, with no namespace around it."""

from __future__ import annotations

import os

from fpm.launcher.step import step


def change_root(root: str | None) -> None:
    """Make a directory the root of this process; None: it stays as it is.

    Raises:
        OSError: it cannot be done; `filename` is the step.
    """
    if root is not None:
        step(f"chroot = {root}", lambda: os.chroot(root))
        os.chdir("/")
