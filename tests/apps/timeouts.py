"""Takes too long in the way that the path says; `?SECONDS` is how long."""

import contextlib
import os
import queue
import signal
import socket
import subprocess
import threading
import time

import fpm


def application(environ, start_response):
    way = environ["PATH_INFO"].strip("/")
    seconds = float(environ["QUERY_STRING"] or "0")
    if way == "stream":
        return stream(start_response, seconds)
    said = WAYS[way](environ, seconds) if way in WAYS else str(os.getpid())
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [said.encode()]


def stream(start_response, seconds):
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"the first piece"
    time.sleep(seconds)
    yield b"the last piece"


def sleep(environ, seconds):
    time.sleep(seconds)
    return "slept"


def receive(environ, seconds):
    one, other = socket.socketpair()
    with one, other:
        return one.recv(1)


def lock(environ, seconds):
    held = threading.Lock()
    held.acquire()
    held.acquire()


def wait(environ, seconds):
    queue.Queue().get()


def child(environ, seconds):
    subprocess.run(["sleep", str(seconds)], check=False)


def busy(environ, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
    return "busy"


def catch(environ, seconds):
    try:
        time.sleep(seconds)
    except fpm.RequestTimeout as error:
        return f"caught: {error}"
    return "slept"


def swallow(environ, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(BaseException):
            time.sleep(0.05)
    return "swallowed"


def framework(environ, seconds):
    try:
        time.sleep(seconds)
    except Exception:
        return "swallowed"
    return "slept"


def ignore(environ, seconds):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(seconds)


def stop(environ, seconds):
    os.kill(os.getpid(), signal.SIGSTOP)
    return "went on"


def in_c(environ, seconds):
    """Holds the GIL and does not look at signals."""
    sum(range(10**12))


def upload(environ, seconds):
    return str(len(environ["wsgi.input"].read()))


def download(environ, seconds):
    return "x" * 3_000_000


def held(environ, seconds):
    """Until the file has gone, see tests.support.held."""
    while os.path.exists("hold"):
        time.sleep(0.01)
    return "held"


def deaf(environ, seconds):
    """Nobody catches the signal of fpm.RequestTimeout any more, so it would be deadly."""
    signal.signal(45, signal.SIG_DFL)
    time.sleep(seconds)


def after(environ, seconds):
    fpm.after_response(time.sleep, seconds)
    return "answered"


WAYS = {
    one.__name__: one
    for one in (
        sleep,
        receive,
        lock,
        wait,
        child,
        busy,
        catch,
        swallow,
        framework,
        ignore,
        stop,
        in_c,
        upload,
        download,
        held,
        after,
        deaf,
    )
}
