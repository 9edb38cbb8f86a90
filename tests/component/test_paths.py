"""The rule for paths on a real file system: what is opened and made, and what is refused, for root and for a user."""

from __future__ import annotations

import os
import pwd
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fpm.config.model import UnixAddress
from fpm.log.target import find_target
from fpm.paths.files import make_directory, open_to_append, read_small, remove_file, replace_file
from fpm.paths.place import ForeignDirectory, Trust, UnsafePath, find, trust_in, who_opens
from fpm.system.listening import SocketAccess, open_address
from tests.support.directories import opened_directory
from tests.support.waiting import does_not_block

USER = pwd.getpwnam("www-data")
Act = Callable[[str], object]


@pytest.fixture
def top() -> Iterator[Path]:
    with opened_directory() as made:
        yield made


def append(path: str) -> None:
    fd = open_to_append(path)
    os.write(fd, b"x")
    os.close(fd)


def listen(path: str) -> None:
    open_address(UnixAddress(path), 1, SocketAccess(0o600, None, None)).close()


ACTS: dict[str, Act] = {
    "append": append,
    "replace": lambda path: replace_file(path, b"x", 0o644),
    "remove": remove_file,
    "read": lambda path: read_small(path, 1),
    "mkdir": lambda path: make_directory(f"{path}.d", 0o700),
}


def directory(top: Path, mode: int, uid: int = 0, gid: int = 0) -> Path:
    made = top / "directory"
    made.mkdir()
    os.chown(made, uid, gid)
    made.chmod(mode)
    return made


def test_who_can_change_a_directory() -> None:
    def judge(mode: int, uid: int, *, is_root: bool = True) -> Trust:
        found = os.stat_result((stat.S_IFDIR | mode, 0, 0, 2, uid, 5, 0, 0, 0, 0))
        return trust_in(found, {0} if is_root else {0, 33}, is_root=is_root)

    assert {judge(mode, 0) for mode in (0o755, 0o700, 0o1755)} == {Trust.PRIVATE}
    assert {judge(mode, 0) for mode in (0o1777, 0o1775)} == {Trust.STICKY}
    assert {judge(mode, 0) for mode in (0o775, 0o2775)} == {Trust.GROUP}
    assert {judge(0o755, 33), judge(0o777, 33), judge(0o1777, 33)} == {Trust.FOREIGN}
    assert judge(0o777, 0) is Trust.OPEN
    assert (judge(0o755, 33, is_root=False), judge(0o755, 34, is_root=False)) == (Trust.PRIVATE, Trust.GROUP)


def test_a_file_of_ones_own_is_made_changed_and_removed(top: Path) -> None:
    path = top / "file"
    append(str(path))
    append(str(path))
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("xx", 0o600)
    replace_file(str(path), b"new", 0o644)
    assert read_small(str(path), 10) == b"new"
    remove_file(str(path))
    previous = os.umask(0o077)
    try:
        make_directory(str(top / "a" / "b"), 0o755)
    finally:
        os.umask(previous)
    assert [stat.S_IMODE(one.stat().st_mode) for one in (top / "a", top / "a" / "b")] == [0o755, 0o755]
    assert [one.name for one in top.iterdir()] == ["a"]


def test_a_link_that_root_has_made_is_followed(top: Path) -> None:
    real = top / "real"
    real.mkdir()
    (top / "link").symlink_to("real/../real")
    (real / "log").symlink_to(top / "target")
    append(str(top / "link" / "log"))
    assert (top / "target").read_text() == "x"
    (top / "round").symlink_to("round")
    with pytest.raises(OSError, match="Too many levels"):
        append(str(top / "round" / "log"))


@pytest.mark.root
@pytest.mark.parametrize("name", ACTS)
@pytest.mark.parametrize(("mode", "uid"), [(0o755, USER.pw_uid), (0o777, USER.pw_uid)])
def test_root_does_nothing_in_a_directory_of_others(top: Path, name: str, mode: int, uid: int) -> None:
    place = directory(top, mode, uid)
    (place / "file").write_text("precious")
    before = place.stat().st_mtime_ns
    with pytest.raises(ForeignDirectory):
        ACTS[name](str(place / "file"))
    assert (place / "file").read_text() == "precious"
    assert place.stat().st_mtime_ns == before
    assert who_opens(str(place / "file"), (USER.pw_gid,)).is_pool
    assert who_opens(str(place / "file"), None).refusal


@pytest.mark.root
@pytest.mark.parametrize(("mode", "gid"), [(0o1777, 0), (0o775, USER.pw_gid), (0o777, 0)])
def test_where_others_make_files_root_uses_its_own_only(top: Path, mode: int, gid: int) -> None:
    place = directory(top, mode, 0, gid)
    append(str(place / "new"))
    append(str(place / "new"))
    planted = place / "planted"
    planted.write_text("precious")
    os.chown(planted, USER.pw_uid, -1)
    with pytest.raises(UnsafePath, match="belongs to another user"):
        append(str(planted))
    (place / "link").symlink_to(top / "target")
    for name in ("link", "link/below"):
        with pytest.raises(UnsafePath, match="symbolic link"):
            append(str(place / name))
    assert not (top / "target").exists()
    assert who_opens(str(place / "new"), (USER.pw_gid,)).is_pool == (gid != 0 or mode == 0o777)
    assert bool(who_opens(str(place / "new"), None).warning) == (mode == 0o777)
    assert who_opens(str(place / "new"), (4711,)).is_pool == (mode == 0o777)


@pytest.mark.root
def test_a_directory_of_root_below_one_of_a_user(top: Path) -> None:
    """His link on the way is not followed, his directory in its place is his."""
    home = directory(top, 0o755, USER.pw_uid)
    logs = home / "logs"
    logs.mkdir()
    append(str(logs / "log"))
    assert (logs / "log").read_text() == "x"
    logs.rename(home / "away")
    logs.symlink_to(top)
    os.lchown(logs, USER.pw_uid, USER.pw_gid)
    with pytest.raises(ForeignDirectory, match="symbolic link"):
        append(str(logs / "log"))
    logs.unlink()
    logs.mkdir()
    os.chown(logs, USER.pw_uid, -1)
    with pytest.raises(ForeignDirectory, match=f"uid {USER.pw_uid}"):
        append(str(logs / "log"))
    assert not (top / "log").exists()


def test_what_is_no_file_of_its_own_is_refused_without_waiting(top: Path) -> None:
    (top / "file").write_text("precious")
    os.link(top / "file", top / "hard")
    with pytest.raises(UnsafePath, match=r"2 names \(hard links\)"):
        append(str(top / "hard"))
    (top / "directory").mkdir()
    with pytest.raises(IsADirectoryError):
        append(str(top / "directory"))
    os.mkfifo(top / "fifo")
    does_not_block(lambda: append(str(top / "fifo")))
    with pytest.raises(OSError, match="regular"):
        read_small(str(top / "fifo"), 1)
    for path in (f"{top}/directory/.", f"{top}/directory/.."):
        with pytest.raises(OSError, match="directory"):
            append(path)
    assert (top / "file").read_text() == "precious"


def test_a_link_to_standard_error_is_standard_error(top: Path) -> None:
    (top / "log").symlink_to("/dev/stderr")
    with find(str(top / "log"), follow=True) as place:
        assert place.own_fd == 2
    target = find_target(str(top / "log"))
    assert os.path.samestat(os.fstat(target.fileno()), os.fstat(2))
    target.close()


@pytest.mark.root
def test_a_socket_file_is_never_another_file(top: Path) -> None:
    """It is bound through the directory, changed by what was bound, and removed if it is still there."""
    place = directory(top, 0o755, USER.pw_uid)
    path = place / "socket"
    secret = top / "secret"
    secret.write_text("precious")
    secret.chmod(0o600)
    listener = open_address(UnixAddress(str(path)), 1, SocketAccess(0o600, USER.pw_uid, USER.pw_gid))
    assert path.stat().st_uid == USER.pw_uid
    listener.adjust(SocketAccess(0o660, None, 5))
    # Without an owner of its own it is the daemon's, as if it had been bound so.
    assert (path.stat().st_uid, path.stat().st_gid, stat.S_IMODE(path.stat().st_mode)) == (0, 5, 0o660)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    path.rename(place / "kept")
    path.symlink_to(secret)
    with pytest.raises(UnsafePath):
        listener.adjust(SocketAccess(0o666, USER.pw_uid, None))
    assert (secret.stat().st_uid, stat.S_IMODE(secret.stat().st_mode)) == (0, 0o600)
    listener.close()
    assert path.is_symlink()
    path.unlink()
    place.rename(top / "gone")
    (top / "directory").symlink_to(top / "gone")
    os.lchown(top / "directory", USER.pw_uid, USER.pw_gid)
    with pytest.raises(Exception, match="symbolic link"):
        listen(str(path))
