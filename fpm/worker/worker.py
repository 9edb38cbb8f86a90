"""The main function of a worker: what it has to set up after the fork, and its loop."""

from __future__ import annotations

import os
import socket
import time

from fpm.protocol.messages import WorkerReady
from fpm.protocol.spec import FD_SCOREBOARD, WorkerSettings
from fpm.scoreboard.memory import Scoreboard
from fpm.scoreboard.writer import SlotWriter
from fpm.worker.accounting import AccessLog
from fpm.worker.fork_guard import ForkGuard
from fpm.worker.interrupt import Interrupt
from fpm.worker.loop import WorkerLoop
from fpm.worker.master_channel import Reports
from fpm.worker.self_dump import listen
from fpm.worker.service import Service
from fpm.worker.status_pages import OwnPages
from fpm.worker.stdio import replace_standard_streams
from fpm.wsgi.response import WSGIApp


def run_worker(
    settings: WorkerSettings,
    application: WSGIApp,
    *,
    slot: int,
    channel: socket.socket,
    access_log: int | None,
    hold: bool = False,
) -> int:
    """Serves until the master says quit or is gone; the main function of a freshly forked worker.

    Args:
        slot: this worker's slot of the scoreboard.
        channel: SOCK_SEQPACKET to the master.
        access_log: descriptor opened to append, or None.
        hold: accept nothing before the master says so: this worker proves a new generation.

    Returns:
        The exit code.
    """
    replace_standard_streams()
    board = Scoreboard.attach(FD_SCOREBOARD, settings.slots)
    writer = SlotWriter(board, slot, pid=os.getpid(), started=time.time(), script=settings.app)
    reports = Reports(channel)
    log = AccessLog(settings, access_log) if access_log is not None and settings.has_access_log else None
    service = Service(settings, application, writer, reports, log, OwnPages(settings, board))
    loop = WorkerLoop(settings, service, writer, reports)
    ForkGuard(writer, loop.descriptors)
    Interrupt(writer, service.background).install()
    if not hold:
        loop.begin_accepting()
    reports.send(WorkerReady(listen()))
    service.accounting.limit_memory(settings.pm_max_memory)
    return loop.run()
