"""A process whose stacks are read from outside; it runs under any CPython from 3.11 on, with the project on its path.

It prints its layout, then for each scenario what its stack is: each line is JSON. SIGUSR1 leaves a scenario for the
next. Everything that blocks does so in the line in which the truth is told, so that the line is right.
"""

from __future__ import annotations

import ctypes
import functools
import json
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, NoReturn

from fpm.template.calibrator import run_child

PATIENCE = 120
"""Seconds after which a forgotten subject ends by SIGALRM."""


class LeaveScenario(BaseException):
    """Raised by SIGUSR1."""


def frames_of(frame: FrameType | None) -> list[list[Any]]:
    found = []
    while frame is not None:
        code = frame.f_code
        found.append([code.co_qualname, code.co_filename, frame.f_lineno or code.co_firstlineno])
        frame = frame.f_back
    return found


def tell(**more: Any) -> None:
    """The stack of whoever calls this, as JSON."""
    print(json.dumps({"frames": frames_of(sys._getframe(1)), **more}), flush=True)


def pause() -> None:
    """Until SIGUSR1."""
    select.poll().poll()


def sleep_in_nested_calls() -> None:
    def inner(seconds: float) -> None:
        tell(), select.select([], [], [], seconds)

    def middle() -> None:
        inner(1000.0)

    middle()


def busy_loop() -> None:
    def spin() -> None:
        count = 0
        while True:
            count += 1

    tell(skip=1), spin()


def blocked_recv() -> None:
    left, right = socket.socketpair()
    with left, right:
        tell(), left.recv(100)


def waiting_for_a_lock() -> None:
    lock = threading.Lock()
    lock.acquire()
    tell(), lock.acquire()


def deep_recursion() -> None:
    def descend(depth: int) -> None:
        if depth:
            descend(depth - 1)
        else:
            tell(), pause()

    descend(260)


def very_deep_recursion() -> None:
    def descend(depth: int) -> None:
        if depth:
            descend(depth - 1)
        else:
            tell(), pause()

    sys.setrecursionlimit(20000)
    descend(6000)


def generators() -> None:
    def inner() -> Iterator[int]:
        yield 1
        tell(), pause()

    def middle(depth: int) -> Iterator[int]:
        if depth:
            yield from middle(depth - 1)
        else:
            yield from inner()

    for _ in (item for item in middle(50)):
        pass


def coroutines() -> None:
    async def wait(depth: int) -> None:
        if depth:
            await wait(depth - 1)
        else:
            tell(), pause()

    wait(20).send(None)


def comprehension_and_lambda() -> None:
    def stop(_: int) -> int:
        tell(), pause()
        return 0

    def key(value: int) -> int:
        return [stop(value + item) for item in range(3)][-1]

    sorted([3, 1, 2], key=lambda value: key(value))


def set_and_dict_comprehensions() -> None:
    def stop() -> int:
        tell(), pause()
        return 0

    {one: {stop() for _ in range(2)} for one in range(2)}


class Base:
    def __init__(self) -> None:
        self.value = functools.reduce(self.add, [1, 2, 3])

    def add(self, one: int, two: int) -> int:
        return self.of_class(one + two)

    @classmethod
    def of_class(cls, value: int) -> int:
        return cls.alone(value)

    @staticmethod
    def alone(value: int) -> int:
        return Base.prop.fget(value)

    @property
    def prop(self) -> int:
        tell(), pause()
        return 1


def class_methods() -> None:
    class Derived(Base):
        def __init__(self) -> None:
            super().__init__()

    for _ in range(20):  # often enough for 3.13 to specialize the call
        Quick(1)
    Derived()


class Quick:
    def __init__(self, value: int) -> None:
        self.value = value
        if value > 1:
            tell(), pause()


def specialized_init() -> None:
    for value in [1] * 40 + [2]:
        Quick(value)


def class_body() -> None:
    class Body:
        tell(), pause()


def exec_code() -> None:
    source = "def inside():\n\n    tell(), pause()\n\ninside()\n"
    exec(compile(source, "<a made-up file>", "exec"), {"tell": tell, "pause": pause})


def long_names() -> None:
    def renamed(name: str, file: str, call: Callable[[], None]) -> Callable[[], None]:
        def function() -> None:
            tell() if call is pause else None, call()

        code = function.__code__.replace(co_name=name, co_qualname=name, co_filename=file)
        return type(function)(code, globals(), name, None, function.__closure__)

    names = ["n" * 65536, "new\nline\r\x1b[31m\0", "\xe9t\xe9", "\u20ac" * 3000, "\U0001f600 laugh", "half \udcff"]
    call: Callable[[], None] = pause
    for name in names:
        call = renamed(name, f"/srv/{name[:20]}.py", call)
    call()


def with_and_try() -> None:
    lock = threading.Lock()
    try:
        with lock:
            for _ in range(1):
                try:
                    raise ValueError
                except ValueError:
                    tell(), pause()
    finally:
        lock = None


def multi_line_call() -> None:
    def combine(*values: object) -> None:
        return None

    combine(
        1,
        "two",
        (tell(), pause()),
        4,
    )


def callback_of_c() -> None:
    class Comparing:
        def __lt__(self, other: object) -> bool:
            tell(), pause()
            return True

    max(Comparing(), Comparing())


def c_that_holds_the_gil() -> None:
    library = ctypes.PyDLL(None)  # keeps the lock during a call
    tell(), library.usleep(1_000_000_000)


def many_threads() -> None:
    locks = [threading.Lock() for _ in range(60)]
    ready = threading.Semaphore(0)

    def wait(number: int, depth: int) -> None:
        if depth:
            wait(number, depth - 1)
        else:
            ready.release(), locks[number].acquire()

    for lock in locks:
        lock.acquire()
    threads = [threading.Thread(target=wait, args=(number, number)) for number in range(len(locks))]
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})  # it is for the main thread
    for thread in threads:
        thread.start()
    for _ in threads:
        ready.acquire()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})
    try:
        others = {thread.native_id: frames_of(sys._current_frames()[thread.ident]) for thread in threads}
        tell(threads=others), pause()
    finally:
        for lock in locks:
            lock.release()
        for thread in threads:
            thread.join()


def local_variables(first: object = None, *more: object, option: bool = True) -> None:
    number, negative, huge, small = 7, -(2**61), 10**100, 0
    fraction, text, long_text, emoji = 2.5, "plain", "x" * 100, "\U0001f600"
    password, api_token, SECRET_thing = "hunter2", "t0ken", 42
    nothing, items, me = None, [1, 2], Quick(0)
    shared = "in a cell"
    gone = 1
    del gone
    take = [lambda: shared]
    take.clear()
    tell(values=True), pause()
    # Never reached: what stands here counts as used.
    print(
        negative, huge, small, fraction, text, long_text, emoji, password, api_token, SECRET_thing, nothing, items, me
    )
    unset = number
    print(unset)


SCENARIOS: list[Callable[[], None]] = [
    sleep_in_nested_calls,
    busy_loop,
    blocked_recv,
    waiting_for_a_lock,
    deep_recursion,
    very_deep_recursion,
    generators,
    coroutines,
    comprehension_and_lambda,
    set_and_dict_comprehensions,
    class_methods,
    specialized_init,
    class_body,
    exec_code,
    long_names,
    with_and_try,
    multi_line_call,
    callback_of_c,
    c_that_holds_the_gil,
    many_threads,
    local_variables,
]


def calibrate_here() -> None:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        run_child(writing)
    os.close(writing)
    answer = b""
    while part := os.read(reading, 65536):
        answer += part
    os.waitpid(pid, 0)
    print(answer.decode() or '{"error": "the child has said nothing"}', flush=True)


def leave(number: int, frame: object) -> NoReturn:
    raise LeaveScenario


def main() -> None:
    signal.alarm(PATIENCE)
    calibrate_here()
    signal.signal(signal.SIGUSR1, leave)
    wanted = sys.argv[1:]
    for scenario in SCENARIOS:
        if not wanted or scenario.__name__ in wanted:
            try:
                scenario()
            except LeaveScenario:
                continue


if __name__ == "__main__":
    main()
