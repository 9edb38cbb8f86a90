"""`app = script:PATH`: a pool whose application is handed over by a program that calls fpm.WSGIServer(...).run()."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.flup_script import write_script
from tests.support.fpm import Start
from tests.support.reloads import reload
from tests.support.traces import traced
from tests.support.waiting import wait_until

ONCE = {"pm.max_requests": 1, "pm.max_requests_jitter": 0}


def test_a_script_is_run_up_to_its_run(daemon: Start, directory: Path) -> None:
    """Preloaded and not, by its file and by its module; the words after it are its arguments."""
    write_script(directory)
    write_script(directory, name="module.py", guard=False)
    arguments = """'{"environ": {"SITE": "a b"}}'"""
    pools = {
        "file": {"app": f"script:{directory}/board.fcgi {arguments}", "chdir": "/"},
        "each": {"app": f"script:{directory}/board.fcgi {arguments}", "preload": "no", **ONCE},
        "module": {"app": f"script:-m module {arguments}", "chdir": directory},
    }
    fpm = daemon(pools)
    loaded = {}
    for pool in pools:
        assert json.loads(fpm.get(pool, "/x").body)["SITE"] == "a b"
        who = json.loads(fpm.get(pool, "/who").body)
        assert who["main"] == "__main__"
        assert who["argv"][0] == f"{directory}/" + ("module.py" if pool == "module" else "board.fcgi")
        assert who["argv"][1:] == ['{"environ": {"SITE": "a b"}}']
        assert Path(who["path"]) == directory
        loaded[pool] = who["loaded"]
    assert json.loads(fpm.get("file", "/who").body)["loaded"] == loaded["file"], "from memory"
    wait_until(
        lambda: json.loads(fpm.get("each", "/who").body)["loaded"] > loaded["each"],
        message="each worker runs the script by itself",
    )
    # A reload runs the script anew, of course.
    reload(fpm, "file")
    assert json.loads(fpm.get("file", "/who").body)["loaded"] > loaded["file"]
    # `idle`: the former worker may still be there, and of several idle ones there are no stacks.
    assert "board.fcgi" in json.dumps(traced(fpm, "file", idle=True)), "the script is on the stack"


PROGRAMS = {
    "ends": ("x = 1", r"it has ended without calling fpm.WSGIServer\(application\).run\(\)"),
    "leaves": ("import sys; sys.exit(4)", r"the application called sys.exit\(4\) while it was imported"),
    "raises": ("import fpm\nfpm.WSGIServer(None)", "TypeError: WSGIServer.. needs a WSGI application, found NoneType"),
    "forks": (
        "import os, fpm\nif os.fork(): os.wait(); raise SystemExit(0)\nfpm.WSGIServer(print).run()",
        r"it has forked before WSGIServer.run\(\)",
    ),
    "thread": (
        "import threading, fpm\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"
        "def app(e, s):\n    s('200 OK', [])\n    return [b'up']\nfpm.WSGIServer(app).run()",
        r"preload = auto: not safe to fork from, 1 thread",
    ),
}


def test_what_can_go_wrong_is_said(daemon: Start, directory: Path) -> None:
    for name, (text, _) in PROGRAMS.items():
        (directory / f"{name}.py").write_text(text)
    (directory / "imported.py").write_text("import fpm\napp = print\nfpm.WSGIServer(app).run()\n")
    pools = {name: {"app": f"script:{directory}/{name}.py"} for name in PROGRAMS}
    fpm = daemon({**pools, "imported": {"app": f"{directory}/imported.py:app"}})
    for _, pattern in PROGRAMS.values():
        fpm.wait_log(pattern)
    fpm.wait_log(r"run\(\) was called in a process of a pool that serves already")
    assert fpm.get("thread").body == b"up"
    fpm.expect_log(r"\[pool (ends|leaves|raises|forks|imported)\]")
