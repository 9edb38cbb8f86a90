"""The launcher: runs on the master's own interpreter, becomes the pool's user, then executes the pool's interpreter.

A user-owned interpreter is so never executed with the master's rights. In the mode "unavailable" there is nothing to
execute: the launcher itself, without rights by then, answers 503 until the master sends it away.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from fpm.errors import EXIT_SOFTWARE
from fpm.launcher.identity import apply_identity
from fpm.launcher.limits import explain_lack
from fpm.protocol.messages import Failed, pack
from fpm.protocol.spec import (
    BOOT_COMMAND,
    FD_CHANNEL,
    FD_FIRST_FREE,
    FD_SPEC,
    TEMPLATE,
    TemplateSpec,
    WorkerSettings,
    unpack_spec,
)
from fpm.system.proctitle import set_title
from fpm.worker.worker import run_worker

PAGE = b"Service Unavailable: the application does not start. Its administrator finds the reason in the log.\n"
RETRY_AFTER = "5"
"""Seconds; only a hint to clients, the master's backoff decides."""


def main() -> NoReturn:
    """Apply the identity and go on; a failure is reported to the master, then exit status 70."""
    spec = unpack_spec(os.pread(FD_SPEC, os.fstat(FD_SPEC).st_size, 0))
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, fileno=FD_CHANNEL)
    if spec.env_file:
        spec = _with_variables(spec, spec.env_file, channel)
    if spec.mode == "unavailable":
        set_title(f"pyfpm: unavailable {spec.pool}")  # while /proc can still be seen
    try:
        apply_identity(spec, channel)
    except OSError as error:
        _fail(channel, "identity", f"cannot apply {error.filename}: {error.strerror}")
    if spec.mode == "unavailable":
        os._exit(serve_unavailable(spec.worker, channel))
    try:
        execute_template(spec)
    except OSError as error:
        _fail(channel, "exec", f"cannot execute {spec.python}: {error.strerror}{_hint(error, spec)}")


def _with_variables(spec: TemplateSpec, path: str, channel: socket.socket) -> TemplateSpec:
    from fpm.launcher.env_file import EnvFileError, add_variables  # for pools that have one

    try:
        return add_variables(spec, path)
    except (EnvFileError, OSError) as error:
        _fail(channel, "env_file", str(error))


def _hint(error: OSError, spec: TemplateSpec) -> str:
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"; user {spec.uid} must be able to execute it and to enter every directory above it"
    return explain_lack(error)


def _fail(channel: socket.socket, stage: str, error: str) -> NoReturn:
    channel.send(pack(Failed(stage, error, "")))
    sys.exit(EXIT_SOFTWARE)


def execute_template(spec: TemplateSpec, *arguments: str) -> NoReturn:
    """Replace this process by the pool's interpreter, with the descriptors of fpm.protocol.spec and no others.

    Raises:
        OSError: the interpreter cannot be executed.
    """
    for fd in range(FD_FIRST_FREE):
        os.set_inheritable(fd, True)
    # -P: neither the directory of a script nor "" comes first on sys.path; what comes there is the pool's decision.
    command = [spec.python, "-P", *spec.python_arguments, "-c", BOOT_COMMAND, TEMPLATE, *arguments, spec.pool]
    os.execve(spec.python, command, spec.environ)


def unavailable_application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    """A WSGI application that is sorry. No details: they are in the log, which the client must not see."""
    headers = [
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Retry-After", RETRY_AFTER),
        ("Cache-Control", "no-store"),
    ]
    start_response("503 Service Unavailable", headers)
    return [PAGE]


def serve_unavailable(settings: WorkerSettings, channel: socket.socket) -> int:
    """Answer 503 on the pool's listening socket until the master says quit; returns the exit code."""
    return run_worker(settings, unavailable_application, slot=0, channel=channel, access_log=None)
