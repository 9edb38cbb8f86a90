"""The error log in trouble: readers that do not read, disks that are full, and rotation meanwhile."""

from __future__ import annotations

import os
import re
import signal

from tests.support.fpm import Start
from tests.support.load import Load
from tests.support.waiting import wait_until


def test_rotation_of_both_logs_under_load_loses_no_line_and_no_worker(daemon: Start) -> None:
    fpm = daemon(
        {"www": {"app": "noisy:application", "pm.max_children": 2, "access.log": "access.log"}},
        global_={"error_log": "error.log"},
        started=False,
    )
    fpm.expect_log("said into")
    fpm.start()
    workers = fpm.workers("www")
    with Load(fpm.address("www"), clients=3) as load:
        for turn in range(5):
            count = len(load.replies)
            wait_until(lambda count=count: len(load.replies) > count + 10)
            for name in ("error.log", "access.log"):
                (fpm.directory / name).rename(fpm.directory / f"{name}.{turn}")
            if turn % 2:
                fpm.signal(signal.SIGUSR1)
            else:
                assert fpm.cli("reopen-logs").returncode == 0
            wait_until(lambda: all((fpm.directory / name).exists() for name in ("error.log", "access.log")))
    load.no_loss()

    def lines(name: str, needle: str) -> int:
        return sum(path.read_text().count(needle) for path in fpm.directory.glob(f"{name}*"))

    assert {fpm.get("www").status for _ in range(40)} == {200}  # a worker says what it has dropped with its next line
    count = len(load.replies) + 40
    wait_until(lambda: lines("access.log", '"GET /" 200') == count)  # which a worker writes after the response

    def dropped(stream: str) -> int:
        """Lines that a worker says it has dropped, as the master had no time for them: that is not the rotation's."""
        texts = [path.read_text() for path in fpm.directory.glob("error.log*")]
        return sum(int(n) for text in texts for n in re.findall(rf'{stream}: "(\d+) lines were lost here', text))

    said = {"stdout": ["to standard output"], "stderr": ["to standard error", "to wsgi.errors"]}
    for stream, texts in said.items():

        def counted(stream: str = stream, texts: list[str] = texts) -> tuple[int, int]:
            return sum(lines("error.log", f'{stream}: "{text}"') for text in texts), dropped(stream)

        wanted = len(texts) * count
        wait_until(
            lambda counted=counted, wanted=wanted: sum(counted()) == wanted,
            message=lambda counted=counted, wanted=wanted: f"{counted()} of {wanted}",
        )
    assert lines("error.log", "NOTICE: error log file re-opened") == 5
    assert fpm.workers("www") == workers


def test_a_log_that_cannot_be_opened_anew_goes_on_in_the_old_file(daemon: Start) -> None:
    fpm = daemon({"www": {"access.log": "logs/access.log"}}, global_={"error_log": "logs/error.log"}, started=False)
    logs, away = fpm.directory / "logs", fpm.directory / "away"
    logs.mkdir()
    fpm.start()
    logs.rename(away)
    fpm.signal(signal.SIGUSR1)
    wait_until(lambda: "unable to re-open error log file" in (away / "error.log").read_text())
    assert fpm.get("www").status == 200
    wait_until(lambda: '"GET /" 200' in (away / "access.log").read_text())
    away.rename(logs)


def test_a_fifo_that_nobody_reads_holds_up_nobody(daemon: Start) -> None:
    """Nor does reopening while lines wait for a reader: the descriptor that the loop waits for goes away under it."""
    fpm = daemon({"www": {"app": "noisy:application"}}, global_={"error_log": "fifo"}, started=False)
    fifo = fpm.directory / "fifo"
    os.mkfifo(fifo)
    fpm.start()
    with Load(fpm.address("www"), clients=4) as load:
        wait_until(lambda: len(load.replies) > 1500, timeout=180)
    load.no_loss()
    for replacement in ("fifo", "file"):
        fifo.rename(fpm.directory / f"before the {replacement}")
        if replacement == "fifo":
            os.mkfifo(fifo)
        fpm.signal(signal.SIGUSR1)
        if replacement == "file":
            wait_until(fifo.exists)
        assert fpm.ask("status")["ok"]
        assert fpm.get("www").status == 200
    wait_until(lambda: "to standard output" in fifo.read_text(errors="replace"))
    assert "internal error" not in fifo.read_text(errors="replace")


def test_a_full_disk_stops_nothing(daemon: Start) -> None:
    fpm = daemon({"www": {"app": "noisy:application", "access.log": "/dev/full"}}, global_={"error_log": "/dev/full"})
    with Load(fpm.address("www")) as load:
        wait_until(lambda: len(load.replies) > 200)
        fpm.signal(signal.SIGUSR1)
        count = len(load.replies)
        wait_until(lambda: len(load.replies) > count + 50)
    load.no_loss()
    assert fpm.ask("status")["ok"]
