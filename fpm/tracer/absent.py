"""The tracer where python-ptrace has been taken out: it gives that as the reason for each process at once.

The processes then write their stacks themselves, on a signal, as where the kernel does not permit ptrace(2). Nothing of
python-ptrace is imported here.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys

from fpm.protocol.tracing import TraceAnswer, TracerReady, as_message
from fpm.protocol.wire import MESSAGE_MAX, pack_message, unpack_message
from fpm.system.descriptors import take_descriptor

NOT_INSTALLED = f"python-ptrace is not installed ({sys.executable} -m pip install python-ptrace adds it)"


def is_absent(error: ModuleNotFoundError) -> bool:
    """Decide whether an import has failed for want of python-ptrace, and not for another reason."""
    return (error.name or "").partition(".")[0] == "ptrace"


def serve(channel: socket.socket) -> None:
    """Answer each task of the master, until it is gone."""
    channel.send(pack_message(as_message(TracerReady())))
    with contextlib.suppress(ConnectionResetError, BrokenPipeError):  # the master ended with something of ours unread
        while True:
            data, ancillary, _, _ = channel.recvmsg(MESSAGE_MAX, socket.CMSG_SPACE(4), socket.MSG_CMSG_CLOEXEC)
            if not data:
                return
            message, memory = unpack_message(data), take_descriptor(ancillary)
            if memory is not None:
                os.close(memory)
                answer = TraceAnswer(int(message.get("number", 0)), 0, NOT_INSTALLED)
                channel.send(pack_message(as_message(answer)), socket.MSG_NOSIGNAL)
