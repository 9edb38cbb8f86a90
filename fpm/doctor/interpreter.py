"""Does a pool's virtual environment match the Python that it uses. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from fpm.config.model import PoolConfig
from fpm.doctor.findings import Finding
from fpm.doctor.shell import as_user
from fpm.frozen import dataclass

CHECK = "venv"


@dataclass(frozen=True, slots=True)
class VenvFacts:
    """A virtual environment, looked at without running anything of it. Paths are this machine's, not a jail's."""

    directory: str
    settings: Mapping[str, str]
    """pyvenv.cfg, by lower-case names."""
    has_home: bool
    """The directory `home` exists."""
    lost: str
    """Where bin/python leads, if that is not there; else ""."""
    version: tuple[int, int] | None
    """Of the program that bin/python is; None: not known."""
    libraries: tuple[tuple[int, int], ...]
    """Versions of its directories lib/pythonX.Y."""
    owner: str
    """Whose it is; "" if it is that of the user who asks."""
    maker: str
    """An interpreter to make it anew with."""
    requirements: str
    """A list of packages that is there; "" if none is known."""


def read_settings(text: str) -> dict[str, str]:
    """Read pyvenv.cfg: lines NAME = VALUE."""
    pairs = (line.partition("=") for line in text.splitlines())
    return {name.strip().lower(): value.strip() for name, sign, value in pairs if sign}


def judge(pool: PoolConfig, facts: VenvFacts | None) -> list[Finding]:
    """Judge one pool; without facts it has no virtual environment."""
    if facts is None:
        return []
    trouble = _trouble(facts)
    if not trouble:
        return []
    commands = [as_user(facts.owner, facts.maker, "-m", "venv", "--clear", facts.directory)]
    if facts.requirements:
        pip = f"{facts.directory}/bin/pip"
        commands.append(as_user(facts.owner, pip, "install", "-r", facts.requirements))
    else:
        trouble += ". Create it again, and install the application's packages in it again"
    return [Finding(CHECK, "problem", trouble, pool.name, commands=tuple(commands))]


def _trouble(facts: VenvFacts) -> str:
    where = f"the virtual environment {facts.directory}"
    if facts.lost:
        return f"{where} was made with a Python that is gone: its bin/python leads to {facts.lost}"
    if not facts.has_home and facts.settings.get("home"):
        return f"{where} was made with a Python that is gone: there is no {facts.settings['home']}, its `home`"
    made = re.match(r"3\.(\d+)", facts.settings.get("version") or facts.settings.get("version_info") or "")
    if facts.version is None:
        return ""
    now = f"{facts.version[0]}.{facts.version[1]}"
    if facts.libraries and facts.version not in facts.libraries:
        there = ", ".join(f"{major}.{minor}" for major, minor in facts.libraries)
        return f"{where} has packages for Python {there}, but its bin/python is {now} now, which does not see them"
    if made and (3, int(made[1])) != facts.version:
        return f"{where} was made for Python 3.{made[1]}, but its bin/python is {now} now"
    return ""
