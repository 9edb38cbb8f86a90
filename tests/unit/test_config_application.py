"""The application and its interpreter: found, and usable by the pool's user."""

from __future__ import annotations

import stat
import sys
from pathlib import Path

import pytest

from fpm.config.permissions import EXECUTE, READ, PathComponent, describe, obstacle
from tests.support.configuration import Files, section


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def directory(path: str, mode: int, uid: int = 0, gid: int = 0, has_acl: bool = False) -> PathComponent:
    return PathComponent(path, stat.S_IFDIR | mode, uid, gid, has_acl)


def file(path: str, mode: int, uid: int = 0, gid: int = 0) -> PathComponent:
    return PathComponent(path, stat.S_IFREG | mode, uid, gid, False)


ROOT = directory("/", 0o755)


@pytest.mark.parametrize(
    ("components", "uid", "groups", "want", "blocked"),
    [
        ([ROOT, directory("/bin", 0o755), file("/bin/p", 0o755)], 7, [7], EXECUTE, None),
        ([ROOT, directory("/root", 0o700), file("/root/p", 0o755)], 7, [7], EXECUTE, "/root"),
        ([ROOT, directory("/root", 0o700), file("/root/p", 0o755)], 0, [0], EXECUTE, None),
        ([ROOT, directory("/h", 0o700, 7), file("/h/p", 0o755)], 7, [7], EXECUTE, None),
        ([ROOT, directory("/h", 0o750, 8, 9), file("/h/p", 0o755)], 7, [7, 9], EXECUTE, None),
        ([ROOT, directory("/h", 0o750, 8, 9), file("/h/p", 0o755)], 7, [7], EXECUTE, "/h"),
        ([ROOT, directory("/h", 0o711), file("/h/p", 0o755)], 7, [7], EXECUTE, None),
        # The class of the owner counts, even if others may do more.
        ([ROOT, directory("/h", 0o077, 7), file("/h/p", 0o755)], 7, [7], EXECUTE, "/h"),
        ([ROOT, directory("/h", 0o707, 8, 9), file("/h/p", 0o755)], 7, [9], EXECUTE, "/h"),
        ([ROOT, file("/p", 0o644)], 7, [7], EXECUTE, "/p"),
        ([ROOT, file("/p", 0o644)], 0, [0], EXECUTE, "/p"),
        ([ROOT, file("/p", 0o000)], 0, [0], READ, None),
        ([ROOT, file("/p", 0o711)], 7, [7], READ, "/p"),
        ([ROOT, directory("/lib", 0o711)], 7, [7], READ | EXECUTE, "/lib"),
        ([ROOT, directory("/h", 0o700, has_acl=True), file("/h/p", 0o755)], 7, [7], EXECUTE, None),
        ([ROOT, PathComponent("/none", 0, 0, 0, False)], 0, [0], READ, "/none"),
    ],
)
def test_obstacle(components: list[PathComponent], uid: int, groups: list[int], want: int, blocked: str | None) -> None:
    component = obstacle(components, uid, groups, want)
    assert (component.path if component else None) == blocked


def test_describe() -> None:
    assert describe(directory("/root", 0o700)) == "/root has mode 0700"
    assert describe(PathComponent("/none", 0, 0, 0, False)) == "there is no /none"


def program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_the_default_interpreter_is_the_one_that_runs_pyfpm(files: Files) -> None:
    assert files.pool(section("www")).python == sys.executable


def test_interpreter_and_environment(files: Files) -> None:
    python = program(files.directory / "venv/bin/python")
    assert files.pool(section("www", python="venv/bin/python")).python == str(python)
    assert files.pool(section("www", venv="venv")).python == str(python)
    assert files.pool(section("www", venv=str(python.parent.parent))).python == str(python)
    (complaint,) = files.complaints(section("www", venv="venv", python="venv/bin/python"))
    assert "Remove one of the two" in complaint


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"python": "none/python"}, "[www] python: there is no 'none'. Set an interpreter"),
        ({"venv": "none"}, "[www] venv: there is no 'none'. Create the environment: /usr/bin/python3 -m venv none"),
        ({"python": "plain"}, "[www] python: this user cannot execute 'plain': plain has mode 0644"),
        ({"python": "dir"}, "[www] python: 'dir' is not a program"),
        ({"python": "loop"}, "[www] python: there is no 'loop'"),
        ({"python": "bin/python3.9"}, "[www] python: 'bin/python3.9' is Python 3.9; pools need CPython 3.11 or later"),
        ({"python": "link"}, "is Python 3.9"),
        (
            {"python": "bin/pypy3.10-c"},
            "'bin/pypy3.10-c' is PyPy; pools need CPython 3.11 or later. Set another path, as in",
        ),
        ({"python": "/bin/true"}, "[www] python: '/bin/true' is not a Python interpreter; pools need CPython 3.11"),
    ],
)
def test_interpreter_refused(files: Files, changes: dict[str, str | None], part: str) -> None:
    files.write("plain", "").chmod(0o644)
    (files.directory / "dir").mkdir()
    (files.directory / "loop").symlink_to("loop")
    program(files.directory / "bin/python3.9")
    program(files.directory / "bin/pypy3.10-c")
    (files.directory / "link").symlink_to("bin/python3.9")
    (complaint,) = files.complaints(section("www", **changes))
    assert part in complaint


def test_an_interpreter_below_a_closed_home_says_which_directory_is_closed(files: Files) -> None:
    program(files.directory / "home/alice/bin/python3")
    files.directory.chmod(0o700)
    (complaint,) = files.complaints(section("www", user="daemon", python="home/alice/bin/python3"), is_root=True)
    assert complaint.startswith("main.conf:7: [www] python: user daemon cannot execute 'home/alice/bin/python3': ")
    closed = Path(complaint.split("': ")[1].split(" has mode 0700")[0])
    assert str(files.directory).startswith(str(closed))
    assert "or use a virtual environment elsewhere, created with /usr/bin/python3" in complaint


def test_a_library_that_cannot_be_read(files: Files) -> None:
    # In a chroot, since the directories above the test's own are closed to others.
    jail = files.directory / "jail"
    program(jail / "usr/bin/python3.12")
    library = jail / "usr/lib/python3.12"
    library.mkdir(parents=True)
    (jail / "venv/bin").mkdir(parents=True)
    (jail / "venv/bin/python").symlink_to("/usr/bin/python3.12")
    for path in (jail, *(path for path in jail.rglob("*") if path.is_dir())):
        path.chmod(0o755)
    text = section("www", user="daemon", chroot=str(jail), venv="/venv")
    assert files.pool(text, is_root=True).python == "/venv/bin/python"
    library.chmod(0o700)
    (complaint,) = files.complaints(text, is_root=True)
    assert "[www] venv: user daemon cannot read the library of '/venv/bin/python' in /usr/lib/python3.12: " in complaint
    assert "jail/usr/lib/python3.12 has mode 0700" in complaint


def test_inside_of_a_chroot_paths_and_links_are_those_inside(files: Files) -> None:
    program(files.directory / "jail/usr/bin/python3.12")
    (files.directory / "jail/usr/bin/python3").symlink_to("/usr/bin/python3.12")
    (files.directory / "jail/srv/www").mkdir(parents=True)
    files.write("jail/srv/www/app.py", "")
    for path in files.directory.rglob("*"):
        path.chmod(0o755, follow_symlinks=True) if path.exists() else None
    text = section(
        "www",
        user="daemon",
        prefix="jail",
        chroot="$prefix",
        chdir="/srv/www",
        python="/usr/bin/python3",
        app="app.py:app",
    )
    pool = files.pool(text, is_root=True)
    assert pool.chroot == f"{files.directory}/jail"
    assert (pool.chdir, pool.python, pool.app) == ("/srv/www", "/usr/bin/python3", "/srv/www/app.py:app")


def test_a_chroot_without_an_interpreter(files: Files) -> None:
    (files.directory / "jail").mkdir()
    jail = str(files.directory / "jail")
    (complaint,) = files.complaints(section("www", user="daemon", chroot=jail), is_root=True)
    assert complaint.startswith(f"main.conf:1: [www] python: there is no '{sys.executable}' inside the chroot 'jail'")


@pytest.mark.parametrize(
    ("chroot", "chdir", "part"),
    [
        ("jail", None, "the chroot path 'jail' must start with a '/'"),
        ("/nowhere", None, "the chroot path '/nowhere' does not exist or is not a directory"),
        ("/", "/nowhere", "the chdir path '/nowhere' does not exist"),
        ("/tmp", "/nowhere", "the chdir path '/nowhere' within the chroot path '/tmp' ('/tmp/nowhere') does not exist"),
    ],
)
def test_chroot_refused(files: Files, chroot: str, chdir: str | None, part: str) -> None:
    complaints = files.complaints(section("www", user="daemon", chroot=chroot, chdir=chdir), is_root=True)
    assert part in complaints[0]


def test_a_chroot_is_refused_for_others_than_root(files: Files) -> None:
    (complaint,) = files.complaints(section("www", chroot="/"))
    assert "[www] chroot: only root can start a pool in a chroot, and it must not run without unnoticed" in complaint


def test_an_application_in_a_file(files: Files) -> None:
    files.write("sub/app.py", "")
    assert files.pool(section("www", app="sub/app.py:make()")).app == f"{files.directory}/sub/app.py:make()"
    moved = files.pool(section("www", app="app.py:app", chdir=f"{files.directory}/sub", pythonpath="../lib:/x"))
    assert moved.app == f"{files.directory}/sub/app.py:app"
    assert moved.pythonpath == (f"{files.directory}/lib", "/x")
    (complaint,) = files.complaints(section("www", app="other.py:app"))
    assert "[www] app: there is no file 'other.py'. Relative paths are relative to chdir, else to prefix" in complaint


def test_an_application_that_the_pool_cannot_read(files: Files) -> None:
    program(files.directory / "jail/bin/python3")
    files.write("jail/app.py", "").chmod(0o600)
    for name in ("jail", "jail/bin"):
        (files.directory / name).chmod(0o755)
    text = section("www", user="daemon", chroot=f"{files.directory}/jail", python="/bin/python3", app="app.py:app")
    (complaint,) = files.complaints(text, is_root=True)
    assert "[www] app: user daemon cannot read '/app.py': jail/app.py has mode 0600" in complaint


def test_requests_to_warm_the_template_with(files: Files) -> None:
    found = files.pool(section("www", preload__warmup="get / /login?next=/ HEAD /a"))
    assert found.preload_warmup == ("GET /", "GET /login?next=/", "HEAD /a")
    assert files.pool(section("www")).preload_warmup == ()


@pytest.mark.parametrize(
    ("text", "more", "complaint"),
    [
        ("/", {}, "expected GET or HEAD and a path, as in GET /, found '/'"),
        ("POST /", {}, "expected GET or HEAD and a path, as in GET /, found 'POST'"),
        ("GET / é", {}, "expected GET or HEAD and a path, as in GET /, found 'é'"),
        ("GET", {}, "write a path after GET, as in GET /"),
        ("GET / HEAD", {}, "write a path after HEAD, as in GET /"),
        (
            "GET /",
            {"preload": "no"},
            "with preload = no each worker imports the application itself. Remove one of the two",
        ),
    ],
)
def test_what_is_no_warm_up(files: Files, text: str, more: dict[str, str], complaint: str) -> None:
    (found,) = files.complaints(section("www", preload__warmup=text, **more))
    assert found.endswith(f"[www] preload.warmup: {complaint}.")
