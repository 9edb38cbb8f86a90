"""Commands that need no daemon: `test --import`, `list`, `config`, `version`, `convert`."""

from __future__ import annotations

import json
import os
import pwd
import stat
import subprocess
from pathlib import Path

import psutil

from tests.support.fpm import IS_ROOT, POOL_USER, Daemon, Start
from tests.support.interpreter import pool_python, pyfpm_command
from tests.support.pools import write_app
from tests.support.waiting import wait_until


def two_pools(daemon: Start) -> Daemon:
    fpm = daemon({"good": {"app": "hello:application", "env[A]": "1", "pm.max_children": 3}, "bad": {"app": "bad:app"}},
                 started=False)  # fmt: skip
    write_app(fpm, "bad", "import os\nraise RuntimeError(f'as {os.geteuid()} on line 2')\n")
    return fpm


def left(place: Path) -> tuple[set[str], set[int]]:
    """Directories of trials, and our own processes."""
    directories = {path.name for path in place.glob("pyfpm-doctor-*")}
    return directories, {child.pid for child in psutil.Process().children(recursive=True)}


def test_import(daemon: Start) -> None:
    fpm = two_pools(daemon)
    place = fpm.config_file.parent  # other tests try pools in the usual one meanwhile
    before, environ = left(place), {"TMPDIR": str(place)}
    done = fpm.cli("test", "--import", environ=environ)
    assert (done.returncode, done.stdout) == (1, "pool good: imported\n")
    uid = pwd.getpwnam(POOL_USER).pw_uid if IS_ROOT else psutil.Process().uids().real
    assert f"pyfpm: pool bad: the application does not start: RuntimeError: as {uid} on line 2\n" in done.stderr
    assert f'  File "{fpm.apps}/bad.py", line 2, in <module>' in done.stderr
    done = fpm.cli("test", "--import", "good", "--format", "json", environ=environ)
    assert done.returncode == 0
    assert json.loads(done.stdout)["imports"] == {"good": {"ok": True, "error": "", "traceback": ""}}
    wait_until(lambda: left(place) == before, message=f"of the trials there is more than {before}")
    done = fpm.cli("test", "--import", "nobody")
    assert (done.returncode, "there is no pool 'nobody'; there are: good, bad" in done.stderr) == (1, True)
    write_app(fpm, "bad", "other = 1\n")
    done = fpm.cli("test", "--import", "bad", environ=environ)
    assert (done.returncode, done.stderr.count("has no 'app'; it has nothing callable")) == (1, 1), done.stderr
    assert fpm.cli("test", "good").returncode == 64
    fpm.config_file.write_text("[good]\nharakiri = 30\n")
    done = fpm.cli("test", "--import")
    assert done.returncode == 78
    assert f"{fpm.config_file}:2: [good] harakiri: is an option of uWSGI. Write request_terminate" in done.stderr


def test_list_and_config(daemon: Start) -> None:
    fpm = two_pools(daemon)
    lines = fpm.config_file.read_text().splitlines()
    place = {name: f"{fpm.config_file}:{lines.index(f'[{name}]') + 1}" for name in ("good", "bad")}
    pools = json.loads(fpm.cli("list", "--format", "json").stdout)["pools"]
    assert [(pool["name"], pool["app"], pool["file"]) for pool in pools] == [
        ("good", "hello:application", place["good"]),
        ("bad", "bad:app", place["bad"]),
    ]
    text = fpm.cli("list", environ={"COLUMNS": ""}).stdout.splitlines()
    assert text[0].split() == ["POOL", "USER", "LISTEN", "APP", "FILE"]
    assert text[1].split()[:1] == ["good"]
    values = json.loads(fpm.cli("config", "good", "--format", "json").stdout)["values"]
    line = lines.index("pm.max_children = 3") + 1
    assert values["pm.max_children"] == {"value": "3", "from": f"{fpm.config_file}:{line}"}
    assert values["pm.start_servers"] == {"value": "3", "from": "derived"}
    assert values["request_terminate_timeout"] == {"value": "0s", "from": "default"}
    assert values["env[A]"] == {"value": "1", "from": f"{fpm.config_file}:{lines.index('env[A] = 1') + 1}"}
    changed = json.loads(fpm.cli("config", "good", "--changed", "--format", "json").stdout)["values"]
    assert set(changed) == {name for name, one in values.items() if one["from"] != "default"}
    assert fpm.cli("config", "good", "PM.max_children").stdout.splitlines()[1].split()[:2] == ["pm.max_children", "3"]
    assert fpm.cli("config", "nobody").returncode == 1
    done = fpm.cli("config", "good", "pm.max_childen")
    assert (done.returncode, "did you mean 'pm.max_children'?" in done.stderr) == (64, True)


def test_version() -> None:
    text = run("version").stdout
    found = json.loads(run("version", "--format", "json").stdout)
    assert text.startswith(f"pyfpm {found['pyfpm']}\nPython {found['python']} (")
    assert set(found["packages"]) >= {"click", "configobj", "flup6", "psutil", "python-ptrace"}
    assert all(found["packages"].values())
    assert found["hot_path"]["compiled"] or found["hot_path"]["reason"]


GUNICORN = """\
import os
bind = "unix:{directory}/shop.sock"
workers = 2 if os.getpid() else 1
wsgi_app = "wsgiref.simple_server:demo_app"
user = "nobody"
def post_fork(server, worker): pass
print("hello")
"""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([pyfpm_command(), *arguments], capture_output=True, text=True, timeout=60, check=False)


def test_convert(tmp_path: Path) -> None:
    """What is converted is a configuration that `pyfpm test` accepts; a file in Python runs only when asked."""
    source, output = tmp_path / "gunicorn.conf.py", tmp_path / "shop.conf"
    source.write_text(GUNICORN.format(directory=tmp_path))
    done = run("convert", str(source), "--name", "shop")
    assert done.returncode == 0
    assert "; gunicorn.conf.py:3: workers = 2 if os.getpid() else 1\n;     only running the file tells" in done.stdout
    assert "hello" not in done.stdout.replace(str(tmp_path), "")
    done = run("convert", str(source), "--name", "shop", "--execute", "--output", str(output))
    assert (done.returncode, done.stdout) == (0, "")
    assert stat.S_IMODE(output.stat().st_mode) & 0o027 == 0
    text = output.read_text()
    assert "pm.max_children = 2\n" in text
    assert "; gunicorn.conf.py: post_fork = def post_fork(...)" in text
    assert run("convert", str(source), "--output", str(output)).returncode == 1
    (tmp_path / "whole.conf.py").write_text("workers = 2\n")
    whole = run("convert", str(tmp_path / "whole.conf.py"), "--from", "gunicorn").stderr
    assert "from Gunicorn; every option is carried over\n" in whole
    (tmp_path / "whole.conf.py").unlink()
    tmp_path.chmod(0o755)
    output.write_text(f"{text}python = {pool_python()}\n")
    assert run("-c", str(output), "test").returncode == 0
    source.write_text("raise SystemExit('secret of the file')\n")
    done = run("convert", str(source), "--execute")
    assert (done.returncode, "cannot be run (exit status 1): secret of the file" in done.stderr) == (78, True)
    if IS_ROOT:
        os.chown(source, pwd.getpwnam("nobody").pw_uid, -1)
        done = run("convert", str(source), "--execute")
        assert (done.returncode, "belongs to nobody, and root does not run it" in done.stderr) == (78, True)
    assert run("convert", str(tmp_path / "missing")).returncode == 1
    assert run("convert").returncode == 64
    assert {path.name for path in tmp_path.iterdir()} == {source.name, output.name}
