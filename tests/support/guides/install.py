"""`pip install NAME...` of a page's machine: mounts packages of the tests' own environment where pip would put them."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path


def with_requirements(name: str) -> Iterator[Distribution]:
    """The distribution, and those that it needs everywhere."""
    found = distribution(name)
    yield found
    for line in found.requires or []:
        if ";" not in line:
            yield from with_requirements(re.split(r"[^\w.-]", line)[0])


def install(found: Distribution, scripts: Path, packages: Path) -> None:
    """Show the distribution's files in another environment, and write its commands."""
    for top in {file.parts[0] for file in found.files or [] if not file.parts[0].startswith((".", "_"))}:
        source, target = Path(str(found.locate_file(top))), packages / top
        if source.is_dir():
            target.mkdir(exist_ok=True)
            subprocess.run(["mount", "--bind", source, target], check=True)
        else:
            target.write_bytes(source.read_bytes())
    for point in found.entry_points.select(group="console_scripts"):
        script = scripts / point.name
        call = f"import sys\nfrom {point.module} import {point.attr}\nsys.exit({point.attr}())\n"
        script.write_text(f"#!{scripts}/python3\n{call}")
        script.chmod(0o755)


def main() -> None:
    """Do what the command line says."""
    scripts, command, *names = sys.argv[1:]
    assert command == "install", sys.argv
    (packages,) = Path(scripts).parent.glob("lib/python3*/site-packages")
    for name in [name for name in names if not name.startswith("-")]:
        if name == "python-fpm":
            (Path(scripts) / "pyfpm").symlink_to(Path(sys.executable).with_name("pyfpm"))
            continue
        for found in with_requirements(name):
            install(found, Path(scripts), packages)


if __name__ == "__main__":
    main()
