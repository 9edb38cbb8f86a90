"""Nothing of a jail is left behind: no process, no mount, no namespace, no interface; however the pool ends."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import psutil
import pytest

from tests.support.fpm import Daemon, Start
from tests.support.inside import INSIDE, inside, mounts_of
from tests.support.processes import is_zombie
from tests.support.reloads import reload
from tests.support.waiting import wait_until

pytestmark = pytest.mark.root

SEALED = {**INSIDE, "chroot.automount": True, "namespaces": "mount pid net ipc uts user cgroup"}


def mounts(own: Path | None = None) -> list[str]:
    """What is mounted in the namespace of the tests, without what other tests have mounted meanwhile.

    Args:
        own: the directory of this test's daemon.
    """
    found = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    others = [path for path in found if path.startswith("/run/netns") or "/pyfpm-test-" in path]
    return sorted(path for path in found if path not in others or (own and path.startswith(str(own))))


def users_of(namespaces: set[str]) -> list[int]:
    """The processes that are in one of these namespaces."""
    found = []
    for process in psutil.process_iter():
        for name in ("mnt", "pid", "net"):
            try:
                if os.readlink(f"/proc/{process.pid}/ns/{name}") in namespaces:
                    found.append(process.pid)
            except OSError:
                continue
    return found


def own_namespaces(fpm: Daemon, pool: str) -> set[str]:
    """Those of a pool's worker that are not the machine's."""
    (worker,) = fpm.workers(pool)
    names = ("mnt", "pid", "net")
    found = {os.readlink(f"/proc/{worker}/ns/{name}") for name in names}
    return found - {os.readlink(f"/proc/self/ns/{name}") for name in names}


def leave_somebody(fpm: Daemon, pool: str) -> None:
    """Have a process there that nobody waits for, in a session of its own."""
    code = "import subprocess; subprocess.Popen(['sleep', '600'], start_new_session=True); answer = 1"
    inside(fpm, pool, code)


def test_a_pool_that_a_reload_removes_and_a_daemon_that_stops(daemon: Start) -> None:
    """And a generation that another has replaced."""
    before = mounts()
    fpm = daemon({"www": SEALED, "stays": SEALED, "other": {}})
    for pool in ("www", "stays"):
        leave_somebody(fpm, pool)
    removed, replaced = (own_namespaces(fpm, pool) for pool in ("www", "stays"))
    assert len(removed | replaced) == 6
    with fpm.no_descriptor_leak():
        fpm.configure({"stays": SEALED, "other": {}})
        reload(fpm)
        wait_until(lambda: not users_of(removed | replaced))
    (fpm.directory / "www.sock").unlink(missing_ok=True)
    assert mounts(fpm.directory) == before
    assert fpm.get("other").status == 200
    leave_somebody(fpm, "stays")
    stopped = own_namespaces(fpm, "stays")
    assert len(stopped) == 3
    fpm.signal(signal.SIGTERM)
    assert fpm.wait() == 0
    wait_until(lambda: not users_of(stopped))
    assert mounts(fpm.directory) == before


def test_a_master_that_is_killed(daemon: Start) -> None:
    """Its workers leave after the request in hand, the template with them, and then the kernel ends all others."""
    before = mounts()
    fpm = daemon({"www": SEALED, "root": {**INSIDE, "chroot.automount": True}})
    leave_somebody(fpm, "www")
    namespaces = own_namespaces(fpm, "www") | own_namespaces(fpm, "root")
    family = fpm.processes("pyfpm")
    fpm.signal(signal.SIGKILL)
    assert fpm.wait() == -signal.SIGKILL
    _, alive = psutil.wait_procs(family, timeout=60)
    assert [one for one in alive if not is_zombie(one)] == []
    wait_until(lambda: not users_of(namespaces))
    assert mounts(fpm.directory) == before
    for path in (*fpm.directory.glob("*.sock"), fpm.pid_file):
        path.unlink()
    fpm.forget()


STEPS = {
    "a target that is missing": (
        {"mount[]": "tmpfs /nowhere/at/all"},
        "mount: there is no /nowhere/at/all to mount on (/nowhere is missing). Create it, empty, or correct the path",
    ),
    "a source that is missing": (
        {"mount[]": "bind /nowhere /mnt"},
        "mount: there is no '/nowhere' (the source of bind /mnt). Create it, or correct the path",
    ),
    "a source that is missing, in a new root": (
        {"chroot.automount": True, "mount[]": "bind /nowhere /mnt"},
        "mount: there is no '/nowhere' (the source of bind /mnt). Create it, or correct the path",
    ),
    "an upper directory on another kind of file system": (
        {"mount[]": "overlay /usr /mnt upperdir=/proc,workdir=/proc"},
        "mount overlay /mnt: ",
    ),
    "a file upon a directory": (
        {"mount[]": "bind /etc/hosts /mnt"},
        "mount bind /etc/hosts /mnt: the source is a file and the target a directory; both must be the same",
    ),
    "a file below a directory of the system": (
        {"chroot.automount": True, "mount[]": "bind /etc/hosts /usr/not-there"},
        "mount bind /etc/hosts /usr/not-there: there is no /usr/not-there; create it, empty, and try again",
    ),
}


NAMESPACES = {"alone": None, "apart": "pid net user"}


def test_steps_that_fail_are_named_and_leave_nothing(daemon: Start) -> None:
    before = mounts()
    pools: dict[str, dict[str, object]] = {}
    errors = {}
    for number, (settings, error) in enumerate(STEPS.values()):
        # What is missing is found before there is a process.
        for more, names in NAMESPACES.items() if error.startswith("mount ") else [("alone", None)]:
            pools[f"{more}{number}"] = {**INSIDE, **settings, "namespaces": names}
            errors[f"{more}{number}"] = error
    fpm = daemon({**pools, "other": {}}, started=False)
    fpm.expect_log(*(rf"\[pool {pool}\] failed to start" for pool in pools))
    fpm.start()
    # The first of several tries: what the configuration shows is not looked for again.
    said = {pool: re.search(rf"\[pool {pool}\] failed to start: (.*)", fpm.log()) for pool in pools}
    assert {pool: found for pool, found in said.items() if not found or errors[pool] not in found[1]} == {}
    assert mounts(fpm.directory) == before
    assert {pool: fpm.get(pool).status for pool in (*pools, "other")} == {**dict.fromkeys(pools, 503), "other": 200}
    for pool in pools:
        wait_until(lambda pool=pool: not fpm.processes(f"template {pool}") + fpm.processes(f"launcher {pool}"))


def test_a_template_that_is_killed_half_way(daemon: Start) -> None:
    """The jail is made, and the application is not there yet."""
    before = mounts()
    fpm = daemon({"www": {}}, started=False)
    (fpm.apps / "hanging.py").write_text("import time\ntime.sleep(600)\n")
    fpm.configure({"www": {**SEALED, "app": "hanging:application"}, "other": {}})
    fpm.expect_log(r"\[pool www\] failed to start")
    fpm.start("run", ready=False)
    (template,) = wait_until(lambda: fpm.processes("template www"))
    wait_until(lambda: os.readlink(f"/proc/{template.pid}/ns/mnt") != os.readlink("/proc/self/ns/mnt"))
    template.kill()
    fpm.wait_log(r"\[pool www\] failed to start: its template exited on signal 9")
    assert mounts(fpm.directory) == before
    fpm.configure({"www": SEALED, "other": {}})
    reload(fpm)
    assert inside(fpm, "www", "answer = 1") == 1


def test_nothing_is_mounted_where_the_daemon_is(daemon: Start) -> None:
    """Also where its mounts are shared with others, as systemd has them."""
    fpm = daemon({"www": {**INSIDE, "mount[]": "tmpfs /mnt"}, "root": SEALED}, started=False)
    fpm.start(wrapper=("/usr/bin/unshare", "--mount", "--propagation", "shared"))
    assert " shared:" in Path(f"/proc/{fpm.pid}/mountinfo").read_text()
    (worker,) = fpm.workers("www")
    assert "/mnt" in mounts_of(worker)
    here = Path(f"/proc/{fpm.pid}/mountinfo").read_text()
    assert "/mnt" not in mounts_of(fpm.pid)
    assert " pyfpm " not in here
