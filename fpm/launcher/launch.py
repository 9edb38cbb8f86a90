"""The launcher: runs on the master's own interpreter, becomes the pool's user, then executes the pool's interpreter.

A user-owned interpreter is so never executed with the master's rights. In the mode "unavailable" there is nothing to
execute: the launcher itself, without rights by then, answers 503 until the master sends it away.
"""

from __future__ import annotations

import os
import socket
import sys
from typing import NoReturn

from fpm.errors import EXIT_SOFTWARE
from fpm.launcher.execute import execute_template
from fpm.launcher.identity import apply_identity
from fpm.launcher.unavailable import serve_unavailable
from fpm.protocol.messages import Failed, pack
from fpm.protocol.spec import FD_CHANNEL, FD_SPEC, unpack_spec
from fpm.system.proctitle import set_title


def main() -> NoReturn:
    """Apply the identity and go on; a failure is reported to the master, then exit status 70."""
    spec = unpack_spec(os.pread(FD_SPEC, os.fstat(FD_SPEC).st_size, 0))
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, fileno=FD_CHANNEL)
    if spec.mode == "unavailable":
        set_title(f"pyfpm: unavailable {spec.pool}")  # while /proc can still be seen
    try:
        apply_identity(spec)
    except OSError as error:
        _fail(channel, "identity", f"cannot apply {error.filename}: {error.strerror}")
    if spec.mode == "unavailable":
        os._exit(serve_unavailable(spec.worker, channel))
    try:
        execute_template(spec)
    except OSError as error:
        hint = ""
        if isinstance(error, PermissionError):
            hint = f"; user {spec.uid} must be able to execute it and to enter every directory above it"
        _fail(channel, "exec", f"cannot execute {spec.python}: {error.strerror}{hint}")


def _fail(channel: socket.socket, stage: str, error: str) -> NoReturn:
    channel.send(pack(Failed(stage, error, "")))
    sys.exit(EXIT_SOFTWARE)
