"""Who may build a jail: root, root without CAP_SYS_ADMIN, an ordinary user, one who may have no user namespaces."""

from __future__ import annotations

import os
import pwd
import re
import sys
from pathlib import Path

import pytest

from tests.process.test_jail_automount import WORKS
from tests.process.test_master_user import owned, run_as
from tests.support.fpm import POOL_USER, Daemon, Start
from tests.support.inside import INSIDE, inside, namespace, refused
from tests.support.interpreter import pool_python
from tests.support.reloads import reload
from tests.support.waiting import wait_until

pytestmark = pytest.mark.root

NO_ADMIN = ("/usr/bin/setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin", "--")
SCRIPT = Path(__file__).parents[1] / "support" / "no_user_namespaces.py"
NOBODY = pwd.getpwnam(POOL_USER).pw_uid
NO_NAMESPACES = (sys.executable, str(SCRIPT), str(NOBODY))
ALL = "mount pid net ipc uts user cgroup"
JAILED = {
    "namespaces": {"namespaces": "pid"},
    "chroot.automount": {"chroot.automount": True},
    "mount": {"mount[]": "tmpfs /mnt"},
    "private_tmp": {"private_tmp": True},
    "hostname": {"hostname": "x"},
    "network": {"network": "none"},
}


def pool_of(directive: str) -> str:
    return directive.replace(".", "-")


def of_nobody(daemon: Start, pools: dict[str, dict[str, object]]) -> Daemon:
    fpm = owned(daemon({}, started=False))
    common = {"user": None, "listen.mode": None, "python": pool_python()}
    fpm.configure({name: {**common, **settings} for name, settings in pools.items()})
    os.chown(fpm.config_file, NOBODY, -1)
    os.chmod(fpm.directory / "notify", 0o666)
    return fpm


def test_an_ordinary_user_has_it_all(daemon: Start) -> None:
    """Each pool has a user namespace, in which its user is himself and nobody else is there."""
    settings = {**INSIDE, "chroot.automount": True, "namespaces": ALL, "hostname": "jail", "network": "none"}
    pools: dict[str, dict[str, object]] = {
        "www": settings,
        "root": {**INSIDE, "chroot.automount": True},
        "tmp": {**INSIDE, "namespaces": "pid", "mount[]": "tmpfs /mnt mode=1777"},
    }
    fpm = of_nobody(daemon, pools).start(wrapper=run_as(POOL_USER))
    names = ("mnt", "pid", "net", "ipc", "uts", "user", "cgroup")
    (worker,) = fpm.workers("www")
    assert [name for name in names if namespace(worker, name) == namespace(fpm.pid, name)] == []
    assert inside(fpm, "www", "import socket; answer = socket.gethostname()") == "jail"
    assert inside(fpm, "www", "answer = open('/proc/self/uid_map').read().split()") == [str(NOBODY), str(NOBODY), "1"]
    for pool in ("www", "root"):
        codes = {what: code for what, code in WORKS.items() if "lazy" not in code}
        failed = {what: told for what, code in codes.items() if (told := inside(fpm, pool, code)) is not True}
        assert failed == {}
        assert inside(fpm, pool, "import os; answer = os.path.exists('/root') or os.path.exists('/home')") is False
        assert "Operation not permitted" in refused(fpm, pool, "import os; os.chroot('/tmp')")
        for path in ("/usr/x", "/etc/hosts", "/x"):
            told = refused(fpm, pool, "open(path, 'a')", path=path)
            assert "Read-only" in told or "denied" in told
    inside(fpm, "tmp", "open('/mnt/mine', 'w').write('x')")
    assert not Path("/mnt/mine").exists()
    former = fpm.workers("www")
    reload(fpm)
    wait_until(lambda: not set(former) & set(fpm.workers("www")))
    assert inside(fpm, "www", "answer = 1") == 1
    victim = fpm.workers("www")[0]
    fpm.expect_log(f"child {victim} exited on signal 9")
    os.kill(victim, 9)
    wait_until(lambda: victim not in fpm.wait_workers("www", 1))


def test_an_ordinary_user_has_no_bridge(daemon: Start) -> None:
    networks = {"named": "netns:x", "bridged": "veth 10.0.0.2/24"}
    fpm = of_nobody(daemon, {pool: {"network": network} for pool, network in networks.items()})
    done = fpm.cli("test", wrapper=run_as(POOL_USER))
    assert done.returncode != 0
    for pool, network in networks.items():
        sentence = f"[{pool}] network: only root can have '{network}'. Use host or none, or run pyfpm as root"
        assert sentence in done.stdout + done.stderr


def test_an_ordinary_user_without_user_namespaces(daemon: Start) -> None:
    pools = {pool_of(name): dict(settings) for name, settings in JAILED.items()}
    fpm = of_nobody(daemon, {**pools, "plain": {}})
    done = fpm.cli("test", wrapper=NO_NAMESPACES)
    said = done.stdout + done.stderr
    assert done.returncode != 0
    for name in JAILED:
        sentence = (
            f"[{pool_of(name)}] {name}: cannot be applied: ordinary users may not make namespaces here "
            f"(user.max_user_namespaces is 0); run pyfpm as root, or change the setting"
        )
        assert sentence in said, said
    assert "[plain]" not in said
    fpm.expect_log("max_user_namespaces", "cannot apply ")
    fpm.start(wrapper=NO_NAMESPACES)
    assert fpm.get("plain").status == 200
    for name in pools:
        assert fpm.get(name).status == 503


def test_root_without_the_capability(daemon: Start) -> None:
    fpm = daemon({**{pool_of(name): settings for name, settings in JAILED.items()}, "plain": {}}, started=False)
    done = fpm.cli("test", wrapper=NO_ADMIN)
    for name in JAILED:
        sentence = (
            f"[{pool_of(name)}] {name}: cannot be applied: it needs CAP_SYS_ADMIN, which this root does not have "
            f"(a container: --cap-add SYS_ADMIN)"
        )
        assert sentence in done.stdout + done.stderr
    assert done.returncode != 0
    # From the second try on it is the launcher that says it.
    fpm.expect_log("CAP_SYS_ADMIN", "cannot apply .*: Operation not permitted")
    fpm.start(wrapper=NO_ADMIN)
    assert fpm.get("plain").status == 200
    for name in JAILED:
        assert fpm.get(pool_of(name)).status == 503
        assert re.search(rf"\[pool {pool_of(name)}\] failed to start: .*CAP_SYS_ADMIN", fpm.log()), name
    # Whoever comes later reads of the last try, and still why it fails.
    one = pool_of(next(iter(JAILED)))
    wait_until(lambda: "Operation not permitted" in fpm.pool(one).error, message=lambda: fpm.pool(one).error)
    assert "it needs CAP_SYS_ADMIN" in fpm.pool(one).error
