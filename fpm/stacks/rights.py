"""Why a process cannot be traced, told from what /proc says of it and of this process.

It only looks and explains; nothing changes. It runs in the tracer, in the master and in `pyfpm test`, so
it imports nothing of python-ptrace.
"""

from __future__ import annotations

import errno
import os

from fpm.stacks.credentials import (
    CAP_SYS_PTRACE,
    GONE,
    SECCOMP_FILTER,
    YAMA_ANCESTORS,
    Status,
    Surroundings,
    ids_to_take,
    parse_status,
    refusals,
)

YAMA = "/proc/sys/kernel/yama/ptrace_scope"
STATUS_MAX = 16384
DEAF = frozenset({errno.ETIMEDOUT})
"""What a tracer says when a process did not stop in time."""


def read_status(pid: int | str) -> Status | None:
    """Read what /proc says of a process ("self": of this one); None if it is gone or hidden."""
    text = _read(f"/proc/{pid}/status")
    return parse_status(text) if text else None


def read_yama(path: str = YAMA) -> int | None:
    """Read kernel.yama.ptrace_scope; None where the kernel has no Yama (or /proc is not there)."""
    text = _read(path).strip()
    return int(text) if text.isdigit() else None


def needs_named_tracer(path: str = YAMA) -> bool:
    """Decide whether workers must name the master with PR_SET_PTRACER, so that the tracer may attach."""
    me = read_status("self")
    return read_yama(path) == YAMA_ANCESTORS and not (me is not None and me.can(CAP_SYS_PTRACE))


def must_become_its_user() -> bool:
    """Decide whether the tracer lacks the capability, so that it reads the stacks of dumpable processes only."""
    me = read_status("self")
    return me is not None and not me.can(CAP_SYS_PTRACE)


def helper_ids(pid: int) -> tuple[int, int] | None:
    """Return the uid and gid that this process must take before it attaches to `pid`; None: it stays what it is."""
    me, other = read_status("self"), read_status(pid)
    return ids_to_take(me, other) if me is not None and other is not None else None


def explain(pid: int, error: OSError | int, *, yama: str = YAMA) -> str:
    """Explain why this process could not attach to `pid`, as a clause that says what to do where something can be done.

    Args:
        error: what ptrace(2), or opening /proc/PID/mem, failed with; ETIMEDOUT: the process did not stop in time.
        yama: the file that holds kernel.yama.ptrace_scope.
    """
    number = error if isinstance(error, int) else error.errno or 0
    other, me = read_status(pid), read_status("self")
    if other is None or me is None:
        return _explain_unseen(pid)
    around = Surroundings(
        yama=read_yama(yama),
        dumpable=_is_dumpable(pid, other),
        tracer_name=_read(f"/proc/{other.tracer}/comm").strip() if other.tracer else "",
        waits_in=_read(f"/proc/{pid}/wchan").strip("0\n"),
    )
    if number in DEAF and not other.has_ended and not other.tracer:
        return _explain_deaf(other, around)
    if number == errno.ESRCH and not other.has_ended:
        return "the process let go of the tracer; try again"
    if number not in (errno.EPERM, errno.EACCES, errno.ESRCH, errno.ENOENT, 0) and me.seccomp == SECCOMP_FILTER:
        return f"a seccomp filter forbids it ({os.strerror(number)}); let it allow ptrace"
    found = refusals(me, other, around)
    return "; ".join(found) or (
        f"refused ({os.strerror(number)}) by a security module (SELinux deny_ptrace, AppArmor) or because the process "
        "is in another user namespace; see `dmesg`"
    )


def _explain_deaf(other: Status, around: Surroundings) -> str:
    place = f" in {around.waits_in}" if around.waits_in else ""
    if other.state == "D":
        return f"it is in uninterruptible sleep{place} (state D): it waits for a disk or a network file system"
    return f"it did not stop in time (state {other.state}{place}); the machine may be overloaded"


def _explain_unseen(pid: int) -> str:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return GONE
    except PermissionError:
        pass  # it is there
    return "/proc hides it from this user; mount /proc without hidepid (systemd: ProtectProc=), or grant CAP_SYS_PTRACE"


def _is_dumpable(pid: int, other: Status) -> bool | None:
    """The files of one that is not belong to root (proc(5)), though not its directory; root's own tell nothing."""
    if other.uids[1:2] == (0,):
        return None
    try:
        return (os.stat(f"/proc/{pid}/mem").st_uid,) == other.uids[1:2]
    except OSError:
        return None


def _read(path: str) -> str:
    """Read the beginning of a small file of /proc; "" if it cannot be read, which is an answer there."""
    try:
        with open(path, "rb") as file:
            return file.read(STATUS_MAX).decode("utf-8", "replace")
    except OSError:
        return ""
