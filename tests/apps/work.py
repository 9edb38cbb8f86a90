"""Work after the response, in all the ways there are. Who works appends a line to the file named by WORK_MARKS."""

import contextvars
import multiprocessing
import os
import subprocess
import sys
import threading
import time

import fpm

PLAIN = [("Content-Type", "text/plain")]
visitor = contextvars.ContextVar("visitor", default="nobody")


def mark(text):
    with open(os.environ.get("WORK_MARKS", os.devnull), "a") as file:
        file.write(f"{text}\n")


def work(text="worked", seconds=0.0):
    """It does not begin while there is a file beside the marks that is named after it."""
    while os.path.exists(f"{os.environ.get('WORK_MARKS', os.devnull)}.{text}"):
        time.sleep(0.01)
    time.sleep(seconds)
    mark(text)


def application(environ, start_response):
    handler = HANDLERS[environ["PATH_INFO"].strip("/")]
    return handler(environ, start_response)


def query(environ, default="0"):
    return environ["QUERY_STRING"] or default


# --- finish_request ---------------------------------------------------------------------------------------------------


def after_write(environ, start_response):
    write = start_response("200 OK", list(PLAIN))
    write(b"written ")
    write(b"before")
    mark(f"{fpm.finish_request()} {fpm.finish_request()}")
    write(b"never seen")
    return [b"nor this"]


def before_return(environ, start_response):
    start_response("200 OK", list(PLAIN))
    response = Closing([b"all ", b"of it"])
    mark(f"{fpm.finish_request(response)}")
    time.sleep(float(query(environ)))
    mark("returns")
    return response


class Closing:
    """A response with a close(), which must be called once."""

    def __init__(self, blocks):
        self.blocks = iter(blocks)

    def __iter__(self):
        return self.blocks

    def close(self):
        mark("closed")


def in_generator(environ, start_response):
    start_response("200 OK", list(PLAIN))
    yield b"first "
    yield b"last"
    fpm.finish_request()
    time.sleep(float(query(environ)))
    mark("generator goes on")


def middleware(environ, start_response):
    result = before_nothing(environ, start_response)
    environ["fpm.finish_request"](result)
    mark("middleware goes on")
    return [b"its own"]


def before_nothing(environ, start_response):
    start_response("200 OK", list(PLAIN))
    return [b"inner"]


def in_close(environ, start_response):
    start_response("200 OK", list(PLAIN))

    class Result:
        def __iter__(self):
            return iter([b"before ", b"close"])

        def close(self):
            mark(f"in close {fpm.finish_request()}")

    return Result()


def deep(environ, start_response):
    start_response("200 OK", list(PLAIN))
    write = [b"deep"]

    def below(depth):
        if depth:
            return below(depth - 1)
        return fpm.finish_request(write)

    mark(below(50))
    return []


def in_thread(environ, start_response):
    start_response("200 OK", list(PLAIN))(b"threaded")
    thread = threading.Thread(target=lambda: mark(fpm.finish_request()))
    thread.start()
    thread.join()
    return []


def short(environ, start_response):
    start_response("200 OK", [*PLAIN, ("Content-Length", "100")])
    fpm.finish_request([b"only this"])
    mark("after short")
    return []


def exact(environ, start_response):
    start_response(f"{query(environ, '200')} OK", [*PLAIN, ("Content-Length", "5")])
    fpm.finish_request([b"exact"] if environ["REQUEST_METHOD"] != "HEAD" else [])
    time.sleep(0.3)
    mark("after exact")
    return []


def too_early(environ, start_response):
    try:
        fpm.finish_request()
    except RuntimeError as error:
        mark(f"{type(error).__name__}: {error}")
    start_response("200 OK", list(PLAIN))
    return [b"done"]


def unread(environ, start_response):
    start_response("200 OK", list(PLAIN))
    fpm.finish_request([b"not read"])
    try:
        environ["wsgi.input"].read()
    except OSError as error:
        mark(f"{type(error).__name__}: {error}")
    return []


# --- after_response ---------------------------------------------------------------------------------------------------


def after(environ, start_response):
    """Three functions, of which the second adds a fourth; in the request's context."""
    visitor.set("alice")
    fpm.after_response(lambda: mark(f"one {visitor.get()}"))
    visitor.set("bob")
    fpm.after_response(two, "two", number=2)
    environ["fpm.after_response"](mark, "three")
    start_response("200 OK", list(PLAIN))
    return Closing([b"after"])


def two(text, number):
    mark(f"{text} {number} {visitor.get()} {fpm.finish_request()}")
    fpm.after_response(mark, "four")


def slow(environ, start_response):
    seconds, _, name = query(environ).partition("&")
    fpm.after_response(work, name or "slow", float(seconds))
    start_response("200 OK", list(PLAIN))
    return [b"soon"]


def queue(environ, start_response):
    """One that takes its time, and two behind it."""
    for name in ("first", "second", "third"):
        fpm.after_response(work, name, float(query(environ)))
    start_response("200 OK", list(PLAIN))
    return [b"queued"]


def failing(environ, start_response):
    fpm.after_response(fails)
    fpm.after_response(sys.exit, 3)
    fpm.after_response(interrupts)
    fpm.after_response(mark, "the last one")
    start_response("200 OK", list(PLAIN))
    return [b"failing"]


def fails():
    raise ValueError("in the background")


def interrupts():
    raise KeyboardInterrupt


def crash(environ, start_response):
    fpm.after_response(mark, "after the crash")
    raise RuntimeError("in the view")


def dies(environ, start_response):
    fpm.after_response(os._exit, 3)
    fpm.after_response(mark, "never")
    start_response("200 OK", list(PLAIN))
    return [b"dies"]


def wrong(environ, start_response):
    async def never_awaited():
        pass

    for function in (never_awaited, "text"):
        try:
            fpm.after_response(function)
        except TypeError as error:
            mark(error)
    start_response("200 OK", list(PLAIN))
    return [b"wrong"]


def streams(environ, start_response):
    def speak():
        print("printed afterwards")
        environ["wsgi.errors"].write("wsgi.errors afterwards\n")
        import logging

        logging.getLogger("shop").warning("logged afterwards")

    fpm.after_response(speak)
    start_response("200 OK", list(PLAIN))
    return [b"streams"]


# --- processes and threads --------------------------------------------------------------------------------------------


def forks(environ, start_response):
    """The child comes back as if it were the worker: by a return, by sys.exit(), by an exception, from a function."""
    start_response("200 OK", list(PLAIN))
    if query(environ) == "finished":
        fpm.finish_request([b"parent"])
    pid = os.fork()
    if pid == 0:
        try:
            fpm.finish_request()
        except fpm.NoRequestError as error:
            mark(f"child: {error}")
        if query(environ) == "exit":
            sys.exit(7)
        if query(environ) == "raise":
            raise LookupError("in the child")
        return [b"child"]
    _, status = os.waitpid(pid, 0)
    mark(f"child exited {os.waitstatus_to_exitcode(status)}")
    return [b"parent"]


def forks_in_generator(environ, start_response):
    write = start_response("200 OK", list(PLAIN))
    write(b"first ")
    pid = os.fork()
    if pid == 0:
        write(b"written by the child")
        yield b"from the child"
        mark("the child's end")
        return
    os.waitpid(pid, 0)
    yield b"second"


def forks_afterwards(environ, start_response):
    def fork():
        if os.fork() == 0:
            mark("forked afterwards")
            return
        os.wait()
        mark("and its parent")

    fpm.after_response(fork)
    start_response("200 OK", list(PLAIN))
    return [b"forking"]


def others(environ, start_response):
    def all_kinds():
        process = multiprocessing.get_context("fork").Process(target=mark, args=("multiprocessing",))
        process.start()
        process.join()
        mark(f"joined {process.exitcode}")
        mark(subprocess.run([sys.executable, "-c", "print('subprocess')"], capture_output=True).stdout.decode().strip())
        thread = threading.Thread(target=mark, args=("thread",))
        thread.start()
        thread.join()

    fpm.after_response(all_kinds)
    start_response("200 OK", list(PLAIN))
    return [b"others"]


def pid(environ, start_response):
    start_response("200 OK", list(PLAIN))
    return [str(os.getpid()).encode()]


HANDLERS = {
    name.replace("_", "-"): function
    for name, function in list(globals().items())
    if callable(function) and getattr(function, "__module__", "") == __name__
}
