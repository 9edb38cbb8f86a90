"""A small Debian with a real systemd, made by `.ci/setup machine` and booted by systemd-nspawn.

The tree is only read: whatever happens in a machine is in its memory and gone with it. Commands enter it by nsenter;
its files are seen from here below `/proc/PID/root`, Unix sockets to connect to as well.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.support.processes import Child, spawn_logged
from tests.support.waiting import wait_until

MADE = Path(__file__).parents[2] / ".venv" / "machine"
TREE, WHEELS, REASON = MADE / "tree", MADE / "wheels", MADE / "reason"
ENVIRON = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/root"}
HIERARCHIES = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd")
"""Where systemd needs a control group: version 2 alone, or beside version 1."""
KILLED = -signal.SIGKILL


class Machine:
    """A booted machine."""

    def __init__(self, nspawn: Child, leader: int) -> None:
        """
        Args:
            leader: the process that is PID 1 in the machine.
        """
        self._nspawn = nspawn
        self.leader = leader

    def path(self, path: str) -> Path:
        """The place of a file of the machine, seen from here; symbolic links with absolute targets lead astray."""
        return Path(f"/proc/{self.leader}/root{path}")

    def write(self, path: str, text: str, *, mode: int = 0o644) -> None:
        """Write a file of the machine, and the directories above it."""
        place = self.path(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        place.chmod(mode)

    def copy(self, source: Path, path: str) -> None:
        """Copy a file or a directory from here into the machine."""
        place = self.path(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, place, dirs_exist_ok=True)
        else:
            shutil.copy(source, place)

    def run(self, *command: str, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run a command in the machine as root, to its end, whatever its exit status."""
        entered = ("nsenter", "--target", str(self.leader), "--all", "--root", "--wd", *command)
        return subprocess.run(entered, env=ENVIRON, capture_output=True, text=True, timeout=timeout, check=False)

    def must(self, *command: str, timeout: float = 60.0) -> str:
        """Run a command that must succeed; returns its standard output."""
        done = self.run(*command, timeout=timeout)
        assert done.returncode == 0, f"{command}: exit status {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def show(self, unit: str, *names: str) -> dict[str, str]:
        """Properties of a unit, as `systemctl show` has them."""
        lines = self.must("systemctl", "show", f"--property={','.join(names)}", unit).splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)

    def close(self) -> None:
        """Kill everything in the machine."""
        os.kill(self.leader, signal.SIGKILL)
        assert self._nspawn.wait(30.0) is not None, "systemd-nspawn does not end after its machine"


def _need() -> None:
    """Skip the test if there is no machine to boot here."""
    if os.geteuid() != 0:
        pytest.skip("needs root: it boots a machine with systemd-nspawn")
    if REASON.exists():
        pytest.skip(f"no machine: {REASON.read_text().strip()}")
    if not TREE.exists() or shutil.which("systemd-nspawn") is None:
        pytest.skip("no machine (.ci/setup machine; make test does it)")


@contextmanager
def _groups(name: str) -> Iterator[list[Path]]:
    """Control groups for a machine, where no service manager of this machine makes them; removed at the end."""
    made: list[Path] = []
    if not Path("/run/systemd/system").exists():
        made = [Path(place, name) for place in HIERARCHIES if Path(place, "cgroup.procs").exists()]
    for group in made:
        group.mkdir()
    try:
        yield made
    finally:
        for group in made:
            # Control groups have files that cannot be removed, and are removed without them.
            for directory, _, _ in os.walk(group, topdown=False):
                wait_until(lambda directory=directory: _removed(directory), message=f"{directory} is in use")


def _removed(group: str) -> bool:
    try:
        os.rmdir(group)
    except OSError:
        return False  # a process that has been killed is still leaving it
    return True


def _command(name: str, groups: list[Path]) -> list[str]:
    enter = [
        "/bin/sh",
        "-c",
        'while [ "$1" != -- ]; do echo $$ >"$1/cgroup.procs"; shift; done; shift; exec "$@"',
        "sh",
    ]
    nspawn = ["systemd-nspawn", "--quiet", f"--machine={name}", f"--directory={TREE}", "--boot"]
    # Volatile: an overlay in memory. Console: it would want a terminal.
    nspawn += ["--read-only", "--volatile=overlay", "--private-network", "--register=no", "--console=pipe"]
    nspawn += ["--keep-unit"] if groups else []
    nspawn += ["--system-call-filter=@known"]  # whoever filters system calls there is systemd, or pyfpm
    nspawn += [f"--bind-ro={WHEELS}:/wheels"]
    return [*enter, *map(str, groups), "--", "setpriv", "--pdeathsig", "KILL", *nspawn]


@contextmanager
def booted(log: Path) -> Iterator[Machine]:
    """A machine for the time of a block, or the test is skipped with the reason.

    Args:
        log: takes what systemd-nspawn says.
    """
    _need()
    name = f"pyfpm-test-{os.getpid()}"
    # Version 2 alone in the machine, as in every current distribution, whatever this machine has.
    environ = {**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1", "SYSTEMD_NSPAWN_LOCK": "0"}
    with _groups(name) as groups:
        nspawn = Child(spawn_logged(_command(name, groups), environ, log))

        def leader() -> int | None:
            if not nspawn.alive():
                return -1
            inner = psutil.Process(nspawn.pid).children()
            ready = [one.pid for one in inner if Path(f"/proc/{one.pid}/root/run/systemd/private").is_socket()]
            return ready[0] if ready else None

        found = wait_until(leader, message="no machine within a minute")
        if found == -1:
            pytest.skip(f"systemd-nspawn cannot boot a machine here: {log.read_text().strip()[-300:]}")
        machine = Machine(nspawn, found)
        try:
            machine.run("systemctl", "is-system-running", "--wait")
            yield machine
        finally:
            machine.close()
