"""`network`: none, a namespace of the administrator's, an interface at a bridge."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.fpm import Daemon, Start
from tests.support.inside import INSIDE, inside, refused
from tests.support.pools import end_resting, free_port, wait_state
from tests.support.reloads import reload, upgrade
from tests.support.waiting import wait_until

pytestmark = pytest.mark.root

BRIDGE = f"pyfpm{os.getpid() % 10_000_000}"
NETWORK = f"10.213.{os.getpid() % 256}"
"""Each process of tests has its own."""
GATEWAY = f"{NETWORK}.1"
VETH = {**INSIDE, "network.bridge": BRIDGE, "network.gateway": GATEWAY}
CONNECT = """
import socket
with socket.create_connection((host, port), 5) as client:
    answer = client.getsockname()[0]
"""
REACH = """
import socket
try:
    socket.create_connection((host, port), 3).close()
    answer = ""
except OSError as error:
    answer = error.strerror
"""


def ip(arguments: str) -> str:
    """Run ip(8)."""
    return subprocess.run(["ip", *arguments.split()], check=True, capture_output=True, text=True, timeout=20).stdout


@contextmanager
def bridge(*, has_address: bool = True) -> Iterator[None]:
    """A bridge of the administrator's, with an address of the machine."""
    ip(f"link add {BRIDGE} type bridge")
    try:
        if has_address:
            ip(f"address add {GATEWAY}/24 dev {BRIDGE}")
        ip(f"link set {BRIDGE} up")
        yield
    finally:
        ip(f"link del {BRIDGE}")


def at_bridge() -> list[str]:
    """The interfaces that are connected to it."""
    return sorted(os.listdir(f"/sys/class/net/{BRIDGE}/brif"))


def veth(number: int, **more: object) -> dict[str, object]:
    return {**VETH, "network": f"veth {NETWORK}.{number}/24", **more}


@pytest.fixture(autouse=True)
def no_interface_left() -> Iterator[None]:
    before = set(os.listdir("/sys/class/net"))
    yield
    wait_until(lambda: set(os.listdir("/sys/class/net")) <= before, message="an interface is left")


def test_a_namespace_of_the_administrators(daemon: Start) -> None:
    name = f"pyfpm-test-{os.getpid()}"
    ip(f"netns add {name}")
    try:
        ip(f"-n {name} link set lo up")
        ip(f"-n {name} address add 192.0.2.7/32 dev lo")
        port = free_port()
        fpm = daemon(
            {
                "www": {**INSIDE, "network": f"netns:{name}"},
                "tcp": {**INSIDE, "network": f"netns:{name}", "listen": f"127.0.0.1:{port}"},
                "sealed": {**INSIDE, "network": f"netns:{name}", "namespaces": "pid user", "chroot.automount": True},
            }
        )
        made = os.stat(f"/run/netns/{name}").st_ino
        for pool in ("www", "tcp", "sealed"):
            assert os.stat(f"/proc/{fpm.workers(pool)[0]}/ns/net").st_ino == made
        listen = "import socket; server = socket.create_server(('192.0.2.7', 0)); answer = server.getsockname()[1]"
        port = inside(fpm, "www", listen + "\nimport builtins; builtins.kept = server")
        assert inside(fpm, "sealed", CONNECT, host="192.0.2.7", port=port) == "192.0.2.7"
        fpm.signal(signal.SIGQUIT)
        assert fpm.wait() == 0
        assert os.stat(f"/run/netns/{name}").st_ino == made, "it is not ours to remove"
    finally:
        ip(f"netns del {name}")


def test_a_namespace_that_does_not_exist(daemon: Start) -> None:
    fpm = daemon({"www": {**INSIDE, "network": "netns:pyfpm-nowhere"}, "other": {}}, started=False)
    done = fpm.cli("test")
    assert done.returncode != 0
    sentence = "network: there is no network namespace 'pyfpm-nowhere'. Make it: ip netns add pyfpm-nowhere"
    assert sentence in done.stdout + done.stderr
    fpm.expect_log("pyfpm-nowhere")
    fpm.start()
    assert (fpm.get("www").status, fpm.get("other").status) == (503, 200)


def test_an_interface_at_a_bridge(daemon: Start) -> None:
    with bridge(), socket.create_server((GATEWAY, 0)) as server:
        port = server.getsockname()[1]
        fpm = daemon({"one": veth(2), "two": veth(3, namespaces="pid user", **{"chroot.automount": True})})
        assert len(at_bridge()) == 2
        for pool, number in (("one", 2), ("two", 3)):
            names = inside(fpm, pool, "import socket; answer = [name for _, name in socket.if_nameindex()]")
            assert sorted(names) == ["eth0", "lo"]
            assert inside(fpm, pool, CONNECT, host=GATEWAY, port=port) == f"{NETWORK}.{number}"
            told = inside(fpm, pool, REACH, host="127.0.0.1", port=port)
            assert told == "Connection refused", "that is its own loopback"
            routes = inside(fpm, pool, "answer = open('/proc/net/route').read().split()")
            assert "".join(f"{int(part):02X}" for part in reversed(GATEWAY.split("."))) in routes
        # Refused by the other pool: so it has been reached.
        assert inside(fpm, "one", REACH, host=f"{NETWORK}.3", port=9) == "Connection refused"


def test_the_address_stays_over_reloads_and_an_upgrade(daemon: Start) -> None:
    with bridge(), socket.create_server((GATEWAY, 0)) as server:
        port = server.getsockname()[1]
        fpm = daemon({"www": veth(2, **{"pm.max_children": 2})})
        (interface,) = at_bridge()
        for command in ("reload", "upgrade", "reload"):
            former = fpm.wait_workers("www", 2)
            {"reload": reload, "upgrade": upgrade}[command](fpm)
            if command == "reload":
                wait_until(lambda former=former: not set(former) & set(fpm.wait_workers("www", 2)))
            assert inside(fpm, "www", CONNECT, host=GATEWAY, port=port) == f"{NETWORK}.2"
            assert at_bridge() == [interface]
        fpm.configure({"www": veth(9)})
        reload(fpm)
        assert inside(fpm, "www", CONNECT, host=GATEWAY, port=port) == f"{NETWORK}.9"
        wait_until(lambda: len(at_bridge()) == 1 and at_bridge() != [interface])


def test_an_ondemand_pool_that_rests_keeps_its_network(daemon: Start) -> None:
    with bridge(), socket.create_server((GATEWAY, 0)) as server:
        port = server.getsockname()[1]
        fpm = daemon({"www": veth(2, pm="ondemand", **{"pm.process_idle_timeout": "1s"})})
        assert inside(fpm, "www", CONNECT, host=GATEWAY, port=port) == f"{NETWORK}.2"
        (interface,) = at_bridge()
        end_resting(fpm, "www")
        fpm.expect_log("template .* exited", "failed to start")
        assert inside(fpm, "www", CONNECT, host=GATEWAY, port=port) == f"{NETWORK}.2"
        assert at_bridge() == [interface]


def test_a_removed_pool_takes_its_interface_along(daemon: Start) -> None:
    with bridge():
        fpm = daemon({"www": veth(2), "other": {}})
        assert len(at_bridge()) == 1
        with fpm.no_descriptor_leak():
            fpm.configure({"other": {}})
            reload(fpm)
            wait_until(lambda: not at_bridge())
        (fpm.directory / "www.sock").unlink(missing_ok=True)


def test_the_pool_cannot_change_its_network(daemon: Start) -> None:
    code = """
    import fcntl, socket, struct
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sH14x", b"eth0", 0))
    """
    with bridge():
        fpm = daemon({"www": veth(2), "user": veth(3, namespaces="user")})
        for pool in ("www", "user"):
            assert "Operation not permitted" in refused(fpm, pool, code)
            raw = "import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 3).close()"
            assert "Operation not permitted" in refused(fpm, pool, raw)


def failing(fpm: Daemon, pool: str) -> str:
    fpm.expect_log(rf"\[pool {pool}\]", rf"\[{pool}\]")
    fpm.start()
    assert fpm.get("other").status == 200
    return str(wait_state(fpm, pool, "failed")["error"])


def test_without_a_bridge(daemon: Start) -> None:
    fpm = daemon({"www": veth(2), "other": {}}, started=False)
    done = fpm.cli("test")
    assert done.returncode != 0
    assert f"[www] network.bridge: there is no bridge '{BRIDGE}'. Make it: ip link add" in done.stdout + done.stderr
    assert BRIDGE in failing(fpm, "www")


def test_a_gateway_that_ip_refuses_leaves_no_interface(daemon: Start) -> None:
    """The bridge goes between the check and the start of the template."""
    with bridge():
        fpm = daemon({"www": veth(2, pm="ondemand"), "other": {}})
    fpm.expect_log(r"\[pool www\]")
    assert fpm.get("www").status == 503
    error = wait_state(fpm, "www", "failed")["error"]
    assert error.startswith(f"cannot apply network = veth {NETWORK}.2/24: `ip link set pyfpm-"), error
