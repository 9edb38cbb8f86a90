"""`namespaces`, each alone and all together: what a pool sees, and that everything else works as without."""

from __future__ import annotations

import os
import socket

import pytest

from tests.support.fpm import Start
from tests.support.inside import CALLS, INSIDE, inside, namespace
from tests.support.pools import free_port

pytestmark = pytest.mark.root

NAMES = {"mount": "mnt", "pid": "pid", "net": "net", "ipc": "ipc", "uts": "uts", "user": "user", "cgroup": "cgroup"}
"""As they are written, and as /proc/PID/ns names them."""
IMPLIED = {"pid": {"mount"}}
ALL = " ".join(NAMES)
PIDS = "import os; answer = sorted(int(pid) for pid in os.listdir('/proc') if pid.isdecimal())"
PLAIN = {**INSIDE, "isolation": "none"}


@pytest.mark.parametrize("wanted", [*NAMES, "ipc uts", "pid user", ALL])
def test_the_pool_leaves_these_and_no_others(daemon: Start, wanted: str) -> None:
    fpm = daemon({"www": {**PLAIN, "namespaces": wanted}, "lazy": {**PLAIN, "namespaces": wanted, "preload": "no"}})
    expected = set(wanted.split()).union(*(IMPLIED.get(name, set()) for name in wanted.split()))
    for pool in ("www", "lazy"):
        for title in ("template", "pool"):
            (process,) = fpm.processes(f"{title} {pool}")
            own = {name for name, file in NAMES.items() if namespace(process.pid, file) != namespace(fpm.pid, file)}
            assert own == expected, (pool, title)
        assert inside(fpm, pool, "answer = 1") == 1
    for pool in ("www", "lazy"):
        (former,) = fpm.workers(pool)
        assert fpm.cli("reload", pool).returncode == 0
        assert former not in fpm.workers(pool)
        assert inside(fpm, pool, "answer = 1") == 1


@pytest.mark.parametrize("more", ["", "user", ALL])
def test_only_the_pools_processes_are_seen(daemon: Start, more: str) -> None:
    fpm = daemon({"www": {**PLAIN, "namespaces": f"pid {more}", "pm.max_children": 3}, "other": PLAIN})
    fpm.wait_workers("www", 3)
    pids = inside(fpm, "www", PIDS)
    assert inside(fpm, "www", "import os; answer = os.getpid()") in pids[1:]
    names = inside(
        fpm, "www", "answer = [open(f'/proc/{pid}/cmdline').read().strip(chr(0)) for pid in pids]", pids=pids
    )
    assert (pids[0], names) == (1, ["pyfpm: template www", *["pyfpm: pool www"] * 3])
    assert fpm.pid in inside(fpm, "other", PIDS)
    kill = "import os, signal\ntry:\n os.kill(pid, 9)\nexcept OSError as error:\n answer = type(error).__name__"
    for pid in (fpm.pid, *fpm.workers("other")):
        assert inside(fpm, "www", kill, pid=pid) == "ProcessLookupError"


@pytest.mark.parametrize("more", ["", ALL])
def test_a_host_name_of_its_own(daemon: Start, more: str) -> None:
    fpm = daemon({"www": {**PLAIN, "hostname": "shop.example", "namespaces": more or None}})
    assert inside(fpm, "www", "import socket; answer = socket.gethostname()") == "shop.example"
    assert socket.gethostname() != "shop.example"


def test_users_of_a_user_namespace(daemon: Start) -> None:
    fpm = daemon({"www": {**PLAIN, "namespaces": "user"}})
    code = """
    import os
    fields = ("uid_map", "gid_map", "setgroups")
    answer = [" ".join(open(f"/proc/self/{name}").read().split()) for name in fields], os.getresuid(), os.getresgid()
    """
    maps, uids, gids = inside(fpm, "www", code)
    assert maps == ["65534 65534 1", "65534 65534 1", "deny"]
    assert uids == gids == [65534] * 3
    status = inside(fpm, "www", "answer = open('/proc/self/status').read()")
    for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert f"{name}:\t0000000000000000" in status


def test_shared_memory_of_the_machine_is_not_seen(daemon: Start) -> None:
    """System V: 1234 is a key that the other pool uses."""
    fpm = daemon({"www": {**PLAIN, "namespaces": "ipc"}, "two": PLAIN})
    made = CALLS + "answer = check(libc.shmget(1234, 4096, 0o666 | 0o1000))"
    found = CALLS + "answer = libc.shmget(1234, 0, 0)"
    number = inside(fpm, "two", made)
    try:
        assert inside(fpm, "two", found) == number
        assert inside(fpm, "www", found) == -1
        assert inside(fpm, "www", made) >= 0
    finally:
        inside(fpm, "two", CALLS + "check(libc.shmctl(number, 0, 0))", number=number)


def test_control_groups_of_the_machine_are_not_seen(daemon: Start) -> None:
    fpm = daemon({"www": {**PLAIN, "namespaces": "cgroup"}})
    lines = inside(fpm, "www", "answer = open('/proc/self/cgroup').read().split()")
    assert {line.rsplit(":", 1)[1] for line in lines} == {"/"}


@pytest.mark.parametrize("wanted", ["net", ALL])
def test_no_network_but_a_loopback_interface(daemon: Start, wanted: str) -> None:
    """The pool still serves what the master listens on, a port of the machine as well."""
    port = free_port()
    own = {**PLAIN, "namespaces": wanted}
    fpm = daemon({"www": own, "tcp": {**own, "listen": f"127.0.0.1:{port}"}})
    with socket.create_server(("127.0.0.1", 0)) as server:
        outside = server.getsockname()[1]
        for pool in ("www", "tcp"):
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


def test_abstract_sockets_of_the_machine_are_out_of_reach(daemon: Start) -> None:
    fpm = daemon({"www": {**PLAIN, "network": "none"}})
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"\0pyfpm-test-{os.getpid()}")
        server.listen()
        code = """
        import socket
        with socket.socket(socket.AF_UNIX) as client:
            answer = client.connect_ex(name)
        """
        name = server.getsockname().decode()
        assert inside(fpm, "www", code, name=name) == 111


@pytest.mark.parametrize("wanted", ["pid", ALL])
def test_orphans_are_the_templates_and_end_with_the_pool(daemon: Start, wanted: str) -> None:
    """As the first process of its namespace the template is the parent of whatever workers leave behind."""
    fpm = daemon({"www": {**PLAIN, "namespaces": wanted}})
    code = """
    import os, time
    said, saying = os.pipe()
    if (child := os.fork()) == 0:
        if os.fork() == 0:
            os.write(saying, str(os.getpid()).encode())
            os.setsid()
            time.sleep(how_long)
            os._exit(0)
        os._exit(0)
    os.waitpid(child, 0)
    pid = int(os.read(said, 16))
    os.close(said)
    os.close(saying)
    while (parent := open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[1]) == str(child):
        time.sleep(0.01)
    answer = pid, int(parent)
    """
    gone, parent = inside(fpm, "www", code, how_long=0.2)
    assert parent == 1
    wait = "import os, time\nwhile os.path.exists(f'/proc/{pid}'):\n time.sleep(0.01)\nanswer = True"
    assert inside(fpm, "www", wait, pid=gone), "it is not a zombie"
    inside(fpm, "www", code, how_long=600)
    left = [process for process in fpm.processes() if process.ppid() == fpm.processes("template www")[0].pid]
    assert len(left) == 2
    assert fpm.cli("stop").returncode == 0
    assert fpm.wait() == 0
    assert not [process for process in left if process.is_running()]
