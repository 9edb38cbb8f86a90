"""Ends its worker in the way the path says; else it answers with the worker's pid."""

import ctypes
import os
import sys
import threading
import time

import fpm

KEPT = []


def application(environ, start_response):
    way = environ["PATH_INFO"].strip("/")
    number = environ["QUERY_STRING"]
    if way == "background":
        fpm.after_response(crash_later)
    elif way in WAYS:
        WAYS[way](number)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]


def segfault(number):
    ctypes.string_at(0)


def crash_later():
    segfault("")


def leave(number):
    print("the last words", file=sys.stderr, flush=True)
    os._exit(int(number))


def leave_in_thread(number):
    thread = threading.Thread(target=sys.exit, args=(5,))
    thread.start()
    thread.join()


def grow(number):
    """Keep so many MiB, all written to."""
    KEPT.append(b"x" * (int(number) << 20))


def take_all(number):
    """Grow without an end; bounded, should nobody stop it."""
    for _ in range(400):
        grow("1")


WAYS = {
    "segfault": segfault,
    "abort": lambda number: os.abort(),
    "exit": leave,
    "thread": leave_in_thread,
    "grow": grow,
    "all": take_all,
    "sleep": lambda number: time.sleep(float(number)),
}
