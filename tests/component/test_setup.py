"""`pyfpm setup`, by the installed command, on the tree of a machine: what it makes, keeps, refuses and takes away."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.interpreter import pyfpm_command

PYFPM = pyfpm_command()
CONF = "etc/pyfpm/pyfpm.conf"
BESIDE = "etc/pyfpm/pyfpm.conf.dpkg-dist"
UNIT = "usr/local/lib/systemd/system/pyfpm.service"
RECORD = "var/lib/pyfpm/setup.json"


def setup(root: Path, *options: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    command = [PYFPM, "setup", "--root", str(root), *options]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == status, run.stderr
    return run


def files_of(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir() or path.is_symlink()}


def actions(run: subprocess.CompletedProcess[str]) -> set[str]:
    return {line.split()[0] for line in run.stdout.splitlines()}


def test_a_machine_is_set_up_once(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "own").write_text("the administrator's\n")
    planned = setup(tmp_path, "--dry-run")
    assert files_of(tmp_path) == {"etc/own"}, "a dry run changes nothing"
    done = setup(tmp_path)
    assert done.stdout == planned.stdout
    assert actions(done) == {"create"}
    assert {CONF, UNIT, RECORD, "etc/logrotate.d/pyfpm", "usr/local/share/man/man8/pyfpm.8"} <= files_of(tmp_path)
    assert f"ExecStart={PYFPM} run" in (tmp_path / UNIT).read_text()
    assert os.readlink(tmp_path / "usr/local/sbin/pyfpm") == PYFPM
    assert {path.stat().st_mode & 0o777 for path in tmp_path.rglob("*.conf")} == {0o644}
    assert not (tmp_path / "run").exists(), "nothing in /run of an image would last"
    assert actions(setup(tmp_path)) == {"keep"}
    setup(tmp_path, "--remove")
    assert files_of(tmp_path) == {"etc/own"}
    assert "nothing to remove" in setup(tmp_path, "--remove", status=1).stderr


def test_what_the_administrator_has_changed_stays(tmp_path: Path) -> None:
    setup(tmp_path)
    shipped = (tmp_path / CONF).read_text()
    (tmp_path / CONF).write_text("[global]\nlog_level = debug\n")
    assert f"keep    /{CONF}: changed on this machine\n" in setup(tmp_path).stdout
    assert not (tmp_path / BESIDE).exists(), "there is no new version to offer"
    # As after an upgrade: what was installed is another version than what this one has.
    record = json.loads((tmp_path / RECORD).read_text())
    record["installed"][f"/{CONF}"] = record["installed"][f"/{UNIT}"] = "another version"
    record["installed"]["/usr/local/share/man/man8/former.8"] = "another version"
    (tmp_path / RECORD).write_text(json.dumps(record))
    assert f"beside  /{CONF}: changed on this machine" in setup(tmp_path).stdout
    assert (tmp_path / BESIDE).read_text() == shipped
    assert "debug" in (tmp_path / CONF).read_text()
    removed = setup(tmp_path, "--remove").stdout
    assert f"leave   /{CONF}: changed on this machine; it stays\n" in removed
    assert "leave   /etc/pyfpm/: it is not empty\n" in removed
    assert files_of(tmp_path) == {CONF}


def test_what_cannot_be_done_safely_is_refused_before_anything_is_changed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "tree of another"
    elsewhere.mkdir()
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "etc").symlink_to(elsewhere)
    assert f"a symbolic link leads out of {tree}" in setup(tree, status=1).stderr
    (tree / "etc").unlink()
    (tree / UNIT).mkdir(parents=True)
    refused = setup(tree, status=1)
    assert f"refuse  /{UNIT}: it is a directory" in refused.stdout
    assert files_of(tmp_path) == set()
    packaged = tree / "usr/lib/systemd/system/pyfpm.service"
    packaged.parent.mkdir(parents=True)
    packaged.write_text("")
    assert "a package has already set up this machine" in setup(tree, status=1).stderr


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    (tmp_path / "var/lib/pyfpm").mkdir(parents=True)
    (tmp_path / RECORD).write_text("[]")
    assert f"{tmp_path}/{RECORD} cannot be read" in setup(tmp_path, status=1).stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [(["--root", "/nonexistent"], "/nonexistent is not a directory"), (["--usr", "usr"], "usr does not begin with /")],
)
def test_usage_errors(options: list[str], words: str) -> None:
    run = subprocess.run([PYFPM, "setup", *options], capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 64
    assert words in run.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may set up this machine, and a test must not")
def test_an_ordinary_user_may_only_look() -> None:
    run = subprocess.run([PYFPM, "setup"], capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 1
    assert "only root can set up this machine" in run.stderr
    looked = subprocess.run([PYFPM, "setup", "--dry-run"], capture_output=True, text=True, timeout=60, check=False)
    assert looked.returncode == 0, looked.stderr


def test_the_interpreter_is_the_one_of_this_installation(tmp_path: Path) -> None:
    """Called by a link from elsewhere, it still names itself where it is."""
    link = tmp_path / "pyfpm"
    link.symlink_to(PYFPM)
    (tmp_path / "tree").mkdir()
    subprocess.run([link, "setup", "--root", tmp_path / "tree"], check=True, capture_output=True, timeout=60)
    assert os.readlink(tmp_path / "tree/usr/local/sbin/pyfpm") == str(Path(sys.executable).with_name("pyfpm"))
