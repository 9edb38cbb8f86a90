"""What an application does to its process at import reaches its own code, and nothing that fpm does there."""

from __future__ import annotations

import re
import time

from tests.support import raw_fastcgi
from tests.support.fpm import Start
from tests.support.pools import write_app
from tests.support.waiting import wait_until

BEFORE = """
import os as _os
_pid = _os.getpid
"""
AFTER = """
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    if environ["PATH_INFO"] == "/endless":
        return iter(lambda: b"x" * 1000, b"")
    return [b"%d" % _pid()]
"""

SETTINGS = {
    "timeout": "import socket\nsocket.setdefaulttimeout(100)",
    "sigpipe": "import signal\nsignal.signal(signal.SIGPIPE, signal.SIG_DFL)",
    "signals": """
import signal
for number in (signal.SIGCHLD, signal.SIGQUIT, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
""",
    "tee": "import sys\nclass Tee:\n    write = lambda self, text: None\nsys.stdout = sys.stderr = Tee()",
    "none": "import sys\nsys.stdin = sys.stdout = sys.stderr = None",
    "closed": "import sys\nsys.stdout.close()\nsys.stderr.close()",
    "descriptors": "import os\nos.closerange(0, 3)",
    "green": "import select\ndel select.epoll, select.poll",
    "system": """
import builtins, os, resource, select, signal, socket, time
def broken(*arguments, **named):
    raise RuntimeError("replaced")
_os_names = ("close", "dup2", "fork", "getpid", "pipe2", "read", "write", "writev", "_exit", "eventfd_write")
for _module, _names in ((os, _os_names), (time, ("time", "monotonic", "process_time")), (builtins, ("open", "print"))):
    for _name in _names:
        setattr(_module, _name, broken)
select.poll = select.epoll = socket.socket = signal.signal = resource.getrusage = broken
""",
    "warnings": "import warnings\nwarnings.simplefilter('error')",
    "trace": "import sys\ndef trace(*what):\n    return trace\nsys.settrace(trace)\nsys.setprofile(trace)",
    "directory": "import os, tempfile\nmade = tempfile.mkdtemp()\nos.chdir(made)\nos.rmdir(made)\nos.umask(0o777)",
    "limits": "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))",
    "zone": "import os, time\nos.environ['TZ'] = 'ELSEWHERE-14'\ntime.tzset()",
}


def test_no_setting_of_an_application_reaches_fpm(daemon: Start) -> None:
    """In the template, whose workers inherit it, and in workers that import for themselves."""
    fpm = daemon({name: {} for name in SETTINGS}, started=False)
    log = fpm.directory / "access"
    log.mkdir()
    for name, code in SETTINGS.items():
        write_app(fpm, f"{name}_app", f"{BEFORE}{code}\n{AFTER}")
    pools: dict[str, dict[str, object]] = {
        f"{name}_{preload}": {"app": f"{name}_app:application", "preload": preload, "access.log": log / "$pool"}
        for name in SETTINGS
        for preload in ("yes", "no")
    }
    fpm.configure(pools)
    fpm.start()
    for pool in pools:
        first = fpm.get(pool)
        assert first.status == 200, (pool, first)
        with raw_fastcgi.Wire(fpm.address(pool)) as wire:
            wire.send(raw_fastcgi.request_bytes(raw_fastcgi.web_params("/endless")))
            assert wire.read_record()
        # The client has left: the worker is the same, and serves the next one.
        assert fpm.get(pool).body == first.body, pool
    here = time.strftime("%z")
    for preload in ("yes", "no"):
        zone, system = log / f"zone_{preload}", log / f"system_{preload}"
        # A worker writes the line after the response.
        wait_until(lambda zone=zone: zone.read_text().count("\n") >= 2)
        wait_until(lambda system=system: system.read_text().count(" 200") >= 2)
        assert set(re.findall(r" ([+-]\d{4}) ", zone.read_text())) == {here}, preload
