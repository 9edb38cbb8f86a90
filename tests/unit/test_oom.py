"""Kills for lack of memory: what the kernel writes, and what follows from it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpm.cgroups.places import Membership, Mount, directory_of, parse_membership, parse_mounts
from fpm.master.processes.oom import OomWatch
from fpm.master.processes.oom_reports import (
    Kill,
    OomVerdict,
    judge,
    limit_files,
    parse_kills,
    parse_limit,
    parse_record,
)

EVENTS = "low 0\nhigh 12\nmax 345\noom 3\noom_kill {}\noom_group_kill 0\n"
CONTROL = "oom_kill_disable 0\nunder_oom 0\noom_kill {}\n"
HYBRID = "9:name=systemd:/\n4:memory:/jobs/a b\n1:cpu,cpuacct:/\n0::/\n"
MOUNTS = (
    "25 30 0:22 / /proc rw - proc proc rw\n"
    "40 32 0:35 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n"
    "41 32 0:36 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
    "42 32 0:37 / /sys/fs/cgroup/uni\\040fied rw,relatime shared:9 - cgroup2 cgroup2 rw\n"
)
MEMCG_RECORD = (
    b"3,874,12511354260,-;Memory cgroup out of memory: Killed process 11875 (python3) total-vm:82368kB, "
    b"anon-rss:72476kB, file-rss:3636kB, shmem-rss:0kB, UID:0 pgtables:200kB oom_score_adj:0\n"
)


def test_memberships() -> None:
    assert parse_membership("0::/system.slice/pyfpm.service\n") == Membership(2, "/system.slice/pyfpm.service")
    assert parse_membership(HYBRID) == Membership(1, "/jobs/a b")
    assert parse_membership("0::/\n4:memory,hugetlb:/x\n") == Membership(1, "/x")
    assert parse_membership("") is None


def test_mounts() -> None:
    v1, v2 = Mount(1, "/", "/sys/fs/cgroup/memory"), Mount(2, "/", "/sys/fs/cgroup/uni fied")
    assert parse_mounts(MOUNTS) == (v1, v2)
    assert directory_of(Membership(1, "/jobs/a"), (v2, v1)) == "/sys/fs/cgroup/memory/jobs/a"
    assert directory_of(Membership(2, "/"), (v1, v2)) == "/sys/fs/cgroup/uni fied"
    assert directory_of(Membership(1, "/jobs"), (v2,)) is None
    # A container without a namespace of its own for cgroups sees its part of the tree only.
    inside = Mount(2, "/docker/abc", "/sys/fs/cgroup")
    assert directory_of(Membership(2, "/docker/abc"), (inside,)) == "/sys/fs/cgroup"
    assert directory_of(Membership(2, "/docker/abc/x"), (inside,)) == "/sys/fs/cgroup/x"
    assert directory_of(Membership(2, "/docker/abcd"), (inside,)) is None
    assert directory_of(Membership(2, "/../other"), (Mount(2, "/", "/sys/fs/cgroup"),)) is None


def test_limits() -> None:
    assert parse_limit("max\n") is None
    assert parse_limit("268435456\n") == 268435456
    assert parse_limit("9223372036854771712\n") is None
    assert parse_limit("") is None
    assert limit_files("/c/a/b", "/c", 2) == ["/c/a/b/memory.max", "/c/a/memory.max", "/c/memory.max"]
    assert limit_files("/c", "/c", 1) == ["/c/memory.limit_in_bytes"]


@given(st.text(max_size=200))
def test_any_text_is_read(text: str) -> None:
    membership = parse_membership(text)
    if membership is not None:
        directory = directory_of(membership, parse_mounts(MOUNTS))
        assert directory is None or directory.startswith("/sys/fs/cgroup")
    assert {mount.version for mount in parse_mounts(text)} <= {1, 2}
    for number in (parse_kills(text), parse_limit(text)):
        assert number is None or number >= 0


@pytest.mark.parametrize(
    ("record", "kill"),
    [
        (MEMCG_RECORD, Kill(11875, True)),
        (b"3,9,1,-;Out of memory: Killed process 7 (a) total-vm:1kB\n SUBSYSTEM=x\n", Kill(7, False)),
        (b"3,9,1,-;Out of memory (oom_kill_allocating_task): Killed process 7 (a)\n", Kill(7, False)),
        (b"3,9,1,-;Memory cgroup out of memory: Kill process 8 (a) score 9 or sacrifice child\n", Kill(8, True)),
        (b"6,9,1,-;memory: usage 65536kB, limit 65536kB, failcnt 20\n", None),
        # A program that writes to /dev/kmsg has another facility, and a name is not a kill.
        (b"12,9,1,-;Out of memory: Killed process 7 (a)\n", None),
        (b"4,9,1,-;Out of memory: Killed process 7 (x: Killed process 8 ()\n", Kill(7, False)),
        (b"4,9,1,-;x invoked oom-killer: Killed process 8 (a)\n", None),
        (b"", None),
        (b"\xff;\xff", None),
    ],
)
def test_kernel_log_records(record: bytes, kill: Kill | None) -> None:
    assert parse_record(record) == kill


@given(st.binary(max_size=300))
def test_any_record_is_read(record: bytes) -> None:
    kill = parse_record(record)
    assert kill is None or b"%d" % kill.pid in record


MINE, OTHER = Kill(5, True), Kill(6, False)


@pytest.mark.parametrize(
    ("rise", "kills", "log", "answer", "source"),
    [
        (1, [MINE], "", "yes", "kernel log"),
        (None, [MINE, OTHER], "", "yes", "kernel log"),
        (0, [OTHER], "", "no", "cgroup"),
        (0, [], "unreadable", "no", "cgroup"),
        (1, [], "unreadable", "yes", "cgroup"),
        (2, [OTHER], "", "yes", "cgroup"),  # the line comes after the kill
        (1, [OTHER], "", "no", "kernel log"),
        (None, [OTHER], "", "no", "kernel log"),
        (None, [], "unreadable", "unknown", ""),
    ],
)
def test_judgement(rise: int | None, kills: list[Kill], log: str, answer: str, source: str) -> None:
    verdict = judge(5, rise, kills, log=log, limit=256 << 20, counter="no counter")
    assert (verdict.answer, verdict.source) == (answer, source)
    if answer == "yes":
        assert verdict.note == "cgroup limit 256 MiB"
    if answer == "unknown":
        assert verdict.note == "no counter; unreadable"


def test_which_memory_it_was() -> None:
    assert judge(6, None, [OTHER], log="", limit=None, counter="").note == "the machine had no memory left"
    assert judge(5, None, [MINE], log="", limit=None, counter="").note == "a cgroup's limit"
    assert judge(5, 1, [], log="x", limit=None, counter="").note == ""


# ------------------------------------------------------------------------------------------- files as the kernel's are


class Kernel:
    """A /proc and a cgroup mount of one version, in a directory."""

    def __init__(self, directory: Path, version: int) -> None:
        self.version, self.proc, self.group = version, directory / "proc", directory / "cgroup" / "jobs"
        (self.proc / "self").mkdir(parents=True)
        self.group.mkdir(parents=True)
        kind = "cgroup2 cgroup2 rw" if version == 2 else "cgroup cgroup rw,memory"
        (self.proc / "self" / "mountinfo").write_text(f"42 32 0:37 / {directory}/cgroup rw shared:9 - {kind}\n")
        self.limit("max\n" if version == 2 else "9223372036854771712\n", self.group.parent)
        self.limit("67108864\n", self.group)
        self.kills(3)

    def add(self, pid: int) -> None:
        (self.proc / str(pid)).mkdir()
        (self.proc / str(pid) / "cgroup").write_text("0::/jobs\n" if self.version == 2 else "4:memory:/jobs\n0::/\n")

    def kills(self, count: int) -> None:
        name, text = ("memory.events", EVENTS) if self.version == 2 else ("memory.oom_control", CONTROL)
        (self.group / name).write_text(text.format(count))

    def limit(self, text: str, directory: Path) -> None:
        (directory / ("memory.max" if self.version == 2 else "memory.limit_in_bytes")).write_text(text)


@pytest.mark.parametrize("version", [1, 2])
def test_the_counter_of_a_cgroup(tmp_path: Path, version: int) -> None:
    kernel = Kernel(tmp_path, version)
    for pid in (5, 6, 7, 8):
        kernel.add(pid)
    watch = OomWatch(proc=str(kernel.proc), kmsg=str(tmp_path / "none"))
    groups = [watch.learn(pid) for pid in (5, 6, 7, 8)]
    assert groups == [str(kernel.group)] * 4
    assert watch.examine(5, groups[0]).answer == "no"
    kernel.kills(5)
    expected = OomVerdict("yes", "cgroup limit 64.0 MiB", "cgroup")
    assert watch.examine(6, groups[1]) == expected
    assert watch.examine(7, groups[2]) == expected  # two had been killed, and two have ended
    assert watch.examine(8, groups[3]).answer == "no"
    (kernel.group / "memory.events").unlink(missing_ok=True)
    (kernel.group / "memory.oom_control").unlink(missing_ok=True)
    assert watch.examine(9, groups[0]).answer == "unknown"
    watch.close()


def test_without_anything_to_read(tmp_path: Path) -> None:
    watch = OomWatch(proc=str(tmp_path / "none"), kmsg=str(tmp_path / "none"))
    assert watch.learn(5) == ""
    verdict = watch.examine(5, "")
    assert verdict.answer == "unknown"
    assert verdict.note == "its cgroup could not be read; the kernel log cannot be read (No such file or directory)"
    watch.close()
