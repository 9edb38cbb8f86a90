"""The main function of a worker: what it has to set up after the fork, and its loop."""

from __future__ import annotations

import os
import select
import socket
import time

from fpm.library import current
from fpm.protocol.messages import WorkerReady
from fpm.protocol.spec import FD_SCOREBOARD, WorkerSettings
from fpm.scoreboard.memory import Scoreboard
from fpm.scoreboard.route_table import RouteTable
from fpm.scoreboard.writer import compile_writer
from fpm.worker import hot_path
from fpm.worker.accounting import Accounting
from fpm.worker.connections import Connections
from fpm.worker.exit_account import tell_exit
from fpm.worker.fork_guard import ForkGuard
from fpm.worker.interrupt import Interrupt
from fpm.worker.last_word import LastWord, Pair
from fpm.worker.loop import CALLERS, WorkerLoop
from fpm.worker.master_channel import MasterChannel
from fpm.worker.self_dump import listen
from fpm.worker.service import Service
from fpm.worker.settings import ActiveSettings
from fpm.worker.status_pages import StatusPages
from fpm.worker.stdio import replace_standard_streams
from fpm.wsgi.run import WSGIApp


def run_worker(
    settings: WorkerSettings,
    application: WSGIApp,
    *,
    slot: int,
    channel: socket.socket,
    access_log: int | None,
    last_word: Pair | None = None,
    hold: bool = False,
) -> int:
    """Serves until the master says quit or is gone, and returns the exit code; the main function of a new worker.

    Args:
        slot: this worker's slot of the scoreboard.
        channel: SOCK_SEQPACKET to the master.
        access_log: descriptor opened to append, or None.
        last_word: what the template reads if this worker ends in the middle of an answer, see fpm.worker.last_word.
        hold: accept nothing before the master says so: this worker proves a new generation.
    """
    replace_standard_streams()
    current.in_worker = True
    active = ActiveSettings(settings)
    board = Scoreboard.attach(FD_SCOREBOARD, settings.slots)
    compiled, _ = hot_path.load(wanted=settings.hotpath)
    writer = compile_writer(compiled)(board, slot, pid=os.getpid(), started=time.time(), script=settings.app)
    master, epoll = MasterChannel(channel), select.epoll()
    connections = Connections(epoll, active, master, writer)
    accounting = Accounting(active, writer, master, access_log)
    accounting.count_routes(RouteTable if compiled is None else compiled.Routes, board.routes(slot))
    pages, word = StatusPages(active, board), LastWord(last_word)
    service = Service(application, active, writer, master, connections, accounting, pages, word)
    loop = WorkerLoop(service, epoll, compiled)
    ForkGuard(writer, loop.descriptors)
    (Interrupt(writer) if loop.hot is None else Interrupt(writer, CALLERS, loop.hot.is_calling)).install()
    if not hold:
        loop.begin_accepting()
    master.send_surely(WorkerReady(listen()))
    tell_exit(master)
    accounting.limit_memory()
    return loop.run()
