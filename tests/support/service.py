"""pyfpm as a service of a machine: installed as an administrator does it, watched by systemctl and the journal."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support import raw_fastcgi
from tests.support.directories import opened_directory
from tests.support.fpm import APPS
from tests.support.machine import WHEELS, Machine
from tests.support.wheel import build_wheel

UNIT = "pyfpm.service"
POOL = {"user": "www", "listen": "/run/pyfpm/$pool.sock", "listen.group": "www-data", "chdir": "/srv/www"}
WORKERS = {"app": "hello:application", "pm": "static", "pm.max_children": 1}


class Service:
    """pyfpm in /opt/pyfpm of a machine, with applications in /srv/www, which belong to the user www."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def install(self) -> None:
        """Install the wheel of this checkout in a virtual environment, and set the machine up."""
        with opened_directory() as made:
            wheel = build_wheel(made)
            self.machine.copy(wheel, f"/opt/{wheel.name}")
        must = self.machine.must
        must("python3", "-m", "venv", "--without-pip", "/opt/pyfpm")
        # A pip need not be installed to install, which takes longer than all the rest.
        (pip,) = WHEELS.glob("pip-*.whl")
        pip_of_venv = ("/opt/pyfpm/bin/python", f"/wheels/{pip.name}/pip")
        offline = ("--quiet", "--no-index", "--find-links=/wheels", "--no-compile", "--root-user-action=ignore")
        must(*pip_of_venv, "install", *offline, f"/opt/{wheel.name}", timeout=180.0)
        must("/opt/pyfpm/bin/pyfpm", "setup")
        must("useradd", "--system", "www")
        self.machine.copy(APPS, "/srv/www")

    def configure(self, pools: Mapping[str, Mapping[str, object]]) -> None:
        """Have these pools and no others, each in its file; values of POOL and WORKERS where they say nothing."""
        directory = self.machine.path("/etc/pyfpm/pools.d")
        for file in directory.glob("*.conf"):
            file.unlink()
        for name, changes in pools.items():
            lines = [f"{key} = {value}" for key, value in {**POOL, **WORKERS, **changes}.items() if value is not None]
            (directory / f"{name}.conf").write_text("\n".join([f"[{name}]", *lines]) + "\n")

    def start(self, pools: Mapping[str, Mapping[str, object]]) -> None:
        """Configure the pools, and start the service afresh."""
        self.configure(pools)
        self.machine.run("systemctl", "reset-failed", UNIT)
        self.machine.must("systemctl", "restart", UNIT)

    @contextmanager
    def drop_in(self, text: str, unit: str = UNIT) -> Iterator[None]:
        """Lines below [Service] of the unit for the time of a block, in force from the next start on."""
        file = f"/run/systemd/system/{unit}.d/test.conf"
        self.machine.write(file, f"[Service]\n{text}\n")
        try:
            self.machine.must("systemctl", "daemon-reload")
            yield
        finally:
            self.machine.path(file).unlink()
            self.machine.must("systemctl", "daemon-reload")

    @contextmanager
    def enabled(self, *units: str) -> Iterator[None]:
        """Have these units enabled and started for the time of a block; no master runs before it and after it."""
        self.stop()
        self.machine.must("systemctl", "enable", "--now", *units)
        try:
            yield
        finally:
            self.machine.must("systemctl", "disable", "--now", *units)
            self.stop()

    def stop(self) -> None:
        """Stop every master."""
        self.machine.must("systemctl", "stop", UNIT, "pyfpm@*.service")

    def pid(self, unit: str = UNIT) -> int:
        """The master, as the machine numbers processes; 0 if there is none."""
        return int(self.machine.show(unit, "MainPID")["MainPID"])

    def address(self, pool: str) -> str:
        """The socket of a pool, to connect to from here."""
        return str(self.machine.path(f"/run/pyfpm/{pool}.sock"))

    def get(self, pool: str, path: str = "/", *, query: str = "") -> raw_fastcgi.Reply:
        """One request to a pool, over a connection of its own."""
        return raw_fastcgi.get(self.address(pool), path, query=query)

    def describe(self) -> str:
        """The state of the service and the end of the journal, for whoever waits in vain."""
        return self.machine.run("systemctl", "status", "--no-pager", "--full", "--lines=40", UNIT).stdout

    def cursor(self) -> str:
        """The end of the journal, for `journal`."""
        return (
            self.machine.must("journalctl", "--quiet", "--lines=0", "--show-cursor").strip().removeprefix("-- cursor: ")
        )

    def journal(self, cursor: str, unit: str = UNIT) -> list[dict[str, Any]]:
        """What the processes of the unit have logged after the cursor."""
        self.machine.must("journalctl", "--sync")
        # Given the unit as well, journalctl takes the first entry for that of the cursor, and leaves it out.
        lines = self.machine.must("journalctl", "--quiet", "--output=json", f"--after-cursor={cursor}").splitlines()
        return [entry for entry in map(json.loads, lines) if entry.get("_SYSTEMD_UNIT") == unit]


def messages(entries: list[dict[str, Any]]) -> str:
    """Their texts, a line each."""
    return "\n".join(str(entry["MESSAGE"]) for entry in entries)


def file_text(path: Path) -> str:
    """What is in a file; nothing if it is not there."""
    return path.read_text() if path.exists() else ""
