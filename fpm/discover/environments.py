"""Finds the virtual environments of a project, as `pyfpm serve` and `pyfpm init` take them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping

VENVS = ("venv", ".venv", "env")


def find_venvs(directory: str, variables: Mapping[str, str]) -> Iterator[str]:
    """Yield virtual environments in a directory, and the active one if it is not that of pyfpm itself."""
    paths = [os.path.join(directory, name) for name in VENVS]
    active = variables.get("VIRTUAL_ENV", "")
    if active and os.path.realpath(active) != os.path.realpath(sys.prefix):
        paths.append(os.path.abspath(active))
    for path in dict.fromkeys(paths):
        if os.path.exists(os.path.join(path, "pyvenv.cfg")) and os.path.exists(os.path.join(path, "bin", "python")):
            yield path
