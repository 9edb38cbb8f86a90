"""Deploys under traffic, beside Gunicorn and uWSGI: of a syntax error, and of good code.

Every contestant has the same application in a directory of its own, answers through nginx on a Unix socket, and is told
to reload as its manual says: `pyfpm reload`, SIGHUP for the others. One after another, so that none disturbs the next.
"""

from __future__ import annotations

import math
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import measure
from bench.client import Answer, Client, failures, outage, percentile
from bench.peers import start_gunicorn, start_gunicorn_preload, start_pyfpm, start_uwsgi
from bench.scenario import goal, scratch
from bench.servers import Server, Setting
from bench.tools import Missing
from bench.web import Site, Web

APPLICATION = '''"""Version {version}."""
import asyncio, decimal, email.message, http.server, sqlite3, unittest, xml.dom.minidom  # as much as a small framework

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"{version}"]
'''
BROKEN_AT, MENDED_AT, END = 2.0, 7.0, 12.0
"""Seconds of the deploy of a syntax error."""
RATE = 50
"""Requests a second of each client."""
CLIENTS = 4
CALM = 1.5
"""Seconds of load before each good reload: near to it, since the machine may have other things to do as well."""
LAST_ANSWERS = 0.5
"""Seconds of load after each of them, until the last answers of the former code are in."""

RELOADS = 6

GUNICORN = "Gunicorn sync"
CONTESTANTS: dict[str, Callable[[Setting], Server]] = {
    "pyfpm": start_pyfpm,
    GUNICORN: start_gunicorn,
    f"{GUNICORN} --preload": start_gunicorn_preload,
    "uWSGI": lambda setting: start_uwsgi(setting, need_app=False),
    "uWSGI --need-app": start_uwsgi,
}


@dataclass(frozen=True)
class Deployment:
    """A server with its code, and the web server before it."""

    server: Server
    web: Web
    code: Path

    def deploy(self, text: str) -> subprocess.Popen[bytes] | None:
        """Put the code in its place at once, and reload."""
        write(self.code, text)
        return self.server.begin_reload()


def write(code: Path, text: str) -> None:
    """The application, whole or not at all."""
    draft = code / "draft"
    draft.write_text(text)
    os.replace(draft, code / "hello.py")


def version(number: int) -> str:
    """The text of a version. Each has another size: a .pyc knows its source by seconds and size only."""
    return APPLICATION.format(version=number) + "\n" * number


@contextmanager
def deployed(start: Callable[[Setting], Server]) -> Iterator[Deployment | None]:
    """Version 1 runs; None if the server is not installed."""
    with scratch() as directory, ExitStack() as stack:
        code = directory / "code"
        code.mkdir()
        write(code, version(1))
        try:
            server = start(Setting(directory, CLIENTS, code))
        except Missing:
            yield None
            return
        stack.callback(server.stop)
        web = Web(directory, [Site(server)])
        stack.callback(web.stop)
        yield Deployment(server, web, code)


# ---------------------------------------------------------------- a syntax error


def broken_deploy() -> bool:
    """One client; broken code at 2 s, mended at 7 s of 12."""
    print(f"\nDeploy of a syntax error at {BROKEN_AT:g} s, mended with another reload at {MENDED_AT:g} s of {END:g};")
    print(f"one client, {RATE} requests/s, {CLIENTS} workers\n")
    print(f"  {'':23} {'failed':>11} {'recovered':>12} {'longest':>9} {'master':>8} {'new code':>10}")
    print(f"  {'':23} {'':11} {'after':>12} {'answer':>9} {'':8} {'after':>10}")
    good = False
    for name, start in CONTESTANTS.items():
        with deployed(start) as deployment:
            if deployment is None:
                print(f"  {name:23} not installed")
                continue
            answers, statuses = _break_and_mend(deployment)
            ended = deployment.server.has_ended
        print(f"  {name:23} {broken_row(answers, ended)}")
        if name == "pyfpm":
            good = failures(answers) == 0 and outage(answers) == 0 and not ended and statuses == [1, 0]
            shown = " and ".join(str(status) for status in statuses)
    print(f"\n  pyfpm reload: exit status {shown}")
    return goal("pyfpm: 0 failed, 0 s, and its command says so (1, then 0)", good)


def _break_and_mend(deployment: Deployment) -> tuple[list[Answer], list[int]]:
    """Every answer, `sent` counted from the deploy of the mended code, and the exit statuses of the reload commands."""
    client = Client(deployment.web.port, "/")
    begin = time.monotonic()
    steps = [(BROKEN_AT, "this is not Python\n"), (MENDED_AT, version(2))]
    commands: list[subprocess.Popen[bytes] | None] = []

    def between() -> bool:
        if steps and time.monotonic() - begin >= steps[0][0]:
            commands.append(deployment.deploy(steps.pop(0)[1]))
        return True

    client.visit(RATE, END, between)
    statuses = [command.wait(30) for command in commands if command is not None]
    mended = begin + MENDED_AT
    return [Answer(answer.sent - mended, answer.took, answer.text) for answer in client.answers], statuses


def broken_row(answers: list[Answer], ended: bool) -> str:
    """Failed requests, time without a site, longest answer, the master, and when the mended code answered."""
    failed = f"{failures(answers)} of {len(answers)}"
    longest = max(answer.took for answer in answers)
    new = min((answer.came for answer in answers if answer.text == "2"), default=math.inf)
    return (
        f"{failed:>11} {_seconds(outage(answers)):>12} {longest * 1000:6.0f} ms"
        f" {'ended' if ended else 'lives':>8} {_seconds(new):>10}"
    )


def _seconds(value: float) -> str:
    return "never" if math.isinf(value) else f"{value:.2f} s"


# ---------------------------------------------------------------- good code under load


def good_reloads() -> bool:
    """Several clients, several reloads: failed requests, and the 99th percentile during a reload beside that before."""
    print(f"\n{RELOADS} reloads of good code; {CLIENTS} clients with {RATE} requests/s each, {CLIENTS} workers\n")
    print(f"  {'':23} {'failed':>11} {'p99 before':>12} {'during':>9} {'ratio':>7} {'longest':>9} {'a reload':>10}")
    good = False
    for name in ("pyfpm", GUNICORN, "uWSGI"):
        with deployed(CONTESTANTS[name]) as deployment:
            if deployment is None:
                print(f"  {name:23} not installed")
                continue
            answers, spans = _reload_under_load(deployment, RELOADS)
        print(f"  {name:23} {good_row(answers, spans)}")
        if name == "pyfpm":
            good = failures(answers) == 0
    print()
    return goal("pyfpm: 0 failed", good)


Span = tuple[float, float]


def _reload_under_load(deployment: Deployment, reloads: int) -> tuple[list[Answer], list[Span]]:
    """Every answer in the order of sending, and from when to when each reload lasted."""
    clients = [Client(deployment.web.port, "/") for _ in range(CLIENTS)]
    over = threading.Event()
    limit = reloads * (CALM + 30.0)
    visit = (RATE, limit, lambda: not over.is_set())
    threads = [threading.Thread(target=client.visit, args=visit, daemon=True) for client in clients]
    for number, thread in enumerate(threads):
        thread.start()
        time.sleep(1 / RATE / CLIENTS * (number + 1 < CLIENTS))
    spans = []
    try:
        for number in range(2, reloads + 2):
            time.sleep(CALM)
            spans.append(_one_reload(deployment, clients, number))
    finally:
        over.set()
        for thread in threads:
            thread.join(30)
    return sorted((answer for client in clients for answer in client.answers), key=lambda answer: answer.sent), spans


def _one_reload(deployment: Deployment, clients: list[Client], number: int) -> Span:
    """It lasts until the new code answers, nothing else does, and its command has ended, if it has one."""
    begin = end = time.monotonic()
    command = deployment.deploy(version(number))
    if command is not None:
        if command.wait(30) != 0:
            raise RuntimeError(f"a reload of good code ended with status {command.returncode}")
        end = time.monotonic()
    text = str(number)
    measure.wait_for(
        lambda: any(client.answers[-1].text == text for client in clients), f"{deployment.server.name}: new code"
    )
    time.sleep(LAST_ANSWERS)
    answers = [answer for client in clients for answer in client.answers]
    first = min(answer.came for answer in answers if answer.text == text)
    last = max((answer.came for answer in answers if answer.text not in (text, None)), default=begin)
    return begin, max(end, first, last)


def good_row(answers: list[Answer], spans: list[Span]) -> str:
    """Failed requests, p99 between the reloads and during them, the ratio, the longest answer, a reload's length."""
    inside, outside = apart(answers, spans)
    before = percentile(outside, 0.99)
    during = percentile(inside, 0.99)
    length = sum(end - begin for begin, end in spans) / len(spans)
    longest = max(answer.took for answer in inside)
    return (
        f"{f'{failures(answers)} of {len(answers)}':>11} {before * 1000:9.1f} ms {during * 1000:6.1f} ms"
        f" {during / before:5.1f} x {longest * 1000:6.0f} ms {length:8.2f} s"
    )


def apart(answers: list[Answer], spans: list[Span]) -> tuple[list[Answer], list[Answer]]:
    """The requests that were under way during a reload, and the others."""
    inside: list[Answer] = []
    outside: list[Answer] = []
    for answer in answers:
        met = any(begin <= answer.came and answer.sent <= end for begin, end in spans)
        (inside if met else outside).append(answer)
    return inside, outside
