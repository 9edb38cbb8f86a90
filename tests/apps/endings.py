"""Sends some pieces of an answer, and then its worker ends in the way the last part of the path says."""

import ctypes
import faulthandler
import itertools
import os
import signal
import tempfile
import time


def application(environ, start_response):
    if "/file/" in environ["PATH_INFO"]:
        return file(environ, start_response)
    start_response("200 OK", [("Content-Type", "text/csv")])
    return rows(WAYS[environ["PATH_INFO"].rpartition("/")[2]])


def file(environ, start_response):
    """A large file, and a worker that is killed after as many microseconds as the path says."""
    made = tempfile.TemporaryFile()  # noqa: SIM115  the server closes it
    made.truncate(20_000_000)
    start_response("200 OK", [("Content-Type", "text/csv"), ("Content-Length", "20000000")])
    signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    signal.setitimer(signal.ITIMER_REAL, float(environ["PATH_INFO"].rpartition("/")[2]) / 1e6)
    return environ["wsgi.file_wrapper"](made)


def rows(way):
    for number in range(3):
        yield b"row %d\n" % number
    yield from way() or ()
    yield b"the last row\n"


def crash():
    faulthandler.disable()
    ctypes.string_at(0)


def forked():
    """A child of the application that comes and goes changes nothing."""
    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)


def flood():
    """Without an end."""
    return (b"%07d\n" % number * 4096 for number in itertools.count())


def whole():
    return ()


WAYS = {
    "exit": lambda: os._exit(3),
    "abort": os.abort,
    "crash": crash,
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "term": lambda: os.kill(os.getpid(), signal.SIGTERM),
    "sleep": lambda: time.sleep(60),
    "in_c": lambda: ctypes.PyDLL(None).usleep(60_000_000),
    "forked": forked,
    "flood": flood,
    "whole": whole,
}
