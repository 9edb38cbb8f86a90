"""`python -m fpm.master.processes.memory_reader`: says how much memory processes use (PSS), one after another.

The kernel walks all mappings of a process for that (proc(5), smaps_rollup), and waits for whoever changes them: with
thousands of mappings it may take minutes. So it is a process that the master can kill.
"""

from __future__ import annotations

import os
import socket
import time

import psutil

from fpm.protocol.memory import MemoryRead, ReaderReady, as_message, read_wanted
from fpm.protocol.wire import MESSAGE_MAX, pack_message, unpack_message
from fpm.system.proctitle import set_title

FD_CHANNEL = 3
BACKGROUND = 10
"""Niceness, nice(2): nobody waits for these figures."""


def serve(channel: socket.socket) -> None:
    """Answer until the master is gone."""
    channel.send(pack_message(as_message(ReaderReady())))
    while data := channel.recv(MESSAGE_MAX):
        for pid in read_wanted(unpack_message(data)).pids:
            begin = time.monotonic()
            pss = read_pss(pid)
            channel.send(pack_message(as_message(MemoryRead(pid, pss, time.monotonic() - begin))), socket.MSG_NOSIGNAL)


def read_pss(pid: int) -> int | None:
    """Return a process's memory in bytes; None if it is gone, or this process may not look."""
    try:
        pss: int = psutil.Process(pid).memory_full_info().pss
    except (psutil.Error, OSError):
        return None
    return pss


def main() -> int:
    """Serve; returns the exit status."""
    set_title("pyfpm: memory reader")
    os.nice(BACKGROUND)
    os.set_inheritable(FD_CHANNEL, False)
    with socket.socket(fileno=FD_CHANNEL) as channel:
        try:
            serve(channel)
        except (BrokenPipeError, ConnectionResetError):
            return 0  # the master is gone
    return 0


if __name__ == "__main__":
    os._exit(main())
