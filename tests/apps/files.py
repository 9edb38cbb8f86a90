"""Gives files to wsgi.file_wrapper: which, in what way and with which headers is said by the query, as JSON."""

# ruff: noqa: SIM115  the server closes what it is given

import contextlib
import gzip
import io
import json
import os
import tempfile
from urllib.parse import unquote

import fpm

closed = []


class Progress(io.FileIO):
    """Somebody's own kind of file."""

    def read(self, size=-1):
        return super().read(size).upper()


class Upper(io.RawIOBase):
    """A stream that makes something else of the file whose descriptor it has."""

    def __init__(self, path):
        self.file = open(path, "rb", buffering=0)

    def readable(self):
        return True

    def fileno(self):
        return self.file.fileno()

    def readinto(self, buffer):
        data = self.file.read(len(buffer)).upper()
        buffer[: len(data)] = data
        return len(data)


def replaced(path):
    """A file whose read() somebody has replaced."""
    file = open(path, "rb")
    read = file.read
    file.read = lambda size: read(size).upper()
    return file


def temporary(path, kind=tempfile.TemporaryFile, used=False):
    """A temporary file with what is in the other one, not all of it flushed."""
    file = kind()
    with open(path, "rb") as source:
        file.write(source.read())
    file.seek(0)
    if used:
        file.read(3)
        file.seek(0)
    return file


def pipe(path):
    read, write = os.pipe()
    with open(path, "rb") as source:
        os.write(write, source.read(60000))
    os.close(write)
    return os.fdopen(read, "rb")


def grown(path):
    """It is not all there yet when it is sent."""
    file = open(path, "r+b")
    file.seek(0, 2)
    file.write(b"and more")
    file.seek(0)
    return file


KINDS = {
    "buffered": lambda path: open(path, "rb"),
    "raw": lambda path: open(path, "rb", buffering=0),
    "random": grown,
    "text": lambda path: open(path, encoding="latin-1"),
    "gzip": lambda path: gzip.open(path, "rb"),
    "memory": lambda path: io.BytesIO(open(path, "rb").read()),
    "pipe": pipe,
    "own": Progress,
    "replaced": replaced,
    "around": lambda path: io.BufferedReader(Upper(path)),
    "temporary": temporary,
    "named": lambda path: temporary(path, tempfile.NamedTemporaryFile),
    "named and used": lambda path: temporary(path, tempfile.NamedTemporaryFile, used=True),
    "spooled": lambda path: temporary(path, lambda: tempfile.SpooledTemporaryFile(1000)),
}


def application(environ, start_response):
    if environ["PATH_INFO"] == "/closed":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"%d" % len(closed)]
    if environ["PATH_INFO"] == "/body":
        size = sum(len(block) for block in iter(lambda: environ["wsgi.input"].read(65536), b""))
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"%d" % size]
    asked = json.loads(unquote(environ["QUERY_STRING"]))
    file = KINDS[asked.get("kind", "buffered")](asked["path"])
    if "skip" in asked:
        file.seek(asked["skip"])
    if "read" in asked:
        file.read(asked["read"])
    headers = [("Content-Type", "text/plain")]
    if "length" in asked:
        headers.append(("Content-Length", str(asked["length"])))
    write = start_response(asked.get("status", "200 OK"), headers)
    if "write" in asked:
        write(asked["write"].encode())
    if "shrink" in asked:
        os.truncate(asked["path"], asked["shrink"])
    if "hold" in asked:
        return Held(environ["wsgi.file_wrapper"](file))
    with contextlib.suppress(AttributeError):
        close = file.close
        file.close = fail if asked.get("fail") else lambda: (closed.append(1), close())
    if "finish" in asked:
        fpm.finish_request(environ["wsgi.file_wrapper"](file))
        return []
    if "after" in asked:
        fpm.after_response(closed.append, 1)
    return environ["wsgi.file_wrapper"](file, *asked.get("block", []))


def fail():
    raise RuntimeError("close() has failed")


class Held:
    """Blocks of a file that a middleware hands on."""

    def __init__(self, blocks):
        self.blocks, self.close = blocks, blocks.close

    def __iter__(self):
        return iter(self.blocks)
