"""What the benchmark needs and makes itself: two programs in C, and a virtual environment for the peers."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).parent
BUILD = BENCH.parent / "build"
APPS = BENCH / "apps"
VENV = BUILD / "bench-venv"
PACKAGES = ("gunicorn", "flup6", "django", "flask")
"""The newest that there are."""


class Missing(Exception):
    """Something that cannot be had here; the comparison goes on without it."""


def search_path() -> str:
    """With the directories of root's programs."""
    return os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


@functools.cache
def compiled(name: str) -> Path:
    """The program that gcc makes of bench/NAME.c.

    Raises:
        Missing: there is no compiler, or it refuses.
    """
    source, program = BENCH / f"{name}.c", BUILD / f"bench-{name}"
    if program.exists() and program.stat().st_mtime > source.stat().st_mtime:
        return program
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise Missing("no C compiler")
    BUILD.mkdir(exist_ok=True)
    done = subprocess.run(
        [compiler, "-O2", "-Wall", "-o", program, source], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Missing(f"{source.name} does not compile: {done.stderr[-500:]}")
    return program


def python() -> str:
    """The interpreter below every server: Debian's, which is the one inside its uWSGI, else ours."""
    debian = "/usr/bin/python3"
    return debian if sys.version_info[:2] == (3, 11) and os.access(debian, os.X_OK) else sys.executable


@functools.cache
def venv() -> Path:
    """The virtual environment of the peers and of every application, made when first needed; its bin directory.

    uWSGI is built in it, if there are a compiler and Python's headers; Debian's serves otherwise.
    """
    ready = VENV / ".ready-2"
    if not ready.exists():
        print("installing the servers to compare with", file=sys.stderr)
        subprocess.run([python(), "-m", "venv", VENV], check=True, timeout=120)
        pip: list[str | Path] = [VENV / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "-q", "install"]
        done = subprocess.run([*pip, *PACKAGES], check=False, timeout=300)
        subprocess.run([*pip, "uwsgi"], capture_output=True, timeout=300, check=False)
        if done.returncode == 0:
            ready.touch()
    return VENV / "bin"


def uwsgi() -> list[str | Path]:
    """The command of uWSGI with Python inside.

    Raises:
        Missing: there is neither the newest nor Debian's.
    """
    if (venv() / "uwsgi").exists():
        return [venv() / "uwsgi", "--virtualenv", VENV]
    debian = shutil.which("uwsgi")
    if debian is None:
        raise Missing("uWSGI is not installed")
    return [debian, "--plugin", "python3", "--virtualenv", VENV]


def php_fpm() -> Path:
    """PHP-FPM's program, whose name has its version in Debian.

    Raises:
        Missing: it is not installed.
    """
    for directory in ("/usr/sbin", "/usr/local/sbin"):
        for program in sorted(Path(directory).glob("php-fpm*"), reverse=True):
            return program
    raise Missing("PHP-FPM is not installed")


def own_version() -> str:
    """Of pyfpm, with the commit if this is a checkout."""
    found = importlib.metadata.version("python-fpm")
    try:
        command = ["git", "-C", str(BENCH), "describe", "--always", "--dirty"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except OSError:
        return found
    return f"{found} ({done.stdout.strip()})" if done.returncode == 0 else found


def versions() -> dict[str, str]:
    """Of what takes part; what is missing is left out."""
    commands: dict[str, list[str | Path]] = {
        "Python": [venv() / "python", "--version"],
        "nginx": [shutil.which("nginx", path=search_path()) or "nginx", "-v"],
        "Gunicorn": [venv() / "gunicorn", "--version"],
        "Django": [venv() / "python", "-m", "django", "--version"],
    }
    for name, command, option in (("uWSGI", uwsgi, "--version"), ("PHP-FPM", lambda: [php_fpm()], "-v")):
        try:
            commands[name] = [*command()[:1], option]
        except Missing:
            continue
    found = {}
    for name, words in commands.items():
        try:
            done = subprocess.run(words, capture_output=True, text=True, timeout=20, check=False)
        except OSError:
            continue
        if number := re.search(r"\d+(\.\d+)+", done.stdout + done.stderr):
            found[name] = number[0]
    return found
