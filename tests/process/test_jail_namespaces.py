"""`namespaces`, each alone and all together: what a pool sees, and that everything else works as without."""

from __future__ import annotations

import os
import signal
import socket

import pytest

from tests.support.fpm import Daemon, Start, title_of
from tests.support.inside import CALLS, INSIDE, inside, namespace
from tests.support.pools import free_port
from tests.support.reloads import reload
from tests.support.waiting import wait_until

pytestmark = pytest.mark.root

NAMES = {"mount": "mnt", "pid": "pid", "net": "net", "ipc": "ipc", "uts": "uts", "user": "user", "cgroup": "cgroup"}
"""As they are written, and as /proc/PID/ns names them."""
IMPLIED = {"pid": {"mount"}}
ALL = " ".join(NAMES)
PIDS = "import os; answer = sorted(int(pid) for pid in os.listdir('/proc') if pid.isdecimal())"
PLAIN = {**INSIDE, "isolation": "none"}
WANTED = {name.replace(" ", "-"): name for name in (*NAMES, "ipc uts", "pid user")} | {"all": ALL}
"""By the names of their pools."""
LAZY = {f"lazy-{pool}": WANTED[pool] for pool in ("mount", "pid-user", "all")}
"""Those where it is also tried with `preload = no`: the launcher makes them in any case."""
PID = ("pid", "pid-user", "all")
WORKERS = 3


@pytest.fixture(scope="module")
def fpm(shared_daemon: Start) -> Daemon:
    """A pool for each choice of namespaces, and `other` without any."""
    pools: dict[str, dict[str, object]] = {
        pool: {**PLAIN, "namespaces": wanted, "pm.max_children": workers_of(pool)} for pool, wanted in WANTED.items()
    }
    pools |= {pool: {**PLAIN, "namespaces": wanted, "preload": "no"} for pool, wanted in LAZY.items()}
    pools["named"] = {**PLAIN, "hostname": "shop.example"}
    pools["all"]["hostname"] = "shop.example"
    for pool in ("net", "all"):
        tcp = {"namespaces": WANTED[pool], "listen": f"127.0.0.1:{free_port()}"}
        pools[f"tcp-{pool}"] = {**PLAIN, **tcp}
    pools["none"] = {**PLAIN, "network": "none"}
    return shared_daemon({**pools, "other": PLAIN})


def workers_of(pool: str) -> int:
    return WORKERS if pool in PID else 1


def templates(fpm: Daemon, pool: str) -> list[int]:
    return [one.pid for one in fpm.processes("template") if title_of(one) == f"pyfpm: template {pool}"]


def assert_own(fpm: Daemon, pool: str) -> None:
    """The pool has left these namespaces and no others."""
    wanted = {**WANTED, **LAZY}[pool].split()
    expected = set(wanted).union(*(IMPLIED.get(name, set()) for name in wanted))
    workers = fpm.workers(pool)
    assert len(workers) == workers_of(pool)
    (template,) = templates(fpm, pool)
    for pid in (template, *workers):
        own = {name for name, file in NAMES.items() if namespace(pid, file) != namespace(fpm.pid, file)}
        assert own == expected, (pool, pid)
    assert inside(fpm, pool, "answer = 1") == 1


def test_a_pool_leaves_these_and_no_others(fpm: Daemon) -> None:
    former = {}
    for pool in (*WANTED, *LAZY):
        former[pool] = fpm.wait_workers(pool, workers_of(pool))
        assert_own(fpm, pool)
    reload(fpm, *WANTED, *LAZY)
    for pool in former:
        wait_until(lambda pool=pool: not set(former[pool]) & set(fpm.wait_workers(pool, workers_of(pool))))
        wait_until(lambda pool=pool: len(templates(fpm, pool)) == 1, message="a former template stays")
        assert_own(fpm, pool)


@pytest.mark.parametrize("pool", PID)
def test_only_the_pools_processes_are_seen(fpm: Daemon, pool: str) -> None:
    fpm.wait_workers(pool, WORKERS)
    pids = inside(fpm, pool, PIDS)
    assert inside(fpm, pool, "import os; answer = os.getpid()") in pids[1:]
    names = inside(fpm, pool, "answer = [open(f'/proc/{pid}/cmdline').read().strip(chr(0)) for pid in pids]", pids=pids)
    assert (pids[0], names) == (1, [f"pyfpm: template {pool}", *[f"pyfpm: pool {pool}"] * WORKERS])
    assert fpm.pid in inside(fpm, "other", PIDS)
    kill = "import os, signal\ntry:\n os.kill(pid, 9)\nexcept OSError as error:\n answer = type(error).__name__"
    for pid in (fpm.pid, *fpm.workers("other")):
        assert inside(fpm, pool, kill, pid=pid) == "ProcessLookupError"


@pytest.mark.parametrize("pool", ["named", "all"])
def test_a_host_name_of_its_own(fpm: Daemon, pool: str) -> None:
    assert inside(fpm, pool, "import socket; answer = socket.gethostname()") == "shop.example"
    assert socket.gethostname() != "shop.example"
    assert inside(fpm, "other", "import socket; answer = socket.gethostname()") == socket.gethostname()


def test_users_of_a_user_namespace(fpm: Daemon) -> None:
    code = """
    import os
    fields = ("uid_map", "gid_map", "setgroups")
    answer = [" ".join(open(f"/proc/self/{name}").read().split()) for name in fields], os.getresuid(), os.getresgid()
    """
    maps, uids, gids = inside(fpm, "user", code)
    assert maps == ["65534 65534 1", "65534 65534 1", "deny"]
    assert uids == gids == [65534] * 3
    status = inside(fpm, "user", "answer = open('/proc/self/status').read()")
    for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert f"{name}:\t0000000000000000" in status


def test_shared_memory_of_the_machine_is_not_seen(fpm: Daemon) -> None:
    """System V: 1234 is a key that the other pool uses."""
    made = CALLS + "answer = check(libc.shmget(1234, 4096, 0o666 | 0o1000))"
    found = CALLS + "answer = libc.shmget(1234, 0, 0)"
    number = inside(fpm, "other", made)
    try:
        assert inside(fpm, "other", found) == number
        assert inside(fpm, "ipc", found) == -1
        assert inside(fpm, "ipc", made) >= 0
    finally:
        inside(fpm, "other", CALLS + "check(libc.shmctl(number, 0, 0))", number=number)


def test_control_groups_of_the_machine_are_not_seen(fpm: Daemon) -> None:
    lines = inside(fpm, "cgroup", "answer = open('/proc/self/cgroup').read().split()")
    assert {line.rsplit(":", 1)[1] for line in lines} == {"/"}


@pytest.mark.parametrize("wanted", ["net", "all"])
def test_no_network_but_a_loopback_interface(fpm: Daemon, wanted: str) -> None:
    """The pool still serves what the master listens on, a port of the machine as well."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        outside = server.getsockname()[1]
        for pool in (wanted, f"tcp-{wanted}"):
            code = """
            import socket
            names = [name for _, name in socket.if_nameindex()]
            with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
                pass
            found = []
            for address in (("127.0.0.1", outside), ("192.0.2.1", 80)):
                try:
                    socket.create_connection(address, 2).close()
                    found.append("connected")
                except OSError as error:
                    found.append(error.strerror)
            answer = names, found
            """
            names, found = inside(fpm, pool, code, outside=outside)
            assert names == ["lo"]
            assert found == ["Connection refused", "Network is unreachable"]


def test_abstract_sockets_of_the_machine_are_out_of_reach(fpm: Daemon) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"\0pyfpm-test-{os.getpid()}")
        server.listen()
        code = """
        import socket
        with socket.socket(socket.AF_UNIX) as client:
            answer = client.connect_ex(name)
        """
        name = server.getsockname().decode()
        assert inside(fpm, "none", code, name=name) == 111


ORPHAN = """
import os, time
said, saying = os.pipe()
held, holds = os.pipe()
if (child := os.fork()) == 0:
    os.close(holds)
    if os.fork() == 0:
        os.write(saying, str(os.getpid()).encode())
        os.setsid()
        os.read(held, 1) if goes else time.sleep(600)
        os._exit(0)
    os._exit(0)
os.waitpid(child, 0)
pid = int(os.read(said, 16))
while (parent := open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[1]) == str(child):
    time.sleep(0.01)
for fd in (said, saying, held, holds):
    os.close(fd)
answer = pid, int(parent)
"""


def test_orphans_are_the_templates_and_end_with_the_pool(daemon: Start) -> None:
    """As the first process of its namespace the template is the parent of whatever workers leave behind."""
    pools = {"pid": "pid", "all": ALL}
    fpm = daemon({pool: {**PLAIN, "namespaces": wanted} for pool, wanted in pools.items()})
    left = []
    for pool in pools:
        gone, parent = inside(fpm, pool, ORPHAN, goes=True)
        assert parent == 1
        wait = "import os, time\nwhile os.path.exists(f'/proc/{pid}'):\n time.sleep(0.01)\nanswer = True"
        assert inside(fpm, pool, wait, pid=gone), "it is not a zombie"
        inside(fpm, pool, ORPHAN, goes=False)
        (template,) = fpm.processes(f"template {pool}")
        children = template.children()
        assert len(children) == 2, pool
        left += children
    fpm.signal(signal.SIGTERM)
    assert fpm.wait() == 0
    assert not [process for process in left if process.is_running()]
