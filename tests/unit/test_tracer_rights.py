"""Who may trace whom, and what is said where the kernel refuses."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpm.stacks.credentials import (
    CAP_SETGID,
    CAP_SETUID,
    CAP_SYS_PTRACE,
    GONE,
    Status,
    Surroundings,
    ids_to_take,
    parse_status,
    refusals,
)
from fpm.stacks.rights import explain, needs_named_tracer, read_status, read_yama

TEXT = """\
Name:\tpyfpm: tracer
State:\tS (sleeping)
TracerPid:\t0
Uid:\t33\t33\t33\t33
Gid:\t34\t34\t34\t34
Threads:\t3
SigBlk:\t0000000000000001
SigCgt:\t0400000000000000
CapPrm:\t0000000000080000
CapEff:\t0000000000080002
Seccomp:\t2
"""
NO_PID = 4194305
"""Beyond the kernel's PID_MAX_LIMIT."""


def process(uid: int = 33, *, gid: int = 33, caps: tuple[int, ...] = (), **more: object) -> Status:
    bits = sum(1 << cap for cap in caps)
    values = {"state": "S", "uids": (uid,) * 4, "gids": (gid,) * 4, "permitted": bits, "effective": bits}
    return Status(**{**values, **more})  # type: ignore[arg-type]


ROOT = process(0, gid=0, caps=(CAP_SETGID, CAP_SETUID, CAP_SYS_PTRACE))
ROOT_IN_CONTAINER = process(0, gid=0, caps=(CAP_SETGID, CAP_SETUID))
USER = process(33)
OTHER = process(1000, gid=1000)


def test_the_kernel_s_text() -> None:
    status = parse_status(TEXT)
    assert (status.name, status.state, status.threads, status.seccomp) == ("pyfpm: tracer", "S", 3, 2)
    assert (status.uids, status.gids) == ((33, 33, 33, 33), (34, 34, 34, 34))
    assert (status.blocked, status.caught) == (1, 1 << 58)
    assert status.can(CAP_SYS_PTRACE)
    assert not status.can(0)


@given(
    st.text()
    | st.lists(st.sampled_from([*TEXT.splitlines(), "Uid:", "Seccomp:\tx", ":", "CapEff:\tzz"])).map("\n".join)
)
def test_any_text_is_read(text: str) -> None:
    status = parse_status(text)
    assert status.threads >= 0
    assert isinstance(refusals(ROOT_IN_CONTAINER, status, Surroundings()), list)


@pytest.mark.parametrize(
    ("me", "other", "expected"),
    [
        (ROOT, USER, None),
        (ROOT_IN_CONTAINER, USER, (33, 33)),
        (ROOT_IN_CONTAINER, ROOT, None),
        (USER, USER, None),
        (USER, OTHER, None),
        (process(0, gid=0, caps=(CAP_SETUID,)), USER, None),
        (ROOT_IN_CONTAINER, process(33, uids=(33, 0, 33, 0)), None),
    ],
)
def test_what_a_helper_becomes(me: Status, other: Status, expected: tuple[int, int] | None) -> None:
    assert ids_to_take(me, other) == expected


@pytest.mark.parametrize(
    ("me", "other", "around", "words"),
    [
        (ROOT, USER, Surroundings(yama=2), []),
        (USER, USER, Surroundings(), []),
        (USER, process(33, state="Z"), Surroundings(), ["has exited"]),
        (ROOT, process(33, tracer=7), Surroundings(tracer_name="gdb"), ["already traced by pid 7 (gdb)"]),
        (ROOT, process(33, tracer=7), Surroundings(), ["by pid 7, which"]),
        (ROOT, USER, Surroundings(yama=3), ["ptrace_scope = 3"]),
        (USER, USER, Surroundings(yama=2), ["ptrace_scope = 2 wants CAP_SYS_PTRACE", "--cap-add SYS_PTRACE"]),
        (USER, USER, Surroundings(yama=1), ["ptrace_scope = 1", "has not named the master"]),
        (USER, USER, Surroundings(dumpable=False), ["not dumpable", "process.dumpable = yes"]),
        (USER, OTHER, Surroundings(), ["uid 33 gid 33 without CAP_SYS_PTRACE", "uid 1000 gid 1000", "--cap-add"]),
        (USER, process(33, caps=(10,)), Surroundings(), ["capabilities that the tracer lacks (number 10)"]),
        (process(33, seccomp=2), USER, Surroundings(), ["seccomp filter"]),
        (process(33, seccomp=2), OTHER, Surroundings(), ["uid 1000"]),
    ],
)
def test_each_reason(me: Status, other: Status, around: Surroundings, words: list[str]) -> None:
    found = "; ".join(refusals(me, other, around))
    assert all(word in found for word in words), found
    assert bool(found) == bool(words)


def test_yama_s_file(tmp_path: Path) -> None:
    path = tmp_path / "ptrace_scope"
    assert read_yama(str(path)) is None
    assert not needs_named_tracer(str(path))
    me = read_status("self")
    assert me is not None
    for scope, needed in (("0\n", False), ("1\n", not me.can(CAP_SYS_PTRACE)), ("2\n", False), ("x", False)):
        path.write_text(scope)
        assert needs_named_tracer(str(path)) is needed
    path.write_text("3\n")
    assert read_yama(str(path)) == 3


def test_what_is_gone_is_said_to_be_gone() -> None:
    assert read_status(NO_PID) is None
    assert explain(NO_PID, OSError(errno.EPERM, "")) == GONE


def test_a_kernel_that_gives_no_reason() -> None:
    """This process could trace itself as far as ids go, so nothing of what is looked at explains the refusal."""
    me = read_status("self")
    assert me is not None
    found = explain(1 if me.can(CAP_SYS_PTRACE) else NO_PID, errno.ETIMEDOUT)
    assert found in {GONE} or found.startswith("it did not stop in time")
