"""What the packages say about pyfpm is what pyproject.toml says."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

TOP = Path(__file__).parents[2]
PROJECT = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]


def test_every_package_has_the_version_of_the_project() -> None:
    debian = re.match(r"pyfpm \((.+)\) ", (TOP / "contrib" / "debian" / "changelog").read_text())
    rpm = re.search(r"^Version: +(\S+)$", (TOP / "contrib" / "rpm" / "pyfpm.spec").read_text(), re.MULTILINE)
    assert debian is not None
    assert rpm is not None
    assert debian[1] == rpm[1] == PROJECT["version"]


def test_the_makefile_names_the_dependencies_that_there_are() -> None:
    """`make demo` says what it installs, from the lines of the table."""
    text = (TOP / "pyproject.toml").read_text()
    table = text[text.index("\ndependencies = [") :]
    listed = re.findall(r'^ *"([a-z0-9-]+)', table[: table.index("\n]")], re.MULTILINE)
    assert listed == [re.split(r"[<>=]", one)[0] for one in PROJECT["dependencies"]]
