"""A headless Chromium, driven over a pair of pipes (the DevTools protocol, one JSON object between NUL bytes)."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import signal
import time
from pathlib import Path
from typing import Any

from tests.support.directories import close_directory, open_directory
from tests.support.processes import Child, descendants, end_strays

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
]
PIPE_IN, PIPE_OUT = 3, 4
"""Descriptors at which the browser reads and writes."""
FREE_FROM = 10
PICTURES = os.environ.get("PYFPM_PICTURES")
"""A directory that keeps the pictures, for whoever wants to look at them."""


class Browser:
    """One browser with one page. `problems` and `requests` collect what the page says and asks for."""

    def __init__(self, program: str) -> None:
        self.directory = open_directory()
        self.requests: list[str] = []
        self.problems: list[str] = []
        self._buffer = b""
        self._count = 0
        self._session = ""
        self._events: list[dict[str, Any]] = []
        theirs_in, self._to = (_above(fd) for fd in os.pipe())
        self._from, theirs_out = (_above(fd) for fd in os.pipe())
        log = str(self.directory / "log")
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
            (os.POSIX_SPAWN_DUP2, theirs_in, PIPE_IN),
            (os.POSIX_SPAWN_DUP2, theirs_out, PIPE_OUT),
        ]
        command = [program, *FLAGS, f"--user-data-dir={self.directory / 'profile'}", "about:blank"]
        environ = {"PATH": os.environ["PATH"], "HOME": str(self.directory), "TZ": "UTC"}
        self._process = Child(os.posix_spawn(program, command, environ, file_actions=actions))
        os.close(theirs_in)
        os.close(theirs_out)
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self._call(f"{domain}.enable")

    def view(self, width: int, height: int, *, dark: bool = False, script: bool = True) -> None:
        """Be a screen of this size; a narrow one is a phone."""
        phone = width < 600
        self._call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._call("Emulation.setEmulatedMedia", features=[scheme])
        self._call("Emulation.setScriptExecutionDisabled", value=not script)

    def open(self, url: str) -> None:
        """Go to a page and wait until it is loaded; the one before is left first, for it may refresh itself."""
        self._load("about:blank")
        self._load(url)

    def _load(self, url: str) -> None:
        self.requests.clear()
        self.problems.clear()
        self._events.clear()
        found = self._call("Page.navigate", url=url)
        assert "errorText" not in found, found
        self.wait_event("Page.loadEventFired")

    def evaluate(self, expression: str) -> Any:
        """The value of an expression of JavaScript, awaited."""
        found = self._call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def screenshot(self) -> bytes:
        """What is seen, a PNG."""
        return base64.b64decode(self._call("Page.captureScreenshot", captureBeyondViewport=True)["data"])

    def keep(self, name: str) -> None:
        """Assert that a picture of the page is not empty, and keep it in PICTURES."""
        picture = self.screenshot()
        assert picture.startswith(b"\x89PNG")
        assert len(picture) > 10_000
        if PICTURES:
            (Path(PICTURES) / f"{name}.png").write_bytes(picture)

    def wait_event(self, method: str, timeout: float = 60.0) -> dict[str, Any]:
        """The next event of this kind."""
        deadline = time.monotonic() + timeout
        while not (found := [event for event in self._events if event["method"] == method]):
            self._events.append(self._read(deadline))
        self._events.remove(found[0])
        params: dict[str, Any] = found[0]["params"]
        return params

    def close(self) -> None:
        """End it and everything that it has started."""
        family = [process for process in descendants(self._process.pid) if process.pid != self._process.pid]
        os.close(self._to)
        if self._process.wait(5.0) is None:
            self._process.signal(signal.SIGKILL)
            self._process.wait(5.0)
        os.close(self._from)
        end_strays(family, timeout=2.0)
        close_directory(self.directory)

    def _call(self, method: str, **params: Any) -> dict[str, Any]:
        self._count += 1
        message: dict[str, Any] = {"id": self._count, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + 20.0
        while (answer := self._read(deadline)).get("id") != self._count:
            self._events.append(answer)
        assert "result" in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    def _read(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            left = max(deadline - time.monotonic(), 0.0)
            assert select.select([self._from], [], [], left)[0], "the browser says nothing"
            data = os.read(self._from, 1 << 20)
            assert data, f"the browser has ended: {(self.directory / 'log').read_text()[-2000:]}"
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        self._note(message.get("method", ""), message.get("params", {}))
        return message

    def _note(self, method: str, params: dict[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.problems.append(json.dumps(params["exceptionDetails"]))
        elif method == "Log.entryAdded":
            self.problems.append(params["entry"]["text"])
        elif method == "Runtime.consoleAPICalled":
            self.problems.append(json.dumps(params["args"]))


def _above(fd: int) -> int:
    """The same open file at a number that the browser's own pipes do not take."""
    moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, FREE_FROM)
    os.close(fd)
    return moved
