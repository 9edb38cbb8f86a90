"""Ends its worker, or its request, or leaks, in the way the path says; else it answers with the worker's pid."""

import ctypes
import os
import sys
import tempfile
import time
import traceback
import urllib.request

KEPT = []


def application(environ, start_response):
    way = environ["PATH_INFO"].strip("/")
    if way in WAYS:
        WAYS[way](environ["QUERY_STRING"])
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]


def scale(number):
    ctypes.string_at(0)


def leave(number):
    os._exit(int(number))


def give_up(number):
    sys.exit(int(number))


def find(number):
    return {}[number]


def connect(number):
    urllib.request.urlopen(f"http://127.0.0.1:{number}/")


def log(number):
    """As a framework that answers for an exception: chained, and printed only."""
    try:
        try:
            find(number)
        except KeyError as error:
            raise LookupError(f"no {number}") from error
    except LookupError:
        traceback.print_exc()


def load(number):
    KEPT.append(bytearray(int(number) << 20))


def grow(number):
    """Keep so many MiB, all written to, and go on until the file `hold` is removed."""
    KEPT.append(b"x" * (int(number) << 20))
    while os.path.exists("hold"):
        time.sleep(0.01)


def export(number):
    """Open so many files, and close none."""
    for _ in range(int(number)):
        KEPT.append(tempfile.NamedTemporaryFile(prefix="export-"))  # noqa: SIM115


WAYS = {
    "crash": scale,
    "leave": leave,
    "exit": give_up,
    "find": find,
    "connect": connect,
    "log": log,
    "load": load,
    "grow": grow,
    "export": export,
}
