"""Flask and Django in every kind of root, with the master's Python and with others."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.directories import opened_directory
from tests.support.fpm import Daemon, Start
from tests.support.framework_jail import copy_packages, pages, use_once, write_sites
from tests.support.inside import opened_to_all
from tests.support.interpreter import interpreters, pool_python
from tests.support.jail import build_jail
from tests.support.waiting import wait_until

pytestmark = pytest.mark.root

OTHERS = [path for path in interpreters() if path.startswith(os.path.expanduser("~/"))]
"""Those below root's home, where no other user gets."""
Settings = dict[str, object]
PATIENCE = 300.0


@pytest.fixture(scope="module")
def packages() -> Iterator[Path]:
    """The two frameworks, with the bytecode that is installed with them."""
    with opened_directory() as directory:
        copy_packages(directory / "packages")
        yield directory / "packages"


def serve(fpm: Daemon, pools: dict[str, Settings]) -> None:
    """Start pools that are all one application, and look at their pages, before and after a reload."""
    common = {"app": "sites:both()", "startup_timeout": "5m"}
    fpm.configure({name: {**common, **settings} for name, settings in pools.items()})
    fpm.start(ready=False)
    fpm.wait_ready(timeout=PATIENCE)
    wanted = {name: [(200, f"<p>Ida in {pool.get('chdir', fpm.apps)}</p>")] * 2 for name, pool in pools.items()}
    assert {name: pages(fpm, name) for name in pools} == wanted, fpm.log()
    former = {name: fpm.workers(name) for name in pools}
    done = fpm.cli("reload", timeout=PATIENCE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {name: pages(fpm, name) for name in pools} == wanted, fpm.log()
    wait_until(lambda: not [name for name in pools if set(former[name]) & set(fpm.workers(name))])


def link(packages: Path, target: Path) -> None:
    """The packages in another place, where they need no room."""
    shutil.copytree(packages, target, copy_function=os.link)


def small_tree(root: Path, packages: Path) -> Path:
    """A root with a Python, the two frameworks, and the directories in which something is mounted."""
    build_jail(root, pool_python(), is_whole=True)
    link(packages, root / "packages")
    for name in ("srv", "proc", "dev", "tmp", "var/tmp", "usr/share/zoneinfo/Europe"):
        (root / name).mkdir(parents=True, exist_ok=True)
    write_sites(root / "srv")
    zone = root / "usr" / "share" / "zoneinfo" / "Europe" / "Berlin"
    zone.write_bytes(Path("/usr/share/zoneinfo/Europe/Berlin").read_bytes())
    opened_to_all([path for path in (root, *root.rglob("*")) if path.is_dir()])
    opened_to_all([zone])
    (root / "tmp").chmod(0o1777)
    return root


def application_tree(root: Path, packages: Path) -> Path:
    """A root with the application alone."""
    link(packages, root / "packages")
    (root / "srv").mkdir()
    write_sites(root / "srv")
    opened_to_all([root, root / "srv"])
    return root


def make_venv(python: str, venv: Path) -> Path:
    """A virtual environment; returns the directory of its packages."""
    subprocess.run([python, "-m", "venv", "--without-pip", str(venv)], check=True, timeout=60)
    (found,) = venv.glob("lib/python3.*/site-packages")
    return found


def test_with_pythons_below_roots_home(daemon: Start, packages: Path) -> None:
    """And a virtual environment of one of them, whose bin/python links to where the pool alone could not get."""
    if not OTHERS:
        pytest.skip("no Python is below root's home")
    fpm = daemon({"www": {}}, started=False)
    write_sites(fpm.apps)
    for python in OTHERS:
        use_once(python, packages, fpm.apps)
    venv = fpm.directory / "venv"
    make_venv(OTHERS[-1], venv)
    common = {"pythonpath": packages, "chroot.automount": True}
    pools: dict[str, Settings] = {Path(python).parts[-3]: {**common, "python": python} for python in OTHERS}
    serve(fpm, {**pools, "venv": {**common, "venv": venv, "namespaces": "pid ipc net"}})


def test_with_the_systems_python(daemon: Start, packages: Path) -> None:
    """In a virtual environment, outside and inside of a chroot; and inside with what a chroot may have."""
    fpm = daemon({"www": {}}, started=False)
    write_sites(fpm.apps)
    venv = fpm.directory / "venv"
    installed = make_venv(pool_python(), venv)
    installed.rmdir()
    link(packages, installed)
    tree, application = (fpm.directory / name for name in ("tree", "application"))
    small_tree(tree, packages)
    application_tree(application, packages)
    common: Settings = {"chdir": "/srv", "pythonpath": "/packages"}
    pools: dict[str, Settings] = {
        "venv": {"venv": venv, "chroot.automount": True},
        "application": {**common, "chroot": application, "chroot.automount": True},
        "chroot": {**common, "chroot": tree},
        "rootfs": {**common, "rootfs": tree, "namespaces": "pid"},
        "more": {**common, "chroot": tree, "private_tmp": True, "namespaces": "pid"},
    }
    serve(fpm, pools)
