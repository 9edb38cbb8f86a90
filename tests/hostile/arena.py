"""One daemon of root with three pools under three users, one of which attacks; and how it is put in order afterwards.

sites/NAME/          each pool's own directory, owned by its user: the application, logs/, run/
root/                a directory that only root may enter, with files that nobody may change
open/                files of root that everybody may read
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path

import psutil

from tests.hostile.attacks import Attack, Place
from tests.hostile.measures import Limits, Waits, complaints, differences, listing, measuring
from tests.hostile.witness import Witness
from tests.support import raw_fastcgi
from tests.support.fpm import APPS, Daemon
from tests.support.holdings import count_kinds
from tests.support.interpreter import pool_python
from tests.support.pools import facts, wait_state
from tests.support.processes import descendants, own_memory, reap_adopted
from tests.support.reloads import reload
from tests.support.waiting import wait_until

HERE = Path(__file__).parent
USERS = {"attacker": "games", "neighbour": "news", "third": "backup"}
WORKERS = 2
BASELINE_TIME = 1.5
PATIENCE = 20.0
"""Seconds that an attacker's client waits, beyond the attack's own time, for a worker that may be busy."""
SHORT_PATIENCE = 2.0
"""The same where a worker stops itself, or listens no more, and the client comes again and again."""
COMMAND_TIME = 160.0
"""Seconds: a reload whose check an attacker has passed waits 60 for each worker that does not become ready then."""
MORE_DESCRIPTORS = 12
"""What a master may hold more after an attack: a 503 responder's scoreboard and its parking socket, open logs."""
MORE_MEMORY = 8 << 20
"""Bytes that a master may have grown by after an attack; what is kept for each request or message would be more."""


class Arena:
    """A running daemon, and what the neighbour's clients wait for beside an honest busy pool."""

    def __init__(self, limits: Limits, more: Mapping[str, str] | None = None) -> None:
        """`more`: directives of all three pools."""
        self.limits = limits
        self.more = dict(more or {})
        self.fpm = Daemon({})
        self.directory = self.fpm.directory
        self.site = self.directory / "sites" / "attacker"
        self.uid = pwd.getpwnam(USERS["attacker"]).pw_uid
        self._make_directories()
        self.fpm.configure({name: self._pool(name) for name in USERS}, global_=self._global())
        self.fpm.expect_log(
            r"\[pool attacker\]", "attacker", "ERROR:   ", "reload failed, nothing has changed: not checked"
        )
        self.fpm.start()
        for name in USERS:
            wait_state(self.fpm, name, "running")
        self._witness = Witness(self.fpm.pid)

    def _global(self) -> Mapping[str, object]:
        return {"process_control_timeout": "1s", "process.max": 40}

    def _pool(self, name: str) -> dict[str, object]:
        site = self.directory / "sites" / name
        attacker = name == "attacker"
        return {
            "user": USERS[name],
            "listen": site / "run" / "fpm.sock",
            "listen.mode": "0666",
            "chdir": site,
            "app": "attacker:application" if attacker else "hello:application",
            "pm.max_children": WORKERS,
            "access.log": site / "logs" / "access.log",
            "slowlog": site / "logs" / "slow.log",
            "request_slowlog_timeout": "200ms" if attacker else "0",
            "startup_timeout": "10s",
            **self.more,
        }

    def _make_directories(self) -> None:
        for name, mode in (("root", 0o700), ("open", 0o755)):
            (self.directory / name).mkdir(mode=mode)
            for file in ("secret", "shadow.log", "fpm.sock"):
                (self.directory / name / file).write_text(f"{file}\n")
        for name in USERS:
            self._make_site(name)

    def _make_site(self, name: str) -> None:
        site, user = self.directory / "sites" / name, pwd.getpwnam(USERS[name])
        for folder in (site, site / "logs", site / "run"):
            folder.mkdir(parents=True, exist_ok=True)
            os.chown(folder, user.pw_uid, user.pw_gid)
        shutil.copy(APPS / "hello.py", site)
        for file in ("attacker.py", "toolbox.py"):
            shutil.copy(HERE / file, site)

    @cached_property
    def before(self) -> Waits:
        """What the neighbour's clients wait for while the attacker's pool merely computes."""
        with self.measuring() as waits:
            self._run(Attack("an honest busy application", "burn(SECONDS)", Place.WORKERS, seconds=BASELINE_TIME))
        return waits

    # --- what an attacker and an administrator do -----------------------------------------------------------------

    def code(self, code: str, seconds: float = 1.0, *, patience: float = PATIENCE) -> raw_fastcgi.Reply:
        """Run code in a worker of the attacker's pool."""
        params = raw_fastcgi.web_params("/", method="POST", query=str(seconds), body=code.encode())
        return raw_fastcgi.exchange(self.fpm.address("attacker"), params, code.encode(), timeout=patience + seconds)

    def _run(self, attack: Attack) -> None:
        """Let the attacker and the administrator do what an attack says."""
        end = time.monotonic() + attack.seconds
        administrator = threading.Thread(target=self._administrate, args=(attack, end), daemon=True)
        administrator.start()
        match attack.place:
            case Place.WORKER | Place.WORKERS:
                self._serve(attack, end)
            case Place.TEMPLATE:
                (self.site / "at_import.py").write_text(attack.code)
                self._command("reload", "--timeout", "2", "attacker")
            case Place.SHELL:
                self._shell(attack)
        wait_until(lambda: time.monotonic() >= end)
        administrator.join(COMMAND_TIME)

    def _serve(self, attack: Attack, end: float) -> None:
        def serve() -> None:
            while True:
                with suppress(OSError):  # it has shot itself, or its socket
                    self.code(attack.code, attack.seconds, patience=SHORT_PATIENCE if attack.repeat else PATIENCE)
                if not attack.repeat or time.monotonic() >= end:
                    return

        together([serve] * (WORKERS if attack.place is Place.WORKERS else 1))

    def _administrate(self, attack: Attack, end: float) -> None:
        while attack.administrator and time.monotonic() < end:
            for words in attack.administrator:
                if words[0].startswith("SIG"):
                    self.fpm.signal(signal.Signals[words[0]])
                elif words == ("status",):
                    # What the command prints, without the start of a program, which takes longer than most attacks.
                    void([self.fpm.figures(pool) for pool in USERS])
                else:
                    self._command(*words)

    def _command(self, *words: str) -> None:
        """A command of the administrator: it does what it is to do (0), or says that the pool has a fault (1, 78)."""
        done = self.fpm.cli(*words, timeout=COMMAND_TIME)
        assert done.returncode in (0, 1, 78), f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"

    def _shell(self, attack: Attack) -> None:
        """Run code as the pool's user outside of the pool."""
        program = f"from toolbox import *\nSECONDS = {attack.seconds}\n{attack.code}"
        user = pwd.getpwuid(self.uid)
        subprocess.run(
            [pool_python(), "-c", program],
            cwd=self.site,
            env={"PYTHONPATH": str(self.site), "PYTHONDONTWRITEBYTECODE": "1"},
            user=user.pw_uid,
            group=user.pw_gid,
            extra_groups=[],
            timeout=attack.seconds + 30,
            check=False,
        )

    @contextmanager
    def measuring(self) -> Iterator[Waits]:
        """Measure the neighbour and the master while the block runs."""

        def neighbour() -> None:
            reply = self.fpm.get("neighbour")
            assert reply.status == 200, reply

        with measuring(neighbour, lambda: void(facts(self.fpm, "neighbour")), self._witness) as waits:
            yield waits

    def attack(self, *attacks: Attack) -> list[str]:
        """Let the attacker do all of these at once; everything that it has reached and must not."""
        fpm, usual = self.fpm, self.before
        good = (fpm.workers("neighbour"), facts(fpm, "neighbour")["generation"])
        kinds, memory = count_kinds(fpm.pid), own_memory(fpm.pid)
        before = listing(self.directory, self._may_change())
        with self.measuring() as waits:
            together([lambda attack=attack: self._run(attack) for attack in attacks])
        found = complaints(usual, waits, self.limits)
        found += differences(before, listing(self.directory, self._may_change()))
        found += [f"in the log: {line}" for line in self.fpm.log().splitlines() if is_forged(line)]
        if (now := (fpm.workers("neighbour"), facts(fpm, "neighbour")["generation"])) != good:
            found.append(f"the neighbour's workers and generation were {good}, are {now}")
        self.repair()
        return found + self._left(sum(kinds.values()), memory)

    def _left(self, descriptors: int, memory: int) -> list[str]:
        found = []
        try:
            wait_until(lambda: sum(count_kinds(self.fpm.pid).values()) <= descriptors + MORE_DESCRIPTORS)
        except AssertionError:  # what the dead have said has been read by then
            found.append(f"descriptors of the master: {descriptors} before, now {count_kinds(self.fpm.pid)}")
        if (grown := own_memory(self.fpm.pid) - memory) > MORE_MEMORY:
            found.append(f"the master has grown by {grown} bytes")
        if "internal error" in self.fpm.log():
            found.append("an internal error is in the log")
        return found

    def _may_change(self) -> list[Path]:
        """The attacker's own directory, and what the daemon itself writes."""
        sites = [self.directory / "sites" / name for name in USERS]
        logs = [site / "logs" / name for site in sites for name in ("access.log", "slow.log")]
        return [self.site, self.fpm.log_file, self.fpm.control, *logs]

    # --- afterwards -------------------------------------------------------------------------------------------------

    def repair(self) -> None:
        """End whatever the attacker has running, restore his site, and reload his pool."""
        self._end_attackers()
        shutil.rmtree(self.site)  # with his listening socket, which comes back at the reload
        self._make_site("attacker")
        reload(self.fpm, "attacker")
        wait_state(self.fpm, "attacker", "running")
        wait_until(lambda: len(self.fpm.workers("attacker")) == WORKERS)
        wait_until(lambda: self.fpm.get("attacker").status == 200)

    def _end_attackers(self) -> None:
        deadline = time.monotonic() + 30
        while found := [one for one in descendants(os.getpid()) if self._is_attackers(one)]:
            assert time.monotonic() < deadline, f"processes of the attacker do not end: {found}"
            for one in found:
                _end(one)
            psutil.wait_procs(found, timeout=1)
            reap_adopted(found)

    def _is_attackers(self, process: psutil.Process) -> bool:
        try:
            title = " ".join(process.cmdline()).rstrip()
            ours = title.startswith("pyfpm: ")
            return process.uids().real == self.uid and not ours and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    def finish(self) -> None:
        """Stop the daemon and make every check of `Daemon.finish`."""
        self._witness.close()
        self._end_attackers()
        self.fpm.expect_descriptors(scoreboard=2, socket=4, anon_inode=2, pipe=8, file=4)
        self.fpm.finish()


def together(jobs: list[Callable[[], None]]) -> None:
    """Do all of these at once, and wait until all are done."""
    threads = [threading.Thread(target=job, daemon=True) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(COMMAND_TIME + 20)
    assert not any(thread.is_alive() for thread in threads), "an attack does not end"


def is_forged(line: str) -> bool:
    """Whether a line of the error log that an attacker has written does not bear his pool's name."""
    return "forged" in line and "[pool attacker]" not in line


def void(_: object) -> None:
    """Drop a result."""


def _end(process: psutil.Process) -> None:
    try:
        process.send_signal(signal.SIGCONT)
        process.kill()
    except psutil.NoSuchProcess:
        return
