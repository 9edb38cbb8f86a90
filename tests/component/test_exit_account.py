"""What a worker tells of an os._exit() of its application, and that no other process tells anything."""

from __future__ import annotations

import socket
import subprocess
import sys

from fpm.protocol.messages import Exiting, unpack_event

APPLICATION = """
import multiprocessing, os, socket, subprocess, sys
from fpm.worker.exit_account import tell_exit, watch_exit
from fpm.worker.master_channel import MasterChannel

watch_exit()
from os import _exit as taken_by_the_application

def fork(way):
    pid = os.fork()
    if not pid:
        way()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def leave():
    taken_by_the_application(3)

class Shop:
    def close(self):
        leave()

statuses = [fork(lambda: os._exit(4))]  # a template
tell_exit(MasterChannel(socket.socket(fileno=int(sys.argv[1]))))
statuses.append(fork(lambda: os._exit(5)))
child = multiprocessing.get_context("fork").Process(target=os._exit, args=(6,))
child.start()
child.join()
statuses.append(child.exitcode)
ended = subprocess.run(["true"], preexec_fn=lambda: os._exit(7))
statuses.append(ended.returncode)
try:
    os._exit("3")
except TypeError:
    print(statuses, flush=True)
Shop().close()
"""


def test_a_worker_tells_it_and_nobody_else() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        command = [sys.executable, "-W", "ignore", "-c", APPLICATION, str(theirs.fileno())]
        done = subprocess.run(command, pass_fds=[theirs.fileno()], capture_output=True, text=True, check=False)
        theirs.close()
        assert (done.returncode, done.stdout, done.stderr) == (3, "[4, 5, 6, 7]\n", "")
        message = unpack_event(ours.recv(65536))
        assert isinstance(message, Exiting)
        assert [call.partition(" ")[0] for call in message.calls] == ["leave", "Shop.close", "<module>"]
        assert ours.recv(65536) == b"", "there is no other message"


def test_a_master_that_is_gone_keeps_nobody() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.close()
    with theirs:
        command = [sys.executable, "-W", "ignore", "-c", APPLICATION, str(theirs.fileno())]
        assert subprocess.run(command, pass_fds=[theirs.fileno()], stdout=subprocess.PIPE, check=False).returncode == 3
