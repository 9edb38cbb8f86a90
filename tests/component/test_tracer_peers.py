"""The tracer says who is at the other end of the sockets for which threads wait."""

from __future__ import annotations

import os
from contextlib import closing

import pytest

from fpm.tracer import binding
from fpm.tracer.descriptors import Descriptors
from tests.support.traced import Looker, Target

PROGRAM = """
import os, select, socket, subprocess, tempfile, threading

def serve(family, address, backlog):
    server = socket.socket(family)
    server.bind(address)
    server.listen(backlog)
    return server

directory = tempfile.mkdtemp()
path = os.path.join(directory, "db.sock")
tcp, ipv6 = serve(socket.AF_INET, ("127.0.0.1", 0), 9), serve(socket.AF_INET6, ("::1", 0), 9)
local, abstract = serve(socket.AF_UNIX, path, 9), serve(socket.AF_UNIX, "\\0pyfpm-test-%d" % os.getpid(), 9)
full = serve(socket.AF_INET, ("127.0.0.1", 0), 0)  # a connection that nobody accepts fills its queue
crowd = []
while not crowd or select.select([], crowd[-1:], [], 1)[1]:
    crowd.append(socket.socket())
    crowd[-1].setblocking(False)
    crowd[-1].connect_ex(full.getsockname())
ready = threading.Barrier(9)

def connected(server):
    one = socket.socket(server.family)
    one.connect(server.getsockname())
    return one

def run(name, call):
    def function():
        ready.wait()
        call()
    threading.Thread(target=function, name=name, daemon=True).start()

to_tcp, to_ipv6, to_local, to_abstract = map(connected, (tcp, ipv6, local, abstract))
epoll = select.epoll()
epoll.register(to_tcp, select.EPOLLIN)
late = socket.socket()
child = subprocess.Popen(["cat"], stdin=subprocess.PIPE)  # which ends with this process, however that ends
run("tcp", lambda: to_tcp.recv(1))
run("ipv6", lambda: to_ipv6.recv(1))
run("local", lambda: to_local.recv(1))
run("abstract", lambda: to_abstract.recv(1))
run("epoll", epoll.poll)
run("select", lambda: select.select([to_tcp, to_ipv6], crowd[-1:], []))
run("connect", lambda: late.connect(full.getsockname()))
run("child", child.wait)
ports = [one.getsockname()[1] for one in (tcp, ipv6, full)]
tids = {thread.name: thread.native_id for thread in threading.enumerate()}
fds = [one.fileno() for one in (to_tcp, to_ipv6, to_local, to_abstract, late, crowd[-1])]
ready.wait()
say([tids, fds, ports, path, child.pid])
os.unlink(path)
os.rmdir(directory)
poll = select.poll()
poll.register(crowd[-1], select.POLLOUT)
poll.poll()
"""


@pytest.fixture(scope="module")
def looker() -> Looker:  # type: ignore[misc]
    with Looker() as one:
        with Target("say()") as target:
            one.trace(target)  # its tracer runs from now on
        yield one
        assert one.log() == ""


def test_threads_say_for_whom_they_wait(looker: Looker) -> None:
    with Target(PROGRAM) as target:
        tids, (tcp, ipv6, local, abstract, late, crowd), (port, port6, full), path, child = target.said
        wanted = {
            "tcp": f"in recvfrom({tcp} <127.0.0.1:{port}>)",
            "ipv6": f"in recvfrom({ipv6} <[::1]:{port6}>)",
            "local": f"in recvfrom({local} <unix:{path}>)",
            "abstract": f"in recvfrom({abstract} <unix:@pyfpm-test-{target.pid}>)",
            "epoll": f"in epoll_wait({tcp} <127.0.0.1:{port}>)",
            "select": f"in pselect6({tcp} <127.0.0.1:{port}>, {ipv6} <[::1]:{port6}>, {crowd} <127.0.0.1:{full}>)",
            "connect": f"in connect({late} <127.0.0.1:{full}>)",
            "child": f"in wait4({child})",
            "MainThread": f"in poll({crowd} <127.0.0.1:{full}>)",
        }
        seen: dict[str, str] = {}

        def look() -> bool:
            doing = {thread.tid: thread.doing for thread in looker.trace(target).threads}
            seen.update({name: doing.get(tid, "") for name, tid in tids.items()})
            seen["select"] = seen["select"].replace("in select(", "in pselect6(")
            return seen == wanted

        looker.run(look)


def test_without_copies_of_descriptors_the_tables_say_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with Target(PROGRAM) as target:
        _, (tcp, ipv6, local, *_), (port, port6, _), _, _ = target.said
        monkeypatch.setattr("fpm.tracer.descriptors.copy_descriptor", lambda pidfd, fd: -1)
        descriptors = Descriptors(target.pid)
        phrases = {fd: f"in read({fd} <{descriptors.link(fd)}>)" for fd in (tcp, ipv6, local)}
        unnamed = phrases[local]
        descriptors.keep_tables(phrases)
        named = {tcp: f"in read({tcp} <127.0.0.1:{port}>)", ipv6: f"in read({ipv6} <[::1]:{port6}>)", local: unnamed}
        assert descriptors.complete(phrases) == named
        descriptors.close()
    assert "socket:[" in unnamed


def test_a_process_that_is_gone_has_no_descriptors() -> None:
    with Target("say()") as target:
        gone = Descriptors(target.pid)
    with closing(gone):
        assert (gone.link(0), gone.watched(0), binding.copy_descriptor(-1, 0)) == ("", [], -1)
    assert Descriptors(target.pid).link(0) == ""  # it has none to close


def test_what_is_no_socket_any_more_is_closed_again() -> None:
    reader, writer = os.pipe()
    # Who shares the descriptors of the process, and is not stopped, may put anything in a socket's place.
    with closing(Descriptors(os.getpid())) as mine:
        before = os.listdir("/proc/self/fd")
        assert mine._peer(reader) == ""
        assert os.listdir("/proc/self/fd") == before
    os.close(reader)
    os.close(writer)
