"""What is the same for each request of a worker: the application, the settings in force, the slot, the logs."""

from __future__ import annotations

import os

from fpm.library import after_response, finish_request
from fpm.scoreboard.writer import SlotWriter
from fpm.worker.accounting import Accounting
from fpm.worker.answer_sender import AnswerSender
from fpm.worker.connections import Connections
from fpm.worker.last_word import LastWord
from fpm.worker.master_channel import MasterChannel
from fpm.worker.request_log import RequestLog
from fpm.worker.settings import ActiveSettings
from fpm.worker.status_pages import StatusPages
from fpm.worker.stdio import open_errors
from fpm.wsgi.environ import Environ
from fpm.wsgi.file_wrapper import FileWrapper
from fpm.wsgi.run import WSGIApp


class Service:
    """The parts of a worker that its requests use.

    Attributes:
        constants: entries of each request's environ.
        pid: of the worker; another one is that of a process which the application has forked.
    """

    def __init__(
        self,
        application: WSGIApp,
        settings: ActiveSettings,
        slot: SlotWriter,
        master: MasterChannel,
        connections: Connections,
        accounting: Accounting,
        pages: StatusPages,
        last_word: LastWord,
    ) -> None:
        self.application = application
        self.settings = settings
        self.slot = slot
        self.master = master
        self.connections = connections
        self.accounting = accounting
        self.pages = pages
        self.pid = os.getpid()
        self.log = RequestLog(master)
        self.sender = AnswerSender(settings, slot, self.log, last_word)
        self.constants = make_constants()
        master.on_named = self.rename

    def rename(self, pid: int, parent: int) -> None:
        """Show the worker and its template, in status and access log, by the pids that the machine has for them."""
        self.slot.rename(pid)
        self.accounting.pid, self.accounting.parent = pid, parent


def make_constants() -> Environ:
    """Make what is the same in each request's environ."""
    return {
        "wsgi.version": (1, 0),
        "wsgi.errors": open_errors(),
        "wsgi.multithread": False,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "wsgi.input_terminated": True,
        "wsgi.file_wrapper": FileWrapper,
        "fpm.finish_request": finish_request,
        "fpm.after_response": after_response,
    }
