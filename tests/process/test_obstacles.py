"""What a pool's user can remove, or put in the way, is his pool's own trouble: others start, serve and are reloaded."""

from __future__ import annotations

import re
import shutil
import socket

from tests.support.fpm import Daemon, Settings, Start
from tests.support.pools import facts
from tests.support.reloads import version_of, write_version
from tests.support.waiting import wait_until

KINDS = {
    "directory": {"chdir": "{}/gone"},
    "script": {"app": "{}/gone.py:application"},
    "venv": {"venv": "{}/gone"},
    "squatted": {"listen": "{}/squatted.sock"},
    "sockdir": {"listen": "{}/gone/x.sock"},
    "log": {"access.log": "{}/log"},
    "dangling": {"access.log": "{}/dangling"},
    "slowlog": {"slowlog": "{}/log", "pm": "ondemand"},
    "page": {"pm.status_listen": "{}/taken.sock"},
}
REASONS = {
    "directory": "does not exist or is not a directory|cannot apply chdir = ",
    "script": "there is no file|No such file",
    "venv": "Create the environment|cannot execute",
    "squatted": "exists and is not a socket",
    "sockdir": "does not exist. Create it|cannot listen",
    "log": "is a directory",
    "dangling": "failed to open access.log",
    "slowlog": "is a directory",
}
"""First the configuration's sentence, later what the last try has met."""
UNBOUND = ("squatted", "sockdir")


def settings(fpm: Daemon) -> dict[str, Settings]:
    pools = {kind: {name: text.format(fpm.directory) for name, text in own.items()} for kind, own in KINDS.items()}
    return {"good": {"app": "deployed:application"}, **pools}


def obstruct(fpm: Daemon) -> None:
    for name in ("squatted", "taken"):
        (fpm.directory / f"{name}.sock").write_text("")
    (fpm.directory / "log").mkdir()
    (fpm.directory / "dangling").symlink_to("nowhere/x.log")


def clear(fpm: Daemon) -> None:
    for name in ("squatted", "taken"):
        (fpm.directory / f"{name}.sock").unlink()
    (fpm.directory / "log").rmdir()
    (fpm.directory / "dangling").unlink()
    (fpm.directory / "gone").mkdir()
    (fpm.directory / "gone" / "bin").mkdir()
    (fpm.directory / "gone" / "bin" / "python").symlink_to("/usr/bin/python3")
    shutil.copy(fpm.apps / "hello.py", fpm.directory / "gone" / "hello.py")
    shutil.copy(fpm.apps / "hello.py", fpm.directory / "gone.py")
    for path in (fpm.directory, fpm.directory / "gone"):
        path.chmod(0o755)


def test_each_fails_alone_and_comes_when_it_is_mended(daemon: Start) -> None:
    fpm = daemon({"good": {}}, started=False)
    fpm.configure(settings(fpm))
    obstruct(fpm)
    write_version(fpm, 1)
    tested = fpm.cli("test")
    assert tested.returncode == 78
    for kind in ("directory", "script", "venv", "sockdir", "log", "slowlog"):
        assert f"[{kind}] " in tested.stderr
    fpm.expect_log("pool (" + "|".join(KINDS) + ")", "reload failed, nothing has changed: .*script")
    fpm.expect_descriptors(file=3)  # the logs that could not be opened at first
    fpm.start()
    assert version_of(fpm, "good") == "1"
    for kind, reason in REASONS.items():
        said = facts(fpm, kind)
        assert said["state"] == "failed", kind
        assert re.search(reason, said["error"]), (kind, said["error"])
        if kind not in UNBOUND:
            assert fpm.get(kind).status == 503
    assert fpm.get("page").status == 200
    # A name judges what it names; without one, what has changed.
    write_version(fpm, 2)
    assert fpm.cli("reload", "good").returncode == 0
    assert version_of(fpm, "good") == "2"
    write_version(fpm, 3)
    whole = fpm.cli("reload")
    assert whole.returncode == 1
    assert "pool script is left as it is: " in whole.stderr
    assert "the other pools have been reloaded" in whole.stderr
    assert version_of(fpm, "good") == "3"
    named = fpm.cli("reload", "script")
    assert (named.returncode, "there is no file" in named.stderr) == (78, True)
    clear(fpm)
    for kind in REASONS:
        wait_until(lambda kind=kind: facts(fpm, kind)["state"] in ("running", "idle"), timeout=60.0, message=kind)
        assert fpm.get(kind).status == 200
    assert fpm.cli("reload").returncode == 0
    with socket.socket(socket.AF_UNIX) as page:
        page.connect(str(fpm.directory / "taken.sock"))
