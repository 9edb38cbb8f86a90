"""What code that has taken over a pool's process finds at hand; copied beside the attacker's application.

It runs under the pool's interpreter and user, so it needs the standard library only.
"""

import array  # noqa: F401  for the code of attacks
import fcntl  # noqa: F401
import json
import mmap  # noqa: F401
import os
import random
import socket
import stat
import sys
import threading  # noqa: F401
import time

sys.dont_write_bytecode = True
SITE = os.path.dirname(os.path.abspath(__file__))
USAGE = {"user": 0, "system": 0, "maxrss": 0}


def descriptors():
    """All open descriptors by what they are."""
    found = {"channel": [], "scoreboard": [], "eventfd": [], "listen": [], "pipe": [], "memfd": []}
    for fd in map(int, os.listdir("/proc/self/fd")):
        try:
            name = os.readlink(f"/proc/self/fd/{fd}")
            mode = os.fstat(fd).st_mode
        except OSError:
            continue
        if "scoreboard" in name:
            found["scoreboard"].append(fd)
        elif "/memfd:" in name:
            found["memfd"].append(fd)
        elif "eventfd" in name:
            found["eventfd"].append(fd)
        elif stat.S_ISFIFO(mode):
            found["pipe"].append(fd)
        elif stat.S_ISSOCK(mode):
            with socket.socket(fileno=os.dup(fd)) as one:
                if one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                    found["listen"].append(fd)
                elif one.type == socket.SOCK_SEQPACKET:
                    found["channel"].append(fd)
    return found


def sockets(kind):
    """Copies of the sockets of a kind."""
    return [socket.socket(fileno=os.dup(fd)) for fd in descriptors()[kind]]


def status_of(pid):
    """/proc/PID/status; nothing of a process that has just ended."""
    try:
        with open(f"/proc/{pid}/status") as status:
            return status.read()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def until(seconds):
    """Yield until so many seconds have passed."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield


def message(kind, **fields):
    """A message in the form of those that go to the master."""
    return {"v": 1, "kind": kind, **fields}


def flood(seconds, messages):
    """Send messages (bytes) to everybody who listens on a channel of this process, in random order."""
    ends = sockets("channel")
    for _ in until(seconds):
        for one in ends:
            try:
                one.send(random.choice(messages), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
            except OSError:
                continue


def forged():
    """Messages that lie or are broken."""
    return [
        message("WorkerExited", pid=1, status=9, **USAGE),
        message("WorkerExited", pid=os.getppid(), status=0, **USAGE),
        message("WorkerExited", pid="x", status=None),
        message("Forked", slot=0, pid=1),
        message("Forked", slot=0, pid=10**30),
        message("Forked", slot=[], pid={}),
        message("TemplateReady", preload=True, python="", chdir="/", seconds=0, stack=True),
        message("TemplateReady", preload=True, chdir={}),
        message("LimitReached", requests=0, memory=0),
        message("LimitReached", requests=-1),
        message("Failed", stage="", error="forged", traceback="x\n" * 1000),
        message("LogText", level="alert", text="forged\n[pool neighbour] child 1: forged"),
        message("LogText", level=["x"], text={"y": "z"}),
        message("LayoutFound", layout={"version": 1}),
        message("ApplySettings", worker={}),
        {"v": 2, "kind": "Serving"},
        {"kind": None},
        {"kind": {}},
        [],
        1,
        None,
        "text",
    ]


def encoded(messages):
    """Messages as bytes."""
    return [json.dumps(one).encode() for one in messages]


def burn(seconds):
    """Compute, as an honest busy application does."""
    for _ in until(seconds):
        sum(range(2000))
