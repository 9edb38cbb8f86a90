"""Nothing of what a process of pyfpm executes comes from its caller's directory, environment or descriptors."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.fpm import Daemon, open_directory
from tests.support.held import HOLD, holding
from tests.support.interpreter import pyfpm_command
from tests.support.processes import descriptors
from tests.support.waiting import wait_until

Start = Callable[..., Daemon]
Run = Callable[..., subprocess.CompletedProcess[str]]
MARK = """
import os, sys
with open({marks!r} + "/{name}-%d" % os.getpid(), "w") as mark:
    mark.write("{name} ran with uid %d, isolated %d: %r" % (os.geteuid(), sys.flags.isolated, sys.orig_argv))
"""
SITE = ("sitecustomize", "usercustomize")
OURS = ("click", "configobj", "flup", "fpm", "psutil", "ptrace", "rich", "waitress")
FEW = (*SITE, "json", "site", "socket", "select", "signal", "subprocess", *(name for name in OURS if name != "fpm"))
"""None that Python's own start, the installed script or `import fpm` needs."""
POOL = {
    "app": "slow:application",
    "pm.max_children": 2,
    "request_slowlog_timeout": "200ms",
    "slowlog": "slow.log",
    "ping.path": "/ping",
}
COMMANDS = [
    ["reload"],
    ["rollback", "www"],
    ["upgrade"],
    ["reload"],
    ["reopen-logs"],
    ["trace", "www", "--idle"],
    ["status"],
    ["status", "www", "--format", "json"],
    ["top", "--once"],
    ["ping", "www"],
    ["request", "www", "/?0"],
    ["slow"],
    ["test", "--dump"],
]
CHANGING = [["reload"], ["upgrade"], ["trace", "www", "--idle"], ["test", "--dump"]]
"""Those by which every kind of process is executed once more."""


@dataclass
class Hostile:
    """A directory full of modules that leave a mark when they are executed."""

    directory: Path
    marks: Path

    def fill(self, names: Iterable[str]) -> None:
        user = self.directory / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
        user.mkdir(parents=True)
        (user / "mark.pth").write_text("import usercustomize\n")
        for name in names:
            for place in (self.directory, user):
                (place / f"{name}.py").write_text(MARK.format(marks=str(self.marks), name=name))

    def environ(self, *, home: bool = True) -> dict[str, str]:
        place = str(self.directory)
        names = ["PYTHONPATH", "PYTHONUSERBASE", "PYTHONPYCACHEPREFIX", *(["PYTHONHOME"] if home else [])]
        others = {
            "PYTHONSTARTUP": f"{place}/socket.py",
            "PYTHONINSPECT": "1",
            "PYTHONBREAKPOINT": "socket.mark",
            "PYTHONWARNINGS": "error::socket.Mark",
        }
        return dict.fromkeys(names, place) | (others if home else {})

    def left(self) -> list[str]:
        return sorted(path.read_text() for path in self.marks.iterdir())


@pytest.fixture
def hostile() -> Iterator[Hostile]:
    directory = open_directory()
    try:
        made = Hostile(directory / "here", directory / "marks")
        made.directory.mkdir()
        made.marks.mkdir()
        made.marks.chmod(0o777)
        yield made
    finally:
        shutil.rmtree(directory)


def configure(fpm: Daemon, **changes: object) -> None:
    (fpm.apps / "fast.py").write_text("from hello import application\n")
    pools = {"www": {**POOL, "reload.check": "GET /", **changes}, "shop": {"app": "fast:application", "pm": "ondemand"}}
    fpm.configure(pools, global_={"error_log": "error.log", "status_listen": fpm.directory / "status.sock"})


def use_it_all(fpm: Daemon, commands: Sequence[Sequence[str]], run: Run) -> None:
    """Have every kind of process made: status process, tracer, check, rehearsal, probe, launchers."""
    fpm.expect_log("executing too slow")
    with holding(fpm, HOLD):
        wait_until(lambda: (fpm.directory / "slow.log").read_text().count("application()"))
    assert fpm.processes("pyfpm: tracer")
    configure(fpm, **{"env[COLOUR]": "blue"})  # something to roll back
    for command in commands:
        done = run(*command)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
    assert "stacks" in done.stderr  # the probe has answered
    assert "probe" not in done.stderr
    wait_until(lambda: fpm.processes("pyfpm: status"))
    assert fpm.get("shop").status == 200


def stop(fpm: Daemon, run: Run) -> None:
    """The last command."""
    done = run("stop")
    assert done.returncode == 0, done.stderr
    assert fpm.wait() == 0


@pytest.mark.parametrize("way", ["run", "start"])
def test_an_isolated_command_executes_nothing_of_its_callers(daemon: Start, hostile: Hostile, way: str) -> None:
    """The interpreter of the first command hears nobody, so whatever leaves a mark is pyfpm's doing.

    Nor does a process inherit a descriptor of the caller's. What the commands execute is the same for both daemons.
    """
    hostile.fill({*sys.stdlib_module_names, *SITE, *OURS})
    here = ["/usr/bin/env", "-C", str(hostile.directory)]
    wrapper, environ = [*here, sys.executable, "-I"], hostile.environ()
    fpm = daemon({}, started=False)
    configure(fpm)
    secret = fpm.directory / "secret"
    secret.write_text("")

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return fpm.cli(*command, wrapper=wrapper, environ=environ, timeout=60)

    if way == "run":
        fpm.start(wrapper=["/bin/sh", "-c", f'exec 9<{secret} "$0" "$@"', *wrapper], environ=environ)
        use_it_all(fpm, COMMANDS, run)
        assert_no_descriptor(fpm, secret)
    else:
        assert run("start").returncode == 0
        fpm.watch(int(fpm.pid_file.read_text()))
        use_it_all(fpm, CHANGING, run)
    stop(fpm, run)
    assert hostile.left() == []


def assert_no_descriptor(fpm: Daemon, file: Path) -> None:
    """None of the processes holds the caller's file."""
    fpm.wait_workers("www", 2)
    for process in fpm.processes("pyfpm"):
        held = descriptors(process.pid)
        assert held
        assert str(file) not in " ".join(held), process.cmdline()


def test_only_the_callers_interpreter_hears_the_caller(daemon: Start, hostile: Hostile) -> None:
    """Before the first line of ours Python has executed what PYTHONPATH names; the daemon has nothing of it.

    `python -m fpm` begins the daemon and one of the commands, the script the others.
    """
    hostile.fill(FEW)
    script, environ = ["/usr/bin/env", "-C", str(hostile.directory)], hostile.environ(home=False)
    code = 'import os, sys; os.execv(sys.executable, [sys.executable, "-m", "fpm", *sys.argv[2:]])'
    module = [*script, sys.executable, "-I", "-c", code]
    fpm = daemon({}, started=False)
    configure(fpm)
    fpm.start(wrapper=module, environ=environ)

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        wrapper = module if command[0] == "test" else script
        return fpm.cli(*command, wrapper=wrapper, environ=environ, timeout=60)

    use_it_all(fpm, CHANGING, run)
    stop(fpm, run)
    left = hostile.left()
    heard = {how: f"isolated 0: [{sys.executable!r}, {how}" for how in ("'-m', 'fpm',", repr(pyfpm_command()))}
    for how, first in heard.items():
        assert any(mark.startswith("sitecustomize") and first in mark for mark in left), how
    assert [mark for mark in left if not mark.startswith(SITE) or not any(one in mark for one in heard.values())] == []


def test_serve_gives_the_directory_to_the_pool_alone(hostile: Hostile, tmp_path: Path) -> None:
    """An application may import what lies beside it; pyfpm's own processes do not."""
    hostile.fill({*OURS, *SITE} - {"fpm"})
    shutil.copy(Path(__file__).parents[1] / "apps" / "hello.py", hostile.directory)
    command = [sys.executable, "-I", pyfpm_command(), "serve", "--bind", "127.0.0.1:0", "hello:application"]
    environ = {**os.environ, "PYTHONSTARTUP": str(hostile.directory / "click.py"), "PYTHONPYCACHEPREFIX": "/nowhere"}
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=hostile.directory, env=environ, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        wait_until(lambda: "on http://" in log.read_text() or process.poll() is not None, timeout=60)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()
    assert hostile.left() == []


PROGRAM = """
import json, os, sys
sys.path.append({root!r})
from fpm import Manager, Pool
os.chdir({hostile!r})
os.environ.update(json.loads({environ!r}))
pool = Pool("www", app="hello:application", listen={socket!r}, chdir={apps!r}, pm="static", pm_max_children=1,
            reload_check="GET /")
with Manager([pool], allow_root=True) as manager:
    assert manager.reload().ok, manager
    print(manager.status().pools[0].name)
"""


def test_a_programs_manager_executes_nothing_of_its_directory(hostile: Hostile, tmp_path: Path) -> None:
    hostile.fill({*sys.stdlib_module_names, *SITE, *OURS})
    root = Path(__file__).parents[2]
    program = textwrap.dedent(PROGRAM).format(
        root=str(root),
        hostile=str(hostile.directory),
        environ=json.dumps(hostile.environ()),
        socket=str(tmp_path / "www.sock"),
        apps=str(root / "tests" / "apps"),
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "www\n"), done.stderr
    assert hostile.left() == []
