"""What an application says reaches a terminal only as text, whatever command shows it."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Sequence

from fpm.cli.progress import ERASE
from tests.support.fpm import Daemon, Start, pyfpm_command
from tests.support.pools import wait_state, write_app
from tests.support.terminal import ESCAPES, Terminal
from tests.support.waiting import wait_until

FORGED = "[29-Nov-2026 00:00:00] ALERT: forged"
HOSTILE = f"\x1b]0;owned\x07\x1b[2J\x9b31m\u202egnp.exe\udcff\n{FORGED}\npyfpm: forged\rpyfpm: forged"
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffd]")
APPS = f"""
TEXT = {HOSTILE!r}
CODE = "def f():\\n  open(path).read()\\nf()"
def application(environ, start_response):
    if environ["PATH_INFO"] == "/hold":
        exec(compile(CODE, "file\\x1b[2J\\u202e", "exec"), {{"path": environ["QUERY_STRING"]}})
    start_response("200 OK", [("X-Text", "\\x9b31m\\xe2\\x80\\xae")])
    return [TEXT.encode("utf-8", "surrogatepass"), b"\\xff\\x9b\\x1b[2J"]
"""


def shown(fpm: Daemon, *arguments: str, status: Sequence[int] = (0, 1)) -> str:
    """What a command prints on a terminal, without our own colours and the erasing of our own line about what it waits
    for, which comes after a second; checked for all that could drive it."""
    terminal = Terminal([pyfpm_command(), "-c", str(fpm.config_file), *arguments], columns=200)
    try:
        assert terminal.wait() in status, terminal.received
        received = terminal.received.replace(ERASE, b"\r\n").decode("utf-8", "surrogateescape")
        text = ESCAPES.sub("", received).replace("\r\n", "\n")
    finally:
        terminal.close()
    assert not CONTROL.findall(text), (arguments, text)
    for line in text.split("\n") if arguments[0] != "request" else ():  # a body is what it is
        assert not line.startswith((FORGED, "pyfpm: forged")), (arguments, text)
    return text


def test_text_of_applications_cannot_drive_a_terminal(daemon: Start) -> None:
    fpm = daemon({"bad": {"app": "broken:application"}, "good": {"app": "hostile:application"}}, started=False)
    fpm.expect_log("ERROR: ")
    write_app(fpm, "broken", f"class Hostile(Exception): pass\nraise Hostile({HOSTILE!r})\n")
    write_app(fpm, "hostile", APPS)
    fpm.start()
    wait_state(fpm, "bad", "failed")
    for arguments in (["status"], ["status", "bad"], ["status", "--format", "text", "--full"]):
        assert "owned" in shown(fpm, *arguments)
    assert "owned" in shown(fpm, "reload", "bad", status=[1])
    assert "X-Text: \\x9b31m" in shown(fpm, "request", "good", "/")
    fifo = fpm.directory / "fifo"
    os.mkfifo(fifo, 0o644)
    client = threading.Thread(target=lambda: fpm.get("good", "/hold", query=str(fifo), timeout=60))
    client.start()
    try:
        wait_until(lambda: "2J" in shown(fpm, "trace", "good"))
        shown(fpm, "top", "--once", "--workers")
    finally:
        fifo.write_text("")
        client.join()
