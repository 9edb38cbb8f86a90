"""Answers as the query tells it, also as no application should.

The query is JSON: {"do": [step, ...], "return": value}. A value that is a list is made by the function of its first
entry (MAKERS); a step is a list whose first entry names a method of Turn. What became of the steps that were tried
comes with the query `"diary"`. tests/support/odd_plans.py makes such queries.
"""

from __future__ import annotations

import gc
import json
import re
import sys
from io import BytesIO
from time import monotonic
from urllib.parse import unquote

import fpm


class Text(str):
    """A str, and more."""


class Data(bytes):
    """A bytes, and more."""


class Pair(tuple):
    """A tuple, and more."""


class Fields(list):
    """A list, and more."""


class Caller(str):
    """A name that calls something when it is looked at."""

    def lower(self):
        self.call()
        return super().lower()


class Closing:
    """An iterable with a close()."""

    def __init__(self, inner, close):
        self.inner = inner
        self.close = close

    def __iter__(self):
        return iter(self.inner)


class Counted(Closing):
    """One with a length as well."""

    def __len__(self):
        return len(self.inner)


def pattern(size):
    return (b"0123456789abcdef" * (size // 16 + 1))[:size]


MAKERS = {
    "times": lambda text, count: text * count,
    "text": Text,
    "latin": lambda text: text.encode("latin-1"),
    "bytes": pattern,
    "data": lambda size: Data(pattern(size)),
    "bytearray": lambda size: bytearray(pattern(size)),
    "view": lambda size: memoryview(pattern(size)),
    "list": lambda *items: list(items),
    "fields": lambda *items: Fields(items),
    "tuple": lambda *items: items,
    "pair": lambda *items: Pair(items),
    "iterator": lambda *items: iter(items),
    "file": lambda size: BytesIO(pattern(size)),
}


def take_census():
    """Count what this process holds: objects, references to all that can be reached, allocations, bytes."""
    gc.collect()
    objects = gc.get_objects()
    seen = {id(one): one for one in objects}
    for one in objects:
        seen.update((id(other), other) for other in gc.get_referents(one))
    references = sum(map(sys.getrefcount, seen.values()))
    count = len(objects)
    del objects, seen, one
    # Not what is mapped from files: the kernel takes such pages away and gives them back as it likes.
    with open("/proc/self/status") as file:
        resident = next(1024 * int(line.split()[1]) for line in file if line.startswith("RssAnon:"))
    return {"objects": count, "references": references, "blocks": sys.getallocatedblocks(), "resident": resident}


class Turn:
    """One call of the application."""

    def __init__(self, app, environ, start_response):
        self.app = app
        self.environ = environ
        self.start_response = start_response
        self.writer = None

    def make(self, value):
        if not isinstance(value, list):
            return value
        kind, *rest = value
        if kind == "generator":
            return self.generate(rest)
        if kind in ("closing", "counted"):
            return (Closing if kind == "closing" else Counted)(self.make(rest[0]), lambda: self.run(rest[1]))
        if kind == "caller":
            made = Caller(rest[0])
            made.call = lambda: self.run(rest[1])
            return made
        if kind == "wrapper":
            return self.environ["wsgi.file_wrapper"](*map(self.make, rest))
        return MAKERS[kind](*map(self.make, rest))

    def generate(self, items):
        for item in items:
            if isinstance(item, list) and item[0] == "step":
                self.run(item[1])
            else:
                yield self.make(item)

    def run(self, step):
        return getattr(self, "do_" + step[0])(*step[1:])

    def do_nothing(self):
        return "nothing"

    def do_try(self, step):
        try:
            result = self.run(step)
        except Exception as error:
            result = re.sub("0x[0-9a-f]+", "0x", f"{type(error).__name__}: {error}")
        self.app.diary.append(f"{step[0]}: {result}")

    def do_start(self, status, headers, how="plain"):
        status, headers = self.make(status), self.make(headers)
        if how == "keywords":
            self.writer = self.start_response(status=status, headers=headers)
        elif how == "none":
            self.writer = self.start_response(status, headers, None)
        elif how == "few":
            self.writer = self.start_response(status)
        elif how == "error":
            try:
                raise LookupError("what start_response() is told")
            except LookupError:
                self.writer = self.start_response(status, headers, sys.exc_info())
        elif how == "false":
            self.writer = self.start_response(status, headers, 0)
        else:
            self.writer = self.start_response(status, headers)

    def do_write(self, block, how="plain"):
        return self.writer(data=self.make(block)) if how == "keywords" else self.writer(self.make(block))

    def do_finish(self, *iterable):
        return fpm.finish_request(*map(self.make, iterable))

    def do_after(self, step):
        return fpm.after_response(self.run, step)

    def do_raise(self, kind):
        raise {"SystemExit": SystemExit, "ValueError": ValueError, "Timeout": fpm.RequestTimeout}[kind]("on purpose")

    def do_environ(self, method, *args):
        getattr(self.environ, method)(*args)

    def do_cycle(self):
        self.environ["start_response"] = self.start_response

    def do_busy(self, seconds):
        until = monotonic() + seconds
        while monotonic() < until:
            pass

    def do_keep(self):
        self.app.kept.append(Turn(self.app, self.environ, self.start_response))
        self.app.kept[-1].writer = self.writer

    def do_late(self, step):
        if self.app.kept:
            return self.app.kept.pop().run(step)
        return "nothing is kept"


class Odd:
    """The application, with what it keeps from request to request."""

    def __init__(self):
        self.kept = []
        self.diary = []

    def __call__(self, environ, start_response):
        plan = json.loads(unquote(environ["QUERY_STRING"]))
        if plan == "diary":
            body, self.diary = json.dumps(self.diary).encode(), []
            start_response("200 OK", [("Content-Type", "application/json")])
            return [body]
        if plan == "census":
            start_response("200 OK", [("Content-Type", "application/json")])
            return [json.dumps(take_census()).encode()]
        turn = Turn(self, environ, start_response)
        for step in plan["do"]:
            turn.run(step)
        return turn.make(plan["return"])


application = Odd()
