"""Gets stuck in the way that the path says, until the file `hold` has left its directory; the C loop never ends."""

import contextlib
import os
import re
import socket
import sqlite3
import threading
import time

import fpm

LOCK = threading.Lock()


def application(environ, start_response):
    said = WAYS[environ["PATH_INFO"]](environ)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(said).encode()]


def held():
    return os.path.exists("hold")


def nap():
    while held():
        time.sleep(0.05)


def match(environ):
    return re.match(r"(a+)+$", "a" * 64 + "b")  # the C loop


def hog(environ):
    threading.Thread(target=match, args=[environ]).start()
    while True:
        pass


def wait_for_lock(environ):
    threading.Thread(target=keep_lock).start()
    while not LOCK.locked():
        time.sleep(0.01)
    with LOCK:  # the lock
        return "unlocked"


def keep_lock():
    with LOCK:
        nap()


def query(environ):
    host, _, port = environ["QUERY_STRING"].rpartition(":")
    with contextlib.suppress(OSError), socket.create_connection((host, int(port))) as database:
        database.sendall(b"SELECT 1;")
        return database.recv(4096)  # the database


def write(environ):
    """The other one may not have the lock yet."""
    with contextlib.closing(sqlite3.connect("shop.sqlite3", timeout=60)) as database:
        while held():
            database.execute("CREATE TABLE IF NOT EXISTS orders (number)")  # the writer
            time.sleep(0.05)


def keep_database(environ):
    with contextlib.closing(sqlite3.connect("shop.sqlite3")) as database:
        database.execute("BEGIN EXCLUSIVE")
        nap()


def descend(environ, depth=400):
    if depth:
        return descend(environ, depth - 1)  # the recursion
    return nap()


def receive(environ):
    return len(environ["wsgi.input"].read())  # the upload


def later(environ):
    fpm.after_response(rebuild_index)


def rebuild_index():
    nap()  # the background work


WAYS = {
    "/match": match,
    "/hog": hog,
    "/lock": wait_for_lock,
    "/database": query,
    "/write": write,
    "/keep": keep_database,
    "/recursion": descend,
    "/upload": receive,
    "/background": later,
    "/idle": lambda environ: "idle",
}
