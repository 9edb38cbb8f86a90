"""Flask and Django in every kind of root, with the master's Python and with others."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.fpm import Daemon, Start
from tests.support.framework_jail import PACKAGES, copy_packages, write_sites
from tests.support.inside import opened_to_all
from tests.support.interpreter import interpreters, pool_python
from tests.support.jail import build_jail

pytestmark = pytest.mark.root

FRAMEWORKS = ("flask", "django")
OTHERS = [path for path in interpreters() if path.startswith(os.path.expanduser("~/"))]
"""Those below root's home, where no other user gets."""


def serve(fpm: Daemon, settings: dict[str, object]) -> None:
    """Start two pools and look at a page of each, before and after a reload."""
    fpm.configure({name: {**settings, "app": f"sites:{name}()"} for name in FRAMEWORKS})
    fpm.start()
    chdir = str(settings.get("chdir", fpm.apps))
    for _ in range(2):
        for name in FRAMEWORKS:
            reply = fpm.get(name, "/Ida")
            assert (reply.status, reply.body.decode()) == (200, f"<p>Ida in {chdir}</p>"), fpm.log()
        assert fpm.cli("reload").returncode == 0


def small_tree(root: Path) -> None:
    """A root with a Python, the two frameworks, and the directories in which something is mounted."""
    build_jail(root, pool_python(), is_whole=True)
    copy_packages(root / "packages")
    for name in ("srv", "proc", "dev", "tmp", "var/tmp", "usr/share/zoneinfo/Europe"):
        (root / name).mkdir(parents=True, exist_ok=True)
    write_sites(root / "srv")
    zone = root / "usr" / "share" / "zoneinfo" / "Europe" / "Berlin"
    zone.write_bytes(Path("/usr/share/zoneinfo/Europe/Berlin").read_bytes())
    opened_to_all([path for path in (root, *root.rglob("*")) if path.is_dir()])
    opened_to_all([zone])
    (root / "tmp").chmod(0o1777)


def test_with_a_virtual_environment(daemon: Start) -> None:
    """Of the system's Python; the packages come by a directory of their own, as they are not installed twice."""
    fpm = daemon({"www": {}}, started=False)
    write_sites(fpm.apps)
    venv = fpm.directory / "venv"
    subprocess.run([pool_python(), "-m", "venv", "--without-pip", str(venv)], check=True, timeout=60)
    (found,) = venv.glob("lib/python3.*/site-packages")
    found.rmdir()
    copy_packages(found)
    serve(fpm, {"venv": venv, "chroot.automount": True})


@pytest.mark.parametrize("python", OTHERS)
def test_with_a_python_below_roots_home(daemon: Start, python: str) -> None:
    fpm = daemon({"www": {}}, started=False)
    write_sites(fpm.apps)
    serve(fpm, {"python": python, "pythonpath": PACKAGES, "chroot.automount": True})


@pytest.mark.parametrize("python", OTHERS[-1:])
def test_with_a_virtual_environment_of_such_a_python(daemon: Start, python: str) -> None:
    """bin/python of the environment is a link to a place that the pool could not reach by itself."""
    fpm = daemon({"www": {}}, started=False)
    write_sites(fpm.apps)
    venv = fpm.directory / "venv"
    subprocess.run([python, "-m", "venv", "--without-pip", str(venv)], check=True, timeout=60)
    serve(fpm, {"venv": venv, "pythonpath": PACKAGES, "chroot.automount": True, "namespaces": "pid ipc net"})


def test_with_a_chroot_that_holds_the_application(daemon: Start) -> None:
    fpm = daemon({"www": {}}, started=False)
    root = fpm.directory / "root"
    copy_packages(root / "packages")
    (root / "srv").mkdir()
    write_sites(root / "srv")
    opened_to_all([root, root / "srv"])
    serve(fpm, {"chroot": root, "chdir": "/srv", "pythonpath": "/packages", "chroot.automount": True})


@pytest.mark.parametrize("how", ["chroot", "rootfs"])
def test_with_an_interpreter_inside(daemon: Start, how: str) -> None:
    fpm = daemon({"www": {}}, started=False)
    root = fpm.directory / "root"
    small_tree(root)
    settings: dict[str, object] = {how: root, "chdir": "/srv", "pythonpath": "/packages"}
    serve(fpm, settings | ({"namespaces": "pid"} if how == "rootfs" else {}))


def test_with_an_interpreter_inside_and_what_a_chroot_may_have(daemon: Start) -> None:
    fpm = daemon({"www": {}}, started=False)
    root = fpm.directory / "root"
    small_tree(root)
    settings = {"chroot": root, "chdir": "/srv", "pythonpath": "/packages", "private_tmp": True, "namespaces": "pid"}
    serve(fpm, settings)
