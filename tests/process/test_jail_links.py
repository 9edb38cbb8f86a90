"""What `mount[]` and the jail show is found through directories of the pool's user, who can put links in the way."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from tests.support.fpm import Daemon, Start
from tests.support.inside import INSIDE, give, inside, opened_to_all
from tests.support.pools import wait_state

pytestmark = pytest.mark.root

GAMES = pwd.getpwnam("games").pw_uid
POOL = {**INSIDE, "user": "games"}
CAUGHT = "a symbolic link of uid 5 leads to something of uid 0"


class Site:
    """A directory of the pool's user; `secret` is root's, below a directory that nobody else may enter."""

    def __init__(self, fpm: Daemon) -> None:
        self.fpm = fpm
        self.home = fpm.directory / "home"
        self.data = self.home / "data"
        self.data.mkdir(parents=True)
        (self.data / "mine").write_text("mine")
        self.target = fpm.directory / "target"
        self.target.mkdir()
        closed = fpm.directory / "closed"
        closed.mkdir()
        (closed / "secret").write_text("secret")
        opened_to_all([self.home, self.data, self.data / "mine", self.target, closed / "secret"])
        closed.chmod(0o700)
        self.secret = closed / "secret"
        give(self.home, GAMES)

    def replace(self, path: Path, leads_to: Path | str) -> None:
        """Do what the intruder does: a link in the place of a directory."""
        path.rename(path.with_name(f"{path.name}.moved"))
        path.symlink_to(leads_to)
        os.chown(path, GAMES, GAMES, follow_symlinks=False)

    def fail(self, *parts: str) -> None:
        """Expect that the pool does not start, and why."""
        self.fpm.expect_log(r"\[pool www\]")
        self.fpm.start()
        error = wait_state(self.fpm, "www", "failed")["error"]
        for part in parts:
            assert part in error
        mounted = Path("/proc/self/mountinfo").read_text()
        assert str(self.fpm.directory) not in mounted


@pytest.fixture
def site(daemon: Start) -> Site:
    return Site(daemon({"www": {}}, started=False))


@pytest.mark.parametrize("extra", [{}, {"chroot.automount": True}])
@pytest.mark.parametrize("kind", ["bind", "overlay"])
@pytest.mark.parametrize("leads_to", ["/", "/etc", "/root", "the secret's directory"])
def test_a_source_that_became_a_link(site: Site, extra: dict[str, object], kind: str, leads_to: str) -> None:
    options = "ro" if kind == "bind" else f"upperdir={site.home}/upper,workdir={site.home}/work"
    for name in ("upper", "work"):
        give_directory(site.home / name)
    line = f"{kind} {site.data} {site.target} {options}"
    site.fpm.configure({"www": {**POOL, **extra, "mount[]": line}})
    site.replace(site.data, site.secret.parent if leads_to.startswith("the") else leads_to)
    site.fail(f"mount {kind}", CAUGHT)


def give_directory(path: Path) -> None:
    path.mkdir()
    os.chown(path, GAMES, GAMES)


def test_a_source_that_became_a_link_to_a_file_that_only_root_reaches(site: Site) -> None:
    site.fpm.configure({"www": {**POOL, "mount[]": f"bind {site.data}/mine {site.target}"}})
    site.replace(site.data / "mine", site.secret)
    site.fail("mount bind", "symbolic link")


def test_a_file_that_only_root_reads_stays_closed(site: Site) -> None:
    site.fpm.configure({"www": {**POOL, "mount[]": f"bind {site.data}/mine {site.target}"}})
    site.replace(site.data / "mine", "/etc/shadow")
    site.fail("mount bind", CAUGHT)


def test_a_directory_on_the_way_that_became_a_link(site: Site) -> None:
    (site.data / "etc").mkdir()
    os.chown(site.data / "etc", GAMES, GAMES)
    site.fpm.configure({"www": {**POOL, "mount[]": f"bind {site.data}/etc {site.target}"}})
    site.replace(site.data, "/")
    site.fail("mount bind", CAUGHT)


@pytest.mark.parametrize("leads_to", ["/etc", "/usr"])
def test_a_target_that_became_a_link(site: Site, leads_to: str) -> None:
    """In the machine's root a set-user-ID program would believe in an /etc that the pool has filled."""
    target = site.home / "target"
    give_directory(target)
    line = f"bind {site.data} {target}"
    site.fpm.configure({"www": {**POOL, "no_new_privs": False, "mount[]": line}})
    site.replace(target, leads_to)
    site.fail("mount bind", CAUGHT)


def test_a_target_in_a_chroot_that_became_a_link_stays_inside(site: Site) -> None:
    """It is looked up in the root of the pool, where nothing else is."""
    root = site.home / "root"
    (root / "srv").mkdir(parents=True)
    (root / "srv" / "inside.py").write_text((site.fpm.apps / "inside.py").read_text())
    opened_to_all([root, root / "srv", root / "srv" / "inside.py"])
    give(root, GAMES)
    (root / "out").symlink_to("../../../../../../../../etc")
    (root / "stray").symlink_to(site.secret.parent)
    settings = {**POOL, "chroot": root, "chdir": "/srv", "chroot.automount": True}
    site.fpm.configure({"www": {**settings, "mount[]": f"bind {site.data} /out/data"}})
    site.fpm.start()
    before = os.listdir("/etc")
    assert inside(site.fpm, "www", "import os; answer = os.listdir('/etc/data')") == ["mine"]
    assert inside(site.fpm, "www", "import os; answer = os.path.exists('/stray')") is False
    assert os.listdir("/etc") == before


def test_links_that_the_administrator_or_the_owner_has_made_are_followed(site: Site) -> None:
    fpm = site.fpm
    (fpm.directory / "by-root").symlink_to(site.data)
    (site.home / "by-owner").symlink_to("data")
    os.chown(site.home / "by-owner", GAMES, GAMES, follow_symlinks=False)
    two = fpm.directory / "two"
    two.mkdir()
    mounts = f"bind {fpm.directory}/by-root {site.target}\nmount[] = bind {site.home}/by-owner {two}"
    fpm.configure({"www": {**POOL, "mount[]": mounts}})
    fpm.start()
    for target in (site.target, two):
        assert inside(fpm, "www", f"answer = open('{target}/mine').read()") == "mine"


def test_a_source_that_only_root_reaches(site: Site) -> None:
    """Nobody else can write on the way, so it is what the administrator means."""
    site.fpm.configure({"www": {**POOL, "mount[]": f"bind {site.secret.parent} {site.target}"}})
    site.secret.parent.chmod(0o700)
    below = site.secret.parent / "below"
    below.mkdir()
    (below / "text").write_text("text")
    opened_to_all([below, below / "text"])
    site.fpm.configure({"www": {**POOL, "mount[]": f"bind {below} {site.target} ro"}})
    site.fpm.start()
    assert inside(site.fpm, "www", f"answer = open('{site.target}/text').read()") == "text"


def test_the_application_directory_that_became_a_link(daemon: Start) -> None:
    fpm = daemon({"www": {}}, started=False)
    site = Site(fpm)
    current = site.home / "current"
    current.mkdir()
    (current / "inside.py").write_text((fpm.apps / "inside.py").read_text())
    opened_to_all([current, current / "inside.py"])
    give(current, GAMES)
    fpm.configure({"www": {**POOL, "chroot.automount": True, "chdir": current, "pythonpath": site.data}})
    site.replace(site.data, "/")
    site.fail("mount bind", CAUGHT)


def test_a_source_in_a_closed_directory_of_another_user(site: Site) -> None:
    """Root could open it, and the pool's user cannot; nor does its owner decide what pools are shown."""
    closed = site.secret.parent
    os.chown(closed, pwd.getpwnam("daemon").pw_uid, -1)
    below = closed / "below"
    below.mkdir(mode=0o755)
    site.fpm.configure({"www": {**POOL, "mount[]": f"bind {below} {site.target}"}})
    site.fail("mount bind", f"{closed} belongs to another user")
