"""Reads the pool's env_file with the rights of the pool's user, outside of its jail, and adds its variables."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from fpm.launcher.env_text import BadEnvText, parse_env
from fpm.protocol.spec import FD_SPEC, TemplateSpec, pack_spec
from fpm.system.memfd import write_sealed

SIZE_MAX = 1 << 20
"""Bytes; execve(2) takes not much more."""


class EnvFileError(Exception):
    """The file cannot be used; one sentence."""


def add_variables(spec: TemplateSpec, path: str) -> TemplateSpec:
    """Return the specification with the file's variables, and let the template find it in the place of the master's.

    The template may execute itself once more, where the file cannot be seen any more.

    Raises:
        EnvFileError: the file cannot be read.
    """
    try:
        with _rights_of_pool(spec):
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        raise EnvFileError(f"cannot read env_file {path}: {error.strerror}{_advice(error, spec)}") from None
    try:
        variables = _read(fd, path)
    finally:
        os.close(fd)
    whole = replace(spec, environ={**spec.environ, **variables}, env_file=None)
    own = os.memfd_create("pyfpm-spec", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    write_sealed(own, pack_spec(whole))
    os.dup2(own, FD_SPEC)
    os.close(own)
    return whole


@contextmanager
def _rights_of_pool(spec: TemplateSpec) -> Iterator[None]:
    """Open files as the pool's user; the file of a daemon's configuration gives nobody the rights of root."""
    uid, gid = spec.uid, spec.gid
    if uid is None or gid is None:
        yield
        return
    groups = os.getgroups()
    before = os.geteuid(), os.getegid()
    os.setgroups(spec.groups)
    os.setegid(gid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(before[0])
        os.setegid(before[1])
        os.setgroups(groups)


def _read(fd: int, path: str) -> dict[str, str]:
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode):
        raise EnvFileError(f"env_file {path} is no regular file")
    with os.fdopen(os.dup(fd), "rb") as file:
        data = file.read(SIZE_MAX + 1)
    if len(data) > SIZE_MAX:
        raise EnvFileError(f"env_file {path} is larger than {SIZE_MAX >> 20} MiB")
    try:
        return parse_env(data.decode())
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise EnvFileError(f"{path}:{line}: the file is not UTF-8 text") from None
    except BadEnvText as error:
        raise EnvFileError(f"{path}:{error.line}: {error}") from None


def _advice(error: OSError, spec: TemplateSpec) -> str:
    if isinstance(error, PermissionError):
        who = f"user {spec.user or spec.uid}" if spec.uid is not None else "this user"
        return f"; {who} must be able to read it: chgrp it to a group of that user, and chmod 0640"
    return ""
