"""An intruder in a worker tries to get out of its root, or to become more than it is."""

from __future__ import annotations

import os
import pwd
import shutil
from pathlib import Path

import pytest

from tests.support.fpm import Daemon, Start
from tests.support.inside import CALLS, INSIDE, inside, opened_to_all, refused
from tests.support.interpreter import pool_python
from tests.support.jail import build_jail

pytestmark = pytest.mark.root

KINDS: dict[str, dict[str, object]] = {
    "chroot": {"user": "games"},
    "rootfs": {"user": "news"},
    "open": {"user": "backup", "chroot.automount": True},
    "closed": {"user": "lp", "chroot.automount": True},
    "sealed": {"user": "mail", "chroot.automount": True, "namespaces": "mount pid net ipc uts user cgroup"},
    "tmp": {"user": "uucp", "private_tmp": True, "namespaces": "pid"},
}
"""No two have a user in common: processes of the same user, if they can be seen, lead to wherever they are."""
OWN_ROOT = [kind for kind in KINDS if kind != "tmp"]
MOUNTED: dict[str, dict[str, object]] = {"bound": {"user": "proxy"}, "overlaid": {"user": "list"}}
LOOSE = {"no_new_privs": False, "process.dumpable": True, "isolation": "none"}
"""What a pool is refused by other means is allowed, so that it is the jail that is tried."""


@pytest.fixture(scope="module")
def fpm(shared_daemon: Start) -> Daemon:
    """A pool in each kind of root, and `other` without any; below `secret` is what nobody must reach."""
    fpm = shared_daemon({"other": {}}, started=False)
    (fpm.directory / "secret").write_text("secret")
    (fpm.directory / "secret").chmod(0o644)
    plant(fpm.apps)
    pools = {kind: {**INSIDE, **LOOSE, **settings, **own_root(fpm, kind)} for kind, settings in KINDS.items()}
    for kind, settings in MOUNTED.items():
        pools[kind] = {**INSIDE, **LOOSE, **settings, "mount[]": mount_line(fpm, kind)}
    fpm.configure({**pools, "other": {}})
    return fpm.start()


def own_root(fpm: Daemon, kind: str) -> dict[str, object]:
    """Make the directory tree of a kind of root that has one; the directives that name it."""
    if kind not in ("chroot", "rootfs", "closed"):
        return {}
    root = fpm.directory / kind
    for name in ("srv", "proc", "dev", "tmp"):
        (root / name).mkdir(parents=True)
    if kind != "closed":
        build_jail(root, pool_python(), is_whole=True)
    shutil.copy(fpm.apps / "inside.py", root / "srv")
    opened_to_all([path for path in (root, *root.rglob("*")) if path.is_dir()])
    (root / "tmp").chmod(0o1777)
    plant(root / "srv")
    return {"rootfs" if kind == "rootfs" else "chroot": root, "chdir": "/srv"}


def mount_line(fpm: Daemon, kind: str) -> str:
    """What is mounted, at kind/mnt."""
    data, more, target = (fpm.directory / kind / name for name in ("data", "more", "mnt"))
    for path in (data, more, target):
        path.mkdir(parents=True)
    opened_to_all([data.parent, data, more, target])
    plant(data)
    return f"bind {data} {target}" if kind == "bound" else f"overlay {data}:{more} {target}"


def plant(directory: Path) -> None:
    """Put a device and a set-user-ID program where a pool sees them."""
    os.mknod(directory / "device", 0o666 | 0o020000, os.makedev(1, 3))
    os.chmod(directory / "device", 0o666)
    shutil.copy("/usr/bin/id", directory / "id")
    (directory / "id").chmod(0o6755)


@pytest.mark.parametrize("kind", OWN_ROOT)
def test_the_way_up_ends_at_the_root(fpm: Daemon, kind: str) -> None:
    secret = str(fpm.directory / "secret")
    code = """
    import os
    fd = os.open("/", os.O_RDONLY)
    found = [os.path.exists(way + secret) for way in ("", "/proc/self/root", f"/dev/fd/{fd}")]
    os.fchdir(fd)
    for _ in range(64):
        os.chdir("..")
    found += [os.path.exists(secret[1:]), os.path.exists("root/.bashrc")]
    found.append(os.stat(".").st_ino != os.stat("/").st_ino)
    os.chdir("/")
    os.close(fd)
    answer = found
    """
    assert inside(fpm, kind, code, secret=secret) == [False] * 6
    code = """
    import os, stat
    answer = [fd for fd in os.listdir("/proc/self/fd") if os.path.isdir(f"/proc/self/fd/{fd}/.")]
    """
    if kind != "chroot":  # there is no /proc
        assert inside(fpm, kind, code) == []
    told = refused(fpm, kind, "import os; os.chroot('/tmp')")
    assert "Operation not permitted" in told


@pytest.mark.parametrize("kind", OWN_ROOT[1:])
def test_no_process_leads_out(fpm: Daemon, kind: str) -> None:
    code = """
    import os
    found = []
    for pid in [*map(str, processes), "1", "self", str(os.getppid())]:
        for link in ("root", "cwd", *(f"fd/{n}" for n in range(16)), *(f"task/{pid}/{n}" for n in ("root", "cwd"))):
            path = f"/proc/{pid}/{link}"
            if os.path.exists(f"{path}{secret}") or os.path.exists(f"{path}/../../../../../../..{secret}"):
                found.append(path)
    answer = found
    """
    # Not all that /proc shows: other tests have processes of the same user, which are not in this jail.
    values = {"processes": [one.pid for one in fpm.processes()], "secret": str(fpm.directory / "secret")}
    assert inside(fpm, kind, code, **values) == []


REFUSED = {
    "mount": "check(libc.mount(b'x', b'/tmp', b'tmpfs', 0, b''))",
    "mount over the root": "check(libc.mount(b'/', b'/tmp', b'', 4096 | 16384, b''))",
    "take a mount away": "check(libc.umount2(b'/tmp', 2))",
    "a new mount namespace": "check(libc.unshare(0x20000))",
    "the mount namespace of the master": "check(libc.setns(os.open(f'/proc/{master}/ns/mnt', 0), 0))",
    "the network namespace of the other pool": "check(libc.setns(os.open(f'/proc/{other}/ns/net', 0), 0))",
    "trace the master": "check(libc.ptrace(16, master, 0, 0))",
    "seize the master": "check(libc.ptrace(0x4206, master, 0, 0))",
    "read the master's memory": "open(f'/proc/{master}/mem', 'rb').read(1)",
    "signal the master": "os.kill(master, 15)",
    "a descriptor of the master": "check(libc.syscall(438, check(libc.syscall(434, master, 0)), 0, 0))",
    "a block device": "import stat; os.mknod('/tmp/device', 0o600 | stat.S_IFBLK, os.makedev(254, 0))",
    "a character device": "import stat; os.mknod('/tmp/device', 0o600 | stat.S_IFCHR, os.makedev(1, 1))",
    "a file by its number": "import ctypes; check(libc.open_by_handle_at(-100, ctypes.create_string_buffer(128), 0))",
    "root": "os.setuid(0)",
    "root's saved id": "os.setresuid(-1, 0, -1)",
    "the group of root": "os.setgid(0)",
    "groups": "os.setgroups([0])",
    "another host name": "import socket; socket.sethostname('x')",
    "a setting of the kernel": "open('/proc/sys/kernel/core_pattern', 'w')",
    "a module of the kernel": "check(libc.syscall(313, 0, b'', 0))",
    "a program of the kernel's": "check(libc.syscall(321, 5, 0, 0))",
    "the machine's name in boot": "open('/proc/sysrq-trigger', 'w')",
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_only_root_may_do_is_refused(fpm: Daemon, kind: str) -> None:
    (other,) = fpm.workers("other")
    done = []
    for what, code in REFUSED.items():
        try:
            refused(fpm, kind, CALLS + code, master=fpm.pid, other=other)
        except AssertionError as error:
            done.append((what, str(error)))
    assert done == []
    assert fpm.get("other").status == 200


IN_A_USER_NAMESPACE = (
    CALLS
    + """
import ctypes, json, subprocess, sys
uid, gid = os.getuid(), os.getgid()
said, saying = os.pipe()
pid = os.fork()
if pid == 0:
    found = {}
    try:
        check(libc.unshare(0x10000000 | 0x20000))
        for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
            open(f"/proc/self/{name}", "w").write(text)
        for path in ("/tmp", "/usr", "/proc", "/dev/null", "/"):
            try:
                check(libc.umount2(path.encode(), 2))
                found[f"umount {path}"] = "done"
            except OSError:
                pass
        for path in ("/usr", "/", "/etc/hosts"):
            try:
                check(libc.mount(b"", path.encode(), b"", 32 | 4096, b""))
                if os.access(path, os.W_OK):
                    found[f"remount {path}"] = "writable"
            except OSError:
                pass
        fd = os.open("/", os.O_RDONLY)
        os.makedirs("/tmp/deeper", exist_ok=True)
        os.chroot("/tmp/deeper")
        os.fchdir(fd)
        for _ in range(64):
            os.chdir("..")
        os.chroot(".")
        found |= {"escaped": True} if os.path.exists(secret) else {}
    except OSError as error:
        found |= {"refused": str(error)}
    os.write(saying, json.dumps(found).encode())
    os._exit(0)
os.close(saying)
answer = json.loads(os.read(said, 65536))
os.close(said)
os.waitpid(pid, 0)
"""
)


@pytest.mark.parametrize("kind", KINDS)
def test_a_user_namespace_of_its_own_uncovers_nothing(fpm: Daemon, kind: str) -> None:
    """Where ordinary users may have one they are root in it, and may mount, but what they were given stays."""
    told = inside(fpm, kind, IN_A_USER_NAMESPACE, secret=str(fpm.directory / "secret"))
    refusal = told.pop("refused", "")
    if kind == "tmp":
        told.pop("escaped", None)  # its root is the machine's
    assert told == {}
    if kind in ("chroot", "sealed"):
        assert "Operation not permitted" in refusal or "No space left" in refusal or not refusal, refusal
    if kind == "chroot":
        assert "Operation not permitted" in refusal  # it would have a chroot(2) of its own


@pytest.mark.parametrize("kind", ["rootfs", "open", "closed", *MOUNTED])
def test_devices_and_set_user_id_programs_do_not_count(fpm: Daemon, kind: str) -> None:
    """Whoever filled the directory; no_new_privs is off, and does not help."""
    place = {"open": str(fpm.apps), **{one: f"{fpm.directory}/{one}/mnt" for one in MOUNTED}}.get(kind, "/srv")
    assert "Permission denied" in refused(fpm, kind, "open(f'{place}/device', 'rb')", place=place)
    if kind != "rootfs":  # the libraries that id(1) needs are not in it
        code = "import subprocess; answer = subprocess.check_output([f'{place}/id', '-u'], text=True)"
        user = pwd.getpwnam(str({**KINDS, **MOUNTED}[kind]["user"]))
        assert inside(fpm, kind, code, place=place) == f"{user.pw_uid}\n"
