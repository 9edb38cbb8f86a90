"""What the processes of a pool can do to others, and who can come to them: as little as can be."""

from __future__ import annotations

import json

from tests.support.fpm import Start
from tests.support.pools import write_app

SEALED = """
import json, mmap, os

def attempts(fd):
    size = os.fstat(fd).st_size
    yield "write", lambda: os.pwrite(fd, b"x", 0)
    yield "append", lambda: os.pwrite(fd, b"x", size)
    yield "cut", lambda: os.ftruncate(fd, 1)
    yield "grow", lambda: os.ftruncate(fd, size + 1)
    yield "map", lambda: mmap.mmap(fd, size)
    yield "open", lambda: os.pwrite(os.open(f"/proc/self/fd/{fd}", os.O_RDWR), b"x", 0)

def application(environ, start_response):
    done = {}
    for fd in range(3, 64):
        try:
            name = os.readlink(f"/proc/self/fd/{fd}")
        except OSError:
            continue
        if name.startswith(("/memfd:pyfpm-spec", "/memfd:pyfpm-bundle")):
            done[name.split()[0]] = found = []
            for what, attempt in attempts(fd):
                try:
                    attempt()
                    found.append(what)
                except OSError:
                    pass
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(done).encode()]
"""


def test_what_is_executed_with_more_rights_cannot_be_written(daemon: Start) -> None:
    """The bundle is the code of every launcher, which is root; the specification says as which user it goes on."""
    fpm = daemon({"www": {"app": "sealed:application"}}, started=False)
    write_app(fpm, "sealed", SEALED)
    fpm.start()
    assert json.loads(fpm.get("www").body) == {"/memfd:pyfpm-spec": [], "/memfd:pyfpm-bundle": []}
