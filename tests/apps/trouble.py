"""Goes wrong in the way the path says."""

import os
import signal
import sys


def application(environ, start_response):
    way = environ["PATH_INFO"].strip("/")
    if way == "before":
        raise RuntimeError("before the headers")
    if way == "exit":
        sys.exit(3)
    if way == "_exit":
        os._exit(4)
    if way == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    start_response("200 OK", [("Content-Type", "text/plain")])
    if way == "after":
        return after()
    return [b"no trouble\n"]


def after():
    yield b"the first piece"
    raise RuntimeError("after the headers")
