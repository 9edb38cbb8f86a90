"""`pyfpm version`: what is installed here, for a report of a bug."""

from __future__ import annotations

import platform
import re
import sys
from importlib import metadata

import click

from fpm import __version__
from fpm.cli.options import examples, format_option
from fpm.cli.output import print_json, say
from fpm.worker import hot_path

DISTRIBUTION = "python-fpm"
_PACKAGE = re.compile(r"[A-Za-z0-9._-]+")


@click.command(epilog=examples("pyfpm version", "pyfpm version --format json"))
@format_option()
def version(form: str) -> None:
    """Print the versions of what is installed.

    That is pyfpm, Python, the kernel and the packages, and whether the hot path is compiled.
    """
    compiled, reason = hot_path.load(wanted=True)
    packages = {name: _version_of(name) for name in _requirements()}
    if form == "json":
        print_json(
            {
                "pyfpm": __version__,
                "python": platform.python_version(),
                "executable": sys.executable,
                "system": f"{platform.system()} {platform.release()} {platform.machine()}",
                "hot_path": {"compiled": compiled is not None, "reason": reason if compiled is None else ""},
                "packages": packages,
            }
        )
        return
    say(f"pyfpm {__version__}")
    say(f"Python {platform.python_version()} ({sys.executable})")
    say(f"{platform.system()} {platform.release()} {platform.machine()}")
    say("hot path: compiled" if compiled is not None else f"hot path: plain Python, {reason}")
    for name, found in packages.items():
        say(f"{name} {found or 'is missing'}")


def _requirements() -> list[str]:
    """Name the packages that pyfpm needs; none if it is run from a tree that is not installed."""
    try:
        wanted = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return []
    names = (_PACKAGE.match(one) for one in wanted if "extra ==" not in one)
    return sorted(match[0] for match in names if match)


def _version_of(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
