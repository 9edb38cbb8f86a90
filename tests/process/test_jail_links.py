"""What `mount[]` and the jail show is found through directories of the pool's user, who can put links in the way."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.support.fpm import Daemon, Start
from tests.support.inside import INSIDE, give, inside, opened_to_all
from tests.support.pools import wait_state

pytestmark = pytest.mark.root

GAMES = pwd.getpwnam("games").pw_uid
POOL = {**INSIDE, "user": "games"}
Settings = dict[str, object]
CAUGHT = "a symbolic link of uid 5 leads to something of uid 0"


class Site:
    """A directory of the pool's user; `secret` is root's, below a directory that nobody else may enter."""

    def __init__(self, fpm: Daemon, name: str) -> None:
        self.fpm = fpm
        self.top = fpm.directory / name
        self.home = self.top / "home"
        self.data = self.home / "data"
        self.data.mkdir(parents=True)
        (self.data / "mine").write_text("mine")
        self.target = self.top / "target"
        self.target.mkdir()
        closed = self.top / "closed"
        closed.mkdir()
        (closed / "secret").write_text("secret")
        opened_to_all([self.top, self.home, self.data, self.data / "mine", self.target, closed / "secret"])
        closed.chmod(0o700)
        self.secret = closed / "secret"
        give(self.home, GAMES)

    def replace(self, path: Path, leads_to: Path | str) -> None:
        """Do what the intruder does: a link in the place of a directory."""
        path.rename(path.with_name(f"{path.name}.moved"))
        path.symlink_to(leads_to)
        os.chown(path, GAMES, GAMES, follow_symlinks=False)

    def bind(self, source: Path, target: Path | None = None) -> Settings:
        """Directives of a pool to which something is shown."""
        return {**POOL, "mount[]": f"bind {source} {target or self.target}"}


def give_directory(path: Path) -> Path:
    path.mkdir()
    os.chown(path, GAMES, GAMES)
    return path


# ---------------------------------------------------------------- pools that do not start


def a_source(site: Site, kind: str, leads_to: str, extra: Settings) -> Settings:
    for name in ("upper", "work"):
        give_directory(site.home / name)
    options = "ro" if kind == "bind" else f"upperdir={site.home}/upper,workdir={site.home}/work"
    site.replace(site.data, site.secret.parent if leads_to.startswith("the") else leads_to)
    return {**POOL, **extra, "mount[]": f"{kind} {site.data} {site.target} {options}"}


def a_file(site: Site, leads_to: str) -> Settings:
    site.replace(site.data / "mine", leads_to or site.secret)
    return site.bind(site.data / "mine")


def a_directory_on_the_way(site: Site) -> Settings:
    give_directory(site.data / "etc")
    site.replace(site.data, "/")
    return site.bind(site.data / "etc")


def a_target(site: Site, leads_to: str) -> Settings:
    """In the machine's root a set-user-ID program would believe in an /etc that the pool has filled."""
    target = give_directory(site.home / "target")
    site.replace(target, leads_to)
    return {**site.bind(site.data, target), "no_new_privs": False}


def the_application_directory(site: Site) -> Settings:
    current = site.home / "current"
    current.mkdir()
    (current / "inside.py").write_text((site.fpm.apps / "inside.py").read_text())
    opened_to_all([current, current / "inside.py"])
    give(current, GAMES)
    site.replace(site.data, "/")
    return {**POOL, "chroot.automount": True, "chdir": current, "pythonpath": site.data}


def a_closed_directory(site: Site) -> Settings:
    """Root could open it, and the pool's user cannot; nor does its owner decide what pools are shown."""
    closed = site.secret.parent
    os.chown(closed, pwd.getpwnam("daemon").pw_uid, -1)
    (closed / "below").mkdir(mode=0o755)
    return site.bind(closed / "below")


AUTOMOUNT: Settings = {"chroot.automount": True}
SOURCES: dict[str, Callable[[Site], Settings]] = {
    f"{leads_to}-{kind}-{'automount' if extra else 'plain'}": partial(
        a_source, kind=kind, leads_to=leads_to, extra=extra
    )
    for leads_to, kind, extra in (
        ("/", "bind", {}),
        ("/", "overlay", AUTOMOUNT),
        ("/etc", "overlay", {}),
        ("/root", "bind", AUTOMOUNT),
        ("the secret's directory", "bind", {}),
        ("the secret's directory", "overlay", AUTOMOUNT),
    )
}
"""Where links may lead to at all says tests/component/test_launcher_reach.py."""
TARGETS: dict[str, Callable[[Site], Settings]] = {
    leads_to: partial(a_target, leads_to=leads_to) for leads_to in ("/etc", "/usr")
}
OTHERS: dict[str, Callable[[Site], Settings]] = {
    "to a file": partial(a_file, leads_to=""),
    "to a file for root": partial(a_file, leads_to="/etc/shadow"),
    "on the way": a_directory_on_the_way,
    "application": the_application_directory,
    "closed": a_closed_directory,
}
BAD = {
    **{f"source{number}": make for number, make in enumerate(SOURCES.values())},
    **{f"target{number}": make for number, make in enumerate(TARGETS.values())},
    **{name.replace(" ", "-"): make for name, make in OTHERS.items()},
}
"""By the names of their pools."""

# ---------------------------------------------------------------- pools that start


def a_target_in_a_chroot(site: Site) -> Settings:
    root = site.home / "root"
    (root / "srv").mkdir(parents=True)
    (root / "srv" / "inside.py").write_text((site.fpm.apps / "inside.py").read_text())
    opened_to_all([root, root / "srv", root / "srv" / "inside.py"])
    give(root, GAMES)
    (root / "out").symlink_to("../../../../../../../../etc")
    (root / "stray").symlink_to(site.secret.parent)
    settings = {"chroot": root, "chdir": "/srv", "chroot.automount": True}
    return {**site.bind(site.data, Path("/out/data")), **settings}


def links_of_the_administrator_and_the_owner(site: Site) -> Settings:
    (site.top / "by-root").symlink_to(site.data)
    (site.home / "by-owner").symlink_to("data")
    os.chown(site.home / "by-owner", GAMES, GAMES, follow_symlinks=False)
    (site.top / "two").mkdir()
    first, second = f"bind {site.top}/by-root {site.target}", f"bind {site.home}/by-owner {site.top}/two"
    return {**POOL, "mount[]": f"{first}\nmount[] = {second}"}


def a_source_for_root(site: Site) -> Settings:
    below = site.secret.parent / "below"
    below.mkdir()
    (below / "text").write_text("text")
    opened_to_all([below, below / "text"])
    settings = site.bind(below)
    return {**settings, "mount[]": f"{settings['mount[]']} ro"}


GOOD: dict[str, Callable[[Site], Settings]] = {
    "chroot": a_target_in_a_chroot,
    "followed": links_of_the_administrator_and_the_owner,
    "root": a_source_for_root,
}


@pytest.fixture(scope="module")
def fpm(shared_daemon: Start) -> Daemon:
    """A pool for each of these; each has a directory of its name."""
    fpm = shared_daemon({"www": {}}, started=False)
    fpm.configure({name: make(Site(fpm, name)) for name, make in {**BAD, **GOOD}.items()})
    fpm.expect_log(*(rf"\[pool {name}\]" for name in BAD))
    return fpm.start()


def fails(fpm: Daemon, pool: str, *parts: str) -> None:
    """Expect that the pool has not started, and why."""
    error = wait_state(fpm, pool, "failed")["error"]
    for part in parts:
        assert part in error
    mounted = Path("/proc/self/mountinfo").read_text()
    assert str(fpm.directory) not in mounted


@pytest.mark.parametrize("number", range(len(SOURCES)), ids=list(SOURCES))
def test_a_source_that_became_a_link(fpm: Daemon, number: int) -> None:
    kind = "bind" if "bind" in list(SOURCES)[number] else "overlay"
    fails(fpm, f"source{number}", f"mount {kind}", CAUGHT)


def test_a_source_that_became_a_link_to_a_file_that_only_root_reaches(fpm: Daemon) -> None:
    fails(fpm, "to-a-file", "mount bind", "symbolic link")


def test_a_file_that_only_root_reads_stays_closed(fpm: Daemon) -> None:
    fails(fpm, "to-a-file-for-root", "mount bind", CAUGHT)


def test_a_directory_on_the_way_that_became_a_link(fpm: Daemon) -> None:
    fails(fpm, "on-the-way", "mount bind", CAUGHT)


@pytest.mark.parametrize("number", range(len(TARGETS)), ids=list(TARGETS))
def test_a_target_that_became_a_link(fpm: Daemon, number: int) -> None:
    fails(fpm, f"target{number}", "mount bind", CAUGHT)


def test_the_application_directory_that_became_a_link(fpm: Daemon) -> None:
    fails(fpm, "application", "mount bind", CAUGHT)


def test_a_source_in_a_closed_directory_of_another_user(fpm: Daemon) -> None:
    fails(fpm, "closed", "mount bind", f"{fpm.directory}/closed/closed belongs to another user")


def test_a_target_in_a_chroot_that_became_a_link_stays_inside(fpm: Daemon) -> None:
    """It is looked up in the root of the pool, where nothing else is."""
    before = os.listdir("/etc")
    assert inside(fpm, "chroot", "import os; answer = os.listdir('/etc/data')") == ["mine"]
    assert inside(fpm, "chroot", "import os; answer = os.path.exists('/stray')") is False
    assert os.listdir("/etc") == before
    assert "data" not in before


def test_links_that_the_administrator_or_the_owner_has_made_are_followed(fpm: Daemon) -> None:
    for name in ("target", "two"):
        path = fpm.directory / "followed" / name / "mine"
        assert inside(fpm, "followed", f"answer = open('{path}').read()") == "mine"


def test_a_source_that_only_root_reaches(fpm: Daemon) -> None:
    """Nobody else can write on the way, so it is what the administrator means."""
    assert inside(fpm, "root", f"answer = open('{fpm.directory}/root/target/text').read()") == "text"
