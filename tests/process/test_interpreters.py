"""A pool's own Python: another version, a virtual environment, an interpreter in a chroot."""

from __future__ import annotations

import glob
import json
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.support.fpm import IS_ROOT, Start
from tests.support.interpreter import module_of_ours, pool_python
from tests.support.jail import build_jail
from tests.support.pools import echo, together, wait_state
from tests.support.waiting import wait_until


@cache
def interpreters() -> list[str]:
    """Every Python from 3.11 on that this machine has, one of each version, the one that runs the tests among them."""
    found = {f"{sys.version_info.major}.{sys.version_info.minor}": sys.executable}
    for minor in range(11, 15):
        name = f"python3.{minor}"
        for path in (
            shutil.which(name),
            *sorted(glob.glob(os.path.expanduser(f"~/.pyenv/versions/3.{minor}*/bin/{name}"))),
        ):
            if path is None or f"3.{minor}" in found:
                continue
            answer = subprocess.run(
                [path, "-c", "import sys; print(sys.version_info[:2])"], capture_output=True, timeout=60
            )
            if answer.stdout.decode().strip() == f"(3, {minor})":
                found[f"3.{minor}"] = path
    return list(found.values())


def test_worker_code_runs_under_every_version(daemon: Start) -> None:
    # An interpreter below root's home is root's alone, so these are pools of root.
    who = {"user": "root", "group": "root"} if IS_ROOT else {}
    common = {"app": "echo:application", "pm.max_children": 2, "ping.path": "/ping", "pm.status_path": "/status", **who}
    cases = {
        f"{preload}{number}": (python, preload)
        for number, python in enumerate(interpreters())
        for preload in ("yes", "no")
    }
    pools = {name: {**common, "python": python, "preload": preload} for name, (python, preload) in cases.items()}
    fpm = daemon(pools, started=False)
    fpm.start(*(["-R"] if IS_ROOT else []), "run")
    for name, (python, _) in cases.items():
        told = echo(fpm, name)
        assert told["executable"] == python
        assert f"python3.{told['version'][1]}" in " ".join(told["path"])
        replies, _ = together(8, lambda _, name=name: fpm.get(name, "/x", query="y" * 1000))
        assert [reply.status for reply in replies] == [200] * 8, cases[name]
        assert fpm.get(name, "/ping").body == b"pong", cases[name]
        page = json.loads(fpm.get(name, "/status", query="json&full").body)
        assert page["accepted conn"] == 11, cases[name]
        assert fpm.get(name, "/status", query="openmetrics").body.endswith(b"# EOF\n"), cases[name]


def test_virtual_environment(daemon: Start) -> None:
    fpm = daemon({"www": {}}, started=False)
    venv = fpm.directory / "venv"
    subprocess.run([pool_python(), "-m", "venv", "--without-pip", str(venv)], check=True, timeout=60)
    (packages,) = venv.glob("lib/python3.*/site-packages")
    (packages / "only_here.py").write_text("from added import application\n")
    added = fpm.directory / "added"
    added.mkdir()
    (added / "added.py").write_text("from echo import application\n")
    (packages / "added.pth").write_text(f"{added}\n")
    fpm.configure({"www": {"app": "only_here:application", "venv": venv}})
    fpm.start()
    told = echo(fpm, "www")
    assert told["executable"] == str(venv / "bin" / "python")
    assert str(packages) in told["path"]
    assert str(added) in told["path"]
    # Nothing of the master's own environment is to be seen, neither its packages nor pyfpm's directory.
    assert not [path for path in told["path"] if path.startswith(sys.prefix + "/")]
    assert str(Path(__file__).parents[2]) not in told["path"]


@pytest.mark.root
def test_site_packages_of_the_master_are_not_the_applications(daemon: Start) -> None:
    fpm = daemon({"www": {"app": "wants_it:application"}}, started=False)
    fpm.expect_log(r"\[pool www\]")
    with module_of_ours() as name:
        (fpm.apps / "wants_it.py").write_text(f"import fpm\nimport {name}\n")
        fpm.start()
        assert wait_state(fpm, "www", "failed")["error"] == f"ModuleNotFoundError: No module named '{name}'"


def test_interpreter_that_vanishes(daemon: Start) -> None:
    fpm = daemon({"www": {}}, started=False)
    venv = fpm.directory / "venv"
    subprocess.run([pool_python(), "-m", "venv", "--without-pip", str(venv)], check=True, timeout=60)
    fpm.configure({"www": {"venv": venv, "pm": "ondemand"}})
    fpm.start()
    python = venv / "bin" / "python"
    moved = python.rename(python.with_name("moved"))
    fpm.expect_log(r"\[pool www\]")
    assert fpm.get("www").status == 503
    assert wait_state(fpm, "www", "failed")["error"] == f"cannot execute {python}: No such file or directory"
    moved.rename(python)
    wait_until(lambda: fpm.get("www").status == 200)


@pytest.mark.root
def test_chroot_with_an_interpreter_inside(daemon: Start) -> None:
    fpm = daemon({"www": {}}, started=False)
    jail = fpm.directory / "jail"
    build_jail(jail, pool_python())
    (jail / "srv").mkdir()
    for name in ("echo.py", "broken_import.py", "trouble.py"):
        shutil.copy(fpm.apps / name, jail / "srv" / name)
    for path in (jail / "srv", *(jail / "srv").iterdir()):
        path.chmod(0o755)
    common = {"chroot": jail, "chdir": "/srv", "pm.max_children": 2}
    pools = {
        "www": {**common, "app": "echo:application", "ping.path": "/ping", "pm.status_path": "/status"},
        "file": {**common, "app": "/srv/trouble.py:application", "pm": "ondemand", "access.log": fpm.directory / "log"},
        "broken": {**common, "app": "broken_import:application"},
        "lazy": {**common, "app": "echo:application", "preload": "no"},
    }
    fpm.configure(pools)
    fpm.expect_log(r"\[pool (broken|file)\]")
    fpm.start()
    for pool in ("www", "lazy"):
        told = echo(fpm, pool)
        assert told["cwd"] == "/srv"
        assert os.stat(f"/proc/{told['pid']}/root").st_ino == jail.stat().st_ino
        assert told["uid"] == 65534
    replies, _ = together(6, lambda _: fpm.get("www"))
    assert [reply.status for reply in replies] == [200] * 6
    assert fpm.get("www", "/ping").body == b"pong"
    assert json.loads(fpm.get("www", "/status", query="json").body)["pool"] == "www"
    assert fpm.get("file").body == b"no trouble\n"
    assert fpm.get("file", "/before").status == 500
    assert fpm.get("file", "/_exit").stdout == b""
    assert fpm.get("file").status == 200
    assert fpm.get("broken").status == 503
