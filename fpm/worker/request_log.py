"""Lines of the error log that say which request they are about."""

from __future__ import annotations

import traceback
from collections.abc import Container
from types import CodeType

from fpm.log.escape import decode_wire, escape
from fpm.protocol.messages import Level
from fpm.worker.master_channel import MasterChannel
from fpm.wsgi.environ import Environ
from fpm.wsgi.sink import Unsent

CAUSES_MAX = 5
"""Exceptions of which one was the cause of the next."""


class RequestLog:
    """Writes them."""

    def __init__(self, master: MasterChannel) -> None:
        self._master = master

    def write(self, level: Level, environ: Environ, text: str) -> None:
        """One line, or several."""
        # The application may have taken anything out of its environ.
        uri = f"{environ.get('SCRIPT_NAME', '')}{environ.get('PATH_INFO', '')}"
        if query := environ.get("QUERY_STRING"):
            uri += f"?{query}"
        request = escape(decode_wire(f"{environ.get('REQUEST_METHOD', '')} {uri}"))
        self._master.log(level, text, request)


def tell_unsent(log: RequestLog, environ: Environ, unsent: Unsent) -> None:
    """Log what the application has made of a response and was not sent."""
    if unsent.headers:
        what = "it is for the web server to set (PEP 3333) and is not sent; each worker says this once"
        log.write("warning", environ, f"header {', '.join(unsent.headers)}: {what}")
    if unsent.surplus:
        log.write("warning", environ, f"{unsent.surplus} bytes beyond the Content-Length were not sent")
    if unsent.after_end:
        log.write("notice", environ, f"{unsent.after_end} bytes of output after fpm.finish_request() were not sent")


def format_traceback(error: BaseException, ours: Container[CodeType]) -> str:
    """The traceback from the application's first frame on; all of it if there is none.

    Args:
        ours: code of pyfpm, whose frames tell nobody anything.
    """
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code in ours:
        frames = frames.tb_next
    text = "".join(traceback.format_exception(type(error), error, frames or error.__traceback__)).rstrip()
    # Where there are notes, the end of the text is not that of the message. str(error) may run the application's code.
    if not isinstance(error, OSError) or getattr(error, "__notes__", None):
        return text
    address = _address_of(error)
    return f"{text} ({address})" if address and address not in text.rpartition("\n")[2] else text


def _address_of(error: BaseException) -> str:
    """Say to which address a connection was wanted, which an OSError does not tell; "" if that is not known.

    The function of the standard library by which nearly all clients connect has it.
    """
    cause: BaseException | None = error
    for _ in range(CAUSES_MAX):
        for frame, _ in traceback.walk_tb(cause.__traceback__ if cause is not None else None):
            if frame.f_code.co_name == "create_connection":
                match frame.f_locals.get("address"):
                    case (str() as host, int() as port, *_):
                        return f"{host}:{port}"
        cause = cause and (cause.__cause__ or cause.__context__)
    return ""
