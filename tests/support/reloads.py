"""What the tests of reloads ask: applications of a version, clients that keep their connections, who is ready."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support import raw_fastcgi
from tests.support.fpm import Daemon
from tests.support.pools import numbers, write_app
from tests.support.raw_fastcgi import KEEP_CONN, Wire, request_bytes, web_params

VERSION = """
import os
import time

VERSION = {version!r}
{more}

def application(environ, start_response):
    while environ["QUERY_STRING"] == "hold" and os.path.exists("hold"):
        time.sleep(0.01)
    time.sleep(float(environ["QUERY_STRING"].removeprefix("hold") or "0"))
    body = f"{{VERSION}} {{os.getpid()}}".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
"""
"""Answers with its version and pid, after as many seconds as the query says; `?hold`: see tests.support.held."""
JOIN_TIME = 90.0
PACE = 0.01
"""Between two requests of a client: faster ones leave nothing of the processors to the reload."""
LOOK = 0.005


def write_version(fpm: Daemon, version: object, more: str = "", *, name: str = "deployed") -> None:
    """Deploy the application `deployed:application` as this version; `more` is executed at its import."""
    write_app(fpm, name, VERSION.format(version=str(version), more=more))


def version_of(fpm: Daemon, pool: str) -> str:
    """The version that answers."""
    reply = fpm.get(pool)
    assert reply.status == 200, reply
    return reply.body.split()[0].decode()


def reload(fpm: Daemon, *pools: str, changed: bool = False) -> None:
    """A reload that must succeed, asked for on the control socket: the command takes longer to start than it does.

    Args:
        pools: none: all.
        changed: only those that differ.
    """
    answer = fpm.ask("reload", pools=list(pools), changed=changed, timeout=0.0, dry_run=False)
    assert answer["ok"], f"{answer}\nthe log:\n{fpm.log()}"


def upgrade(fpm: Daemon) -> None:
    """An upgrade that must succeed, asked for in the same way."""
    answer = fpm.ask("upgrade")
    assert answer["ok"], f"{answer}\nthe log:\n{fpm.log()}"


def reload_by_command(fpm: Daemon, *arguments: str) -> str:
    """`pyfpm reload`, which must succeed; what it said: the plan, then the steps."""
    done = fpm.cli("reload", "--verbose", *arguments, timeout=60.0)
    assert done.returncode == 0, f"{done.stderr}\nthe log:\n{fpm.log()}"
    return done.stdout + done.stderr


def refused(fpm: Daemon, *pools: str, changed: bool = False, status: int = 1, timeout: float = 0.0) -> str:
    """A reload that must fail with this exit status; what a command prints of it, see `reload`."""
    answer = fpm.ask("reload", pools=list(pools), changed=changed, timeout=timeout, dry_run=False)
    assert (answer["ok"], answer.get("status", 1)) == (False, status), f"{answer}\nthe log:\n{fpm.log()}"
    said = "\n".join([*answer["complaints"], answer.get("traceback") or ""])
    expect_told(fpm, said)
    return said


def refused_by_command(fpm: Daemon, *arguments: str, status: int = 1, config: Path | None = None) -> str:
    """`pyfpm reload`, which must fail with this exit status; what it said on standard error.

    Args:
        config: another file in which the control socket is found.
    """
    done = fpm.cli(*(() if config is None else ("-c", str(config))), "reload", *arguments)
    assert done.returncode == status, f"{done.returncode}: {done.stdout}{done.stderr}\nthe log:\n{fpm.log()}"
    expect_told(fpm, done.stderr)
    return done.stderr


def planned(fpm: Daemon, *pools: str, changed: bool = False) -> list[str]:
    """What `pyfpm reload --dry-run` prints, by lines."""
    answer = fpm.ask("reload", pools=list(pools), changed=changed, timeout=0.0, dry_run=True)
    assert answer["ok"], f"{answer}\nthe log:\n{fpm.log()}"
    plan: list[str] = answer["plan"]
    return plan


def expect_told(fpm: Daemon, said: str) -> None:
    """Allow in the log, as errors, the lines that a command has printed on standard error."""
    for line in said.splitlines():
        text = re.escape(line.removeprefix("pyfpm: ").strip())
        fpm.expect_log(rf"ERROR: (\w+ failed, nothing has changed: )? *{text}$")


def expect_broken(fpm: Daemon, pool: str, error: str) -> None:
    """Allow the lines about a reload that nobody waits for: the pool's error (a pattern), and its traceback."""
    fpm.expect_log(
        rf"ERROR: reload failed, nothing has changed: pool {pool}: {error}",
        r"ERROR:   Traceback \(most recent call last\):$",
        r"ERROR:     File \"",
        r"ERROR:     ",
        rf"ERROR:   {error}",
    )


def last_reload(fpm: Daemon) -> dict[str, Any] | None:
    """What the status says about the last reload."""
    found: dict[str, Any] | None = fpm.ask("status")["last_reload"]
    return found


class Load:
    """Clients that ask until told to stop. Attributes: good (bodies), bad (what else they got), stopped."""

    def __init__(self) -> None:
        self.good: list[bytes] = []
        self.bad: list[object] = []
        self.stopped = threading.Event()

    def versions(self) -> set[str]:
        """All versions that have answered."""
        return {body.split()[0].decode() for body in self.good}


@contextmanager
def load(*loops: Callable[[Load], None]) -> Iterator[Load]:
    """Run each loop in a thread while the block runs; a loop ends when `stopped` is set."""
    found = Load()
    threads = [threading.Thread(target=loop, args=(found,), daemon=True) for loop in loops]
    for thread in threads:
        thread.start()
    try:
        yield found
    finally:
        found.stopped.set()
        for thread in threads:
            thread.join(JOIN_TIME)
    assert not any(thread.is_alive() for thread in threads), "a client hangs"


def single(fpm: Daemon, pool: str, query: str = "") -> Callable[[Load], None]:
    """One connection for each request."""

    def loop(found: Load) -> None:
        while not found.stopped.wait(PACE):
            try:
                reply = raw_fastcgi.get(fpm.address(pool), query=query, timeout=60.0)
            except OSError as error:
                found.bad.append(error)
                continue
            _sort(found, reply)

    return loop


def kept(fpm: Daemon, pool: str, query: str = "") -> Callable[[Load], None]:
    """One connection for as long as the worker keeps it; as a web server does, a kept one that is closed before the
    first byte of an answer is followed by another try on a new one."""
    request = request_bytes(web_params(query=query), flags=KEEP_CONN)

    def ask_on(wire: Wire, found: Load, *, used: bool) -> bool:
        try:
            wire.send(request)
            reply = wire.read_reply()
        except (BrokenPipeError, ConnectionResetError) as error:
            if not used:
                found.bad.append(error)
            return False
        except OSError as error:
            found.bad.append(error)
            return False
        if used and not reply.stdout and not reply.ended:
            return False
        _sort(found, reply)
        return reply.ended

    def loop(found: Load) -> None:
        while not found.stopped.is_set():
            try:
                wire = Wire(fpm.address(pool), timeout=60.0)
            except OSError as error:
                found.bad.append(error)
                continue
            with wire:
                used = False
                while not found.stopped.wait(PACE) and ask_on(wire, found, used=used):
                    used = True

    return loop


def _sort(found: Load, reply: raw_fastcgi.Reply) -> None:
    if reply.ended and reply.stdout and reply.status == 200:
        found.good.append(reply.body)
    else:
        found.bad.append(reply)


@contextmanager
def fewest_ready(fpm: Daemon, pool: str) -> Iterator[list[int]]:
    """Look again and again how many workers are ready while the block runs; the list gets each look's number."""
    looks: list[int] = []
    stopped = threading.Event()

    def look() -> None:
        while not stopped.wait(LOOK):
            page = numbers(fpm, pool)
            looks.append(sum(1 for one in page["processes"] if one["state"] != "Creating"))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield looks
    finally:
        stopped.set()
        thread.join(JOIN_TIME)
    assert looks, "nobody has looked"


def hesitant(fpm: Daemon, pool: str, query: str = "") -> Callable[[Load], None]:
    """One connection for each request; it is sent in three parts, with a little time before each."""
    request = request_bytes(web_params(query=query))
    parts = [request[:5], request[5:100], request[100:]]

    def loop(found: Load) -> None:
        while not found.stopped.wait(PACE):
            try:
                with Wire(fpm.address(pool), timeout=60.0) as wire:
                    for part in parts:
                        found.stopped.wait(0.02)
                        wire.send(part)
                    reply = wire.read_reply()
            except OSError as error:
                found.bad.append(error)
                continue
            _sort(found, reply)

    return loop
