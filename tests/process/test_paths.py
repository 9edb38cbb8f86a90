"""Files of the daemon in directories that a pool's user owns: root touches none of them, and none of root's suffers."""

from __future__ import annotations

import os
import pwd
import signal
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.fpm import POOL_USER, Daemon, Start
from tests.support.held import holding
from tests.support.pools import write_app
from tests.support.reloads import reload
from tests.support.waiting import wait_until

pytestmark = pytest.mark.root

SITE_USER = "www-data"
SITE = pwd.getpwnam(SITE_USER)
LOGS = {
    "app": "slow:application",
    "user": SITE_USER,
    "access.log": "site/logs/access.log",
    "access.format": "%r",
    "slowlog": "site/logs/slow.log",
    "request_slowlog_timeout": "150ms",
}


class Site:
    """A directory of a pool's user, and a file of root's that he would like to have."""

    def __init__(self, fpm: Daemon) -> None:
        self.logs = fpm.directory / "site" / "logs"
        self.logs.mkdir(parents=True)
        for path in (self.logs.parent, self.logs):
            os.chown(path, SITE.pw_uid, SITE.pw_gid)
        self.secret = fpm.directory / "secret"
        self.secret.write_text("precious\n")
        self.secret.chmod(0o600)
        self.before = self._look()

    def replace(self, name: str, make: Callable[[Path], object]) -> Path:
        """Put something in the place of a file, as the user would."""
        path = self.logs / name
        path.unlink(missing_ok=True)
        make(path)
        os.lchown(path, SITE.pw_uid, SITE.pw_gid)
        return path

    def check_secret(self) -> None:
        assert self._look() == self.before

    def _look(self) -> tuple[object, ...]:
        found = self.secret.stat()
        return self.secret.read_text(), found.st_mode, found.st_uid, found.st_gid, found.st_ino, found.st_mtime_ns


def test_logs_in_a_directory_of_the_pools_user_are_opened_by_him(daemon: Start) -> None:
    fpm = daemon({"www": LOGS}, started=False)
    fpm.expect_log("executing too slow")
    site = Site(fpm)
    access, slow = site.logs / "access.log", site.logs / "slow.log"
    told = fpm.cli("test").stderr
    for path in (access, slow):
        assert f"'{path}' lies where user {SITE_USER} may make and remove files, so it is opened as {SITE_USER}" in told
    fpm.start()
    assert fpm.get("www", "/first", query="0").status == 200
    wait_until(lambda: access.exists() and access.read_text() == "/first\n")
    with holding(fpm, "/slow?hold"):
        wait_until(lambda: "/slow" in slow.read_text())
    for path in (access, slow):
        assert (path.stat().st_uid, path.stat().st_gid, stat.S_IMODE(path.stat().st_mode)) == (
            SITE.pw_uid,
            SITE.pw_gid,
            0o600,
        )
    rotated = access.rename(site.logs / "access.log.1")
    fpm.signal(signal.SIGUSR1)
    fpm.wait_log(r"\[pool www\] access log file re-opened")
    fpm.wait_log(r"\[pool www\] slowlog file re-opened")
    assert fpm.get("www", "/second", query="0").status == 200
    wait_until(lambda: access.read_text() == "/second\n")
    assert rotated.read_text() == "/first\n/slow\n"
    slow.unlink()
    with holding(fpm, "/slow?hold"):
        fpm.wait_log(r"\[pool www\] slowlog\(.*\) was removed and has been recreated")
        wait_until(lambda: "/slow" in slow.read_text())
    assert slow.stat().st_uid == SITE.pw_uid
    assert fpm.cli("upgrade").returncode == 0
    assert fpm.get("www", "/third", query="0").status == 200
    wait_until(lambda: access.read_text().endswith("/third\n"))


def test_what_the_user_puts_in_the_place_of_a_log_leads_to_nothing_of_roots(daemon: Start) -> None:
    fpm = daemon({"www": LOGS, "other": {}}, started=False)
    site = Site(fpm)
    fpm.expect_log("failed to open access.log", "slowlog", "executing too slow")
    fpm.start()
    makers = (lambda path: path.symlink_to(site.secret), os.mkfifo, lambda path: path.mkdir())
    for number, make in enumerate(makers, 1):
        for name in ("access.log", "slow.log"):
            site.replace(name, make)
        fpm.signal(signal.SIGUSR1)
        wait_until(lambda number=number: fpm.log().count(f"as user {SITE_USER}") >= 2 * number)
        assert fpm.get("www", "/kept", query="0").status == 200
        assert fpm.get("other").status == 200
        assert fpm.cli("status").returncode == 0
        for name in ("access.log", "slow.log"):
            if (site.logs / name).is_dir():
                (site.logs / name).rmdir()
    site.check_secret()
    # Removed, and a link in its place: no signal is needed for the next slow request to make it anew.
    fpm.signal(signal.SIGUSR1)
    wait_until(lambda: (site.logs / "slow.log").is_file())
    site.replace("slow.log", lambda path: path.symlink_to(site.secret))
    with holding(fpm, "/slow?hold"):
        fpm.wait_log(r"slowlog\(.*\) was removed and cannot be recreated: failed to open slowlog")
    site.check_secret()


def test_a_socket_in_a_directory_of_the_pools_user(daemon: Start) -> None:
    fpm = daemon({"www": {"user": SITE_USER, "listen": "site/logs/www.sock"}, "other": {}}, started=False)
    site = Site(fpm)
    path = site.logs / "www.sock"
    pool = {"user": SITE_USER, "listen": path, "listen.owner": POOL_USER}
    fpm.configure({"www": pool, "other": {}})
    fpm.expect_log("cannot adjust .* is not the socket that this daemon has made")
    assert f"so others can put a socket of their own in the place of '{path}'" in fpm.cli("test").stderr
    fpm.start()
    assert (path.stat().st_uid, stat.S_IMODE(path.stat().st_mode)) == (pwd.getpwnam(POOL_USER).pw_uid, 0o666)
    fpm.configure({"www": {**pool, "listen.mode": "0660", "listen.owner": SITE_USER}, "other": {}})
    reload(fpm)
    assert (path.stat().st_uid, stat.S_IMODE(path.stat().st_mode)) == (SITE.pw_uid, 0o660)
    for make in (lambda path: path.symlink_to(site.secret), lambda path: os.link(site.secret, path)):
        path.unlink()
        make(path)
        site.before = site._look()
        fpm.configure({"www": {**pool, "listen.mode": "0664", "listen.owner": SITE_USER}, "other": {}})
        reload(fpm)
        fpm.configure({"www": {**pool, "listen.mode": "0660", "listen.owner": SITE_USER}, "other": {}})
        reload(fpm)
        site.check_secret()
    assert fpm.log().count("is not the socket that this daemon has made") == 2
    assert fpm.get("other").status == 200
    assert fpm.cli("stop").returncode == 0
    assert path.read_text() == "precious\n"
    site.check_secret()


ATTACKER = r"""
import fcntl, json, os, socket, stat

def application(environ, start_response):
    found = []
    for fd in range(3, 64):
        try:
            name = os.readlink(f"/proc/self/fd/{fd}")
        except OSError:
            continue
        found.append(name)
        if not name.startswith("pipe:") or fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            continue
        os.write(fd, b"[29-Nov-2026 00:00:00] ALERT: [pool other] forged\n<0>forged, too\n\x1b[2Jforged\n")
        for action in (lambda: os.ftruncate(fd, 0), lambda: socket.socket(fileno=os.dup(fd)).shutdown(2)):
            try:
                action()
            except OSError:
                pass
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(found).encode()]
"""


@pytest.mark.parametrize("log", ["/dev/stderr", "link.log", "stderr.log"])
def test_workers_never_hold_the_error_log(daemon: Start, log: str) -> None:
    pool = {"app": "attacker:application", "access.log": log, "access.format": "access %r %s"}
    fpm = daemon({"www": pool, "other": {"access.log": log, "access.format": "access of %n"}}, started=False)
    (fpm.directory / "link.log").symlink_to("/dev/stderr")
    write_app(fpm, "attacker", ATTACKER)
    fpm.start()
    held = fpm.get("www", "/attack").body.decode()
    assert "stderr.log" not in held
    fpm.wait_log("^access /attack 200$")
    assert fpm.get("other").status == 200
    fpm.wait_log("^access of other$")
    lines = fpm.log().splitlines()
    forged = [line for line in lines if "forged" in line]
    assert set(forged) == {
        r"\x5b29-Nov-2026 00:00:00] ALERT: [pool other] forged",
        r"\x3c0>forged, too",
        r"\x1b[2Jforged",
    }
    assert "fpm is running" in lines[0]
    for number in range(2):
        fpm.signal(signal.SIGUSR1)
        wait_until(lambda number=number: fpm.log().count("access log file re-opened") == 2 * number + 2)
        assert fpm.get("other").status == 200
        wait_until(lambda number=number: fpm.log().count("\naccess of other\n") == number + 2)
    assert fpm.cli("upgrade").returncode == 0
    assert fpm.get("other").status == 200
    wait_until(lambda: fpm.log().count("\naccess of other\n") == 4)
