"""Stays where the path says (PLACES) while the file `hold` is in its directory."""

import ctypes
import os
import signal
import threading
import time

STACK_SIGNALS = {signal.SIGRTMAX - 5, signal.SIGRTMAX - 6}
PR_SET_DUMPABLE = 4
libc = ctypes.PyDLL(None)  # holds the GIL while it calls
lock = threading.Lock()
lock.acquire()


def held():
    return os.path.exists("hold")


def nap(seconds=0.05):
    while held():
        time.sleep(seconds)


def wait_for_lock():
    threading.Thread(target=unlock).start()
    lock.acquire()


def unlock():
    nap()
    lock.release()


def keep_the_gil():
    while held():
        libc.usleep(50000)


def spin():
    while held():
        sum(number * number for number in range(1000))


def be_many():
    threads = [threading.Thread(target=spin) for _ in range(3)]
    for thread in threads:
        thread.start()
    nap()
    for thread in threads:
        thread.join()


def sleep_in_the_kernel():
    """vfork(2): nothing interrupts the parent before the child executes something, and the FIFO keeps it from that."""
    actions = [(os.POSIX_SPAWN_OPEN, 0, "fifo", os.O_RDONLY, 0)]
    os.waitpid(os.posix_spawn("/bin/true", ["true"], {}, file_actions=actions), 0)


def hide():
    libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    nap()


def take_the_signal():
    for number in STACK_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    nap()


def block_the_signal():
    signal.pthread_sigmask(signal.SIG_BLOCK, STACK_SIGNALS)
    nap()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STACK_SIGNALS)


def stop_itself():
    os.kill(os.getpid(), signal.SIGSTOP)


def measure_naps():
    """Ten naps, 0.1 s each; how long they were."""
    begin = time.monotonic()
    for _ in range(10):
        time.sleep(0.1)
    return f"{time.monotonic() - begin:.3f}"


PLACES = {
    "/nap": nap,
    "/lock": wait_for_lock,
    "/gil": keep_the_gil,
    "/threads": be_many,
    "/fifo": sleep_in_the_kernel,
    "/hide": hide,
    "/take": take_the_signal,
    "/block": block_the_signal,
    "/stop": stop_itself,
    "/measure": measure_naps,
}


def application(environ, start_response):
    said = PLACES[environ["PATH_INFO"]]() or "done"
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [said.encode()]
