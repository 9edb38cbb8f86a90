"""It keeps as many MiB as the query says; it may do so after its response, go on as long as a file exists, and lie."""

import mmap
import os
import threading
import time

HOLD = os.path.join(os.path.dirname(__file__), "hold")
KEPT = [bytearray(os.urandom(1)) * (int(os.environ.get("AT_START", 0)) << 20)]


def grow(size):
    KEPT.append(bytearray(b"x") * (int(size) << 20))


def hold_on():
    for _ in range(6000):
        if not os.path.exists(HOLD):
            return
        time.sleep(0.01)


def seem_idle():
    from fpm.scoreboard.layout import stages_offset
    from fpm.scoreboard.stages import Stage

    for name in os.listdir("/proc/self/fd"):
        if os.path.exists(f"/proc/self/fd/{name}") and "scoreboard" in os.readlink(f"/proc/self/fd/{name}"):
            with mmap.mmap(int(name), 0) as board:
                board[stages_offset()] = Stage.ACCEPTING


def application(environ, start_response):
    path, size = environ["PATH_INFO"], environ["QUERY_STRING"]
    if path == "/later":
        threading.Timer(0.2, grow, [size]).start()
    elif size:
        grow(size)
    if path == "/lie":
        seem_idle()
    if path in ("/hold", "/lie"):
        hold_on()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
