"""Has the worker of a pool whose application is tests/apps/inside.py run code, as an intruder would."""

from __future__ import annotations

import json
import os
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.support import raw_fastcgi
from tests.support.fpm import Daemon

INSIDE = {"app": "inside:application"}
CALLS = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def check(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
"""
"""Before code that calls the C library."""


def inside(fpm: Daemon, pool: str, code: str, **values: object) -> Any:
    """Return what the code puts into `answer`.

    Args:
        values: what the code finds by these names.

    Raises:
        AssertionError: the code raised; with its traceback.
    """
    told = _told(fpm, pool, code, values)
    assert "error" not in told, told["traceback"]
    return told["answer"]


def refused(fpm: Daemon, pool: str, code: str, **values: object) -> str:
    """Return the error that the code raises, as in "PermissionError: [Errno 1] Operation not permitted"."""
    told = _told(fpm, pool, code, values)
    assert "error" in told, f"it was possible: {told['answer']!r}"
    return str(told["error"])


def _told(fpm: Daemon, pool: str, code: str, values: dict[str, object]) -> dict[str, Any]:
    body = "".join(f"{name} = {value!r}\n" for name, value in values.items()) + textwrap.dedent(code)
    params = raw_fastcgi.web_params("/", method="POST", body=body.encode())
    reply = raw_fastcgi.exchange(fpm.address(pool), params, body.encode())
    assert reply.status == 200, reply
    answer: dict[str, Any] = json.loads(reply.body)
    return answer


def mounts_of(pid: int) -> list[str]:
    """Where the file systems of a process are mounted, as it sees them; the last one is on top."""
    return [line.split()[4] for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines()]


def namespace(pid: int, name: str) -> str:
    """The name of a namespace of a process, as in "pid:[4026531836]"."""
    return os.readlink(f"/proc/{pid}/ns/{name}")


def give(path: Path, uid: int, gid: int | None = None) -> Path:
    """Have it belong to somebody else, and all below it."""
    for one in (path, *path.rglob("*")):
        os.chown(one, uid, uid if gid is None else gid, follow_symlinks=False)
    return path


def opened_to_all(paths: Iterable[Path]) -> None:
    """Let everybody read them."""
    for path in paths:
        path.chmod(0o755 if path.is_dir() else 0o644)
