"""Lines of logs as entries: each form of each log, and what is torn."""

from __future__ import annotations

import json
import random
import string
from collections.abc import Sequence
from pathlib import Path

import pytest

from fpm.cli.log_entries import EntryReader, Kind, LogEntry, Wanted
from fpm.cli.log_journal import JournalLog, match_of_file
from fpm.log.error import Level
from fpm.stacks.text.read import read_time
from fpm.system.systemd import Service, find_service
from tests.support.waiting import wait_until

AT = read_time("29-Nov-2026 14:03:11")
ERROR = """\
[29-Nov-2026 14:03:11] NOTICE: fpm is running, pid 7
[29-Nov-2026 14:03:11.123456] DEBUG: pid 7: event loop
[29-Nov-2026 14:03:11] ERROR: [pool shop] reload failed
[29-Nov-2026 14:03:11] ERROR: [pool shop]   Traceback (most recent call last):
[29-Nov-2026 14:03:11] ERROR: [pool shop]   ValueError: no
[29-Nov-2026 14:03:12] WARNING: [pool blog] child 9 exited
{"time": "2026-11-29T14:03:13.000Z", "level": "error", "pool": "shop", "message": "oh"}
"""
SLOW = """\

[29-Nov-2026 14:03:11]  [pool shop] pid 9
script_filename = shop.wsgi
[0x0000000000000001] view() /srv/shop/views.py:3

[29-Nov-2026 14:03:12]  [pool blog] pid 9
script_filename = blog.wsgi
{"time": "2026-11-29T14:03:13.000Z", "pool": "shop", "pid": 3}
"""
ACCESS = '- -  29/Nov/2026:14:03:11 +0000 "GET /" 200\nno time\n{"time": "2026-11-29T14:03:13.000Z", "status": 200}\n'


def read(kind: Kind, text: str, pools: Sequence[str] = (), *, is_torn: bool = False) -> list[LogEntry]:
    reader = EntryReader(kind, tuple(pools), 5.0)
    return [*reader.take(text.removesuffix("\n").split("\n"), is_torn=is_torn), *reader.finish()]


def test_the_error_log() -> None:
    entries = read("error", ERROR)
    assert [(one.level, one.pools) for one in entries] == [
        (Level.NOTICE, ()),
        (Level.DEBUG, ()),
        (Level.ERROR, ("shop",)),
        (Level.WARNING, ("blog",)),
        (Level.ERROR, ("shop",)),
    ]
    assert entries[0].time == AT
    assert entries[2].text.count("\n") == 2, "a traceback is one entry"
    assert "\n".join(one.text for one in entries) + "\n" == ERROR
    assert entries[4].as_object()["entry"]["message"] == "oh"
    wanted = Wanted(("shop",), Level.WARNING)
    assert [wanted.has(one) for one in entries] == [False, False, True, False, True]


def test_slow_logs() -> None:
    entries = read("slow", SLOW, ("shop", "blog"))
    assert [one.pools for one in entries] == [("shop",), ("blog",), ("shop",)]
    assert entries[0].lines(full=False)[-1] == "[0x0000000000000001] view() /srv/shop/views.py:3"
    torn = read("slow", SLOW[40:], is_torn=True)
    assert [one.pools for one in torn] == [("blog",), ("shop",)]


def test_access_logs() -> None:
    first, second, third = read("access", ACCESS, ("shop",))
    assert (first.time, first.label, first.level) == (1795960991.0, "shop access", Level.NOTICE)
    assert second.time == first.time, "no time of its own"
    assert json.loads(third.text) == third.as_object()["entry"]
    assert not Wanted(since=first.time + 1).has(second)


def test_anything_can_be_read() -> None:
    randomly = random.Random(7)
    pieces = [*ERROR.split("\n"), *SLOW.split("\n"), *ACCESS.split("\n"), "", "[", "{", "\x1b[2J", '{"time": 7}']
    pieces += ["".join(randomly.choices(string.printable, k=30)).replace("\n", "") for _ in range(20)]
    kinds: tuple[Kind, ...] = ("error", "access", "slow")
    for _ in range(300):
        lines = randomly.choices(pieces, k=12)
        for kind in kinds:
            entries = read(kind, "\n".join(lines))
            shown = [line for one in entries for line in one.text.split("\n")]
            assert [line for line in shown if line] == [line for line in lines if line]
            assert all(json.dumps(one.as_object()) for one in entries)


def test_the_unit_of_a_process() -> None:
    assert find_service("0::/system.slice/pyfpm.service\n") == Service("pyfpm.service")
    below = "1:name=systemd:/\n0::/system.slice/system-pyfpm.slice/pyfpm@shop.service/pyfpm-7/master\n"
    assert find_service(below) == Service("pyfpm@shop.service")
    own = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/shop.service\n"
    assert find_service(own) == Service("shop.service", of_user=True)
    for other in ("", "0::/\n", "0::/user.slice/user-0.slice/session-3.scope\n", "0::/u/user@7.service/a/b.scope\n"):
        assert find_service(other) is None
    assert match_of_file("/etc/pyfpm/pyfpm.conf") == ["--unit", "pyfpm.service"]
    assert match_of_file("/etc/pyfpm/pools.d/shop.conf") == ["--unit", "pyfpm@shop.service"]
    assert match_of_file("/home/me/pyfpm.conf") == []


def journal(*entries: tuple[str, object]) -> str:
    """What `journalctl --output=json` prints: priority and text of each entry, a second after the other."""
    start = int(AT)
    return "".join(
        json.dumps(
            {"__CURSOR": f"c{n}", "__REALTIME_TIMESTAMP": f"{start + n}250000", "PRIORITY": priority, "MESSAGE": text}
        )
        + "\n"
        for n, (priority, text) in enumerate(entries)
    )


JOURNAL = journal(
    ("5", "NOTICE: fpm is running, pid 7"),
    ("3", "ERROR: [pool shop] reload failed"),
    ("6", "Started pyfpm.service"),
    ("4", [255, 111, 104]),
    ("5", '{"time": "2026-11-29T14:03:13.000Z", "level": "error", "pool": "shop", "message": "oh"}'),
    ("3", "two\n[29-Nov-2026 14:03:11] ALERT: [pool shop] forged"),
    ("3", None),
)


def read_journal(directory: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> JournalLog:
    """A journal that is read by this program."""
    program = directory / "journalctl"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}:/usr/bin:/bin")
    log = JournalLog(["--unit", "pyfpm.service"])
    log.open()
    return log


def test_the_journal_as_an_error_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "said").write_text(JOURNAL)
    script = f'echo "$@" >>{tmp_path}/asked; case "$*" in *--follow*) exec tail -f -n 1 {tmp_path}/said;; esac\n'
    log = read_journal(tmp_path, f"{script}cat {tmp_path}/said", monkeypatch)
    entries = log.read_last(lambda _: False)
    assert [(one.level, one.pools) for one in entries] == [
        (Level.NOTICE, ()),
        (Level.ERROR, ("shop",)),
        (Level.NOTICE, ()),
        (Level.WARNING, ()),
        (Level.ERROR, ("shop",)),
        (Level.ERROR, ()),
        (Level.ERROR, ()),
    ]
    assert entries[0].text == ERROR.split("\n")[0]
    assert entries[2].text == "[29-Nov-2026 14:03:13] NOTICE: Started pyfpm.service"
    assert entries[5].text.split("\n")[1].startswith("  [29-Nov-2026"), "no entry of its own"
    fresh: list[LogEntry] = []
    try:
        wait_until(lambda: bool(fresh.extend(log.read_new()) or fresh))
    finally:
        log.close()
    assert len(fresh) == 1
    first, second = (tmp_path / "asked").read_text().splitlines()
    assert first.startswith("--unit pyfpm.service --output=json ")
    assert second.endswith("--follow --no-tail --quiet --after-cursor=c6")


def test_a_journal_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hint = "echo 'Hint: You are currently not seeing messages from other users and the system.' >&2"
    with pytest.raises(OSError, match="as a member of the group systemd-journal"):
        read_journal(tmp_path, hint, monkeypatch).read_last(lambda _: True)
    broken = read_journal(tmp_path, "echo oh >&2; exit 3", monkeypatch)
    with pytest.raises(OSError, match="journalctl failed with status 3: oh"):
        broken.read_last(lambda _: True)
    wait_for_end = pytest.raises(OSError, match="journalctl --follow exited with status 3")
    with wait_for_end:
        wait_until(lambda: bool(broken.read_new()))
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    with pytest.raises(OSError, match="journalctl was not found"):
        broken.read_last(lambda _: True)
    broken.close()
