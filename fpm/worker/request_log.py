"""What a worker writes to the error log about a request."""

from __future__ import annotations

import os
import traceback
from types import CodeType

from fpm.log.escape import decode_wire, escape
from fpm.protocol.messages import Level
from fpm.worker.master_channel import Reports
from fpm.wsgi.environ import Environ


class RequestLog:
    """Lines that say which request they are about."""

    def __init__(self, pool: str, reports: Reports) -> None:
        self._head = f"[pool {pool}] child {os.getpid()}"
        self._reports = reports

    def write(self, level: Level, environ: Environ, text: str) -> None:
        """One line, or several."""
        # The application may have taken anything out of its environ.
        uri = f"{environ.get('SCRIPT_NAME', '')}{environ.get('PATH_INFO', '')}"
        if query := environ.get("QUERY_STRING"):
            uri += f"?{query}"
        request = escape(decode_wire(f"{environ.get('REQUEST_METHOD', '')} {uri}"))
        self._reports.log(level, f"{self._head}, {request}: {text}")


def format_traceback(error: BaseException, ours: tuple[CodeType, ...]) -> str:
    """The traceback from the application's first frame on; all of it if there is none.

    Args:
        ours: code of pyfpm, whose frames tell nobody anything.
    """
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code in ours:
        frames = frames.tb_next
    return "".join(traceback.format_exception(type(error), error, frames or error.__traceback__)).rstrip()
