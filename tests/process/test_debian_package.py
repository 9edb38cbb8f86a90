"""The Debian package, if `make deb` has built it: installed, upgraded and purged in a machine that is booted for it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.machine import Machine
from tests.support.service import UNIT, Service

BUILT = Path(__file__).parents[2] / "build" / "deb"
NEW = "99.0"

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not list(BUILT.glob("*.deb")), reason="no package: `make test-deb` builds it, in minutes"),
]


@pytest.fixture
def packages(tmp_path: Path) -> tuple[Path, Path]:
    """The package, and one of a later version with another configuration file."""
    (old,) = BUILT.glob("*.deb")
    tree, new = tmp_path / "tree", tmp_path / "new.deb"
    subprocess.run(["dpkg-deb", "--raw-extract", old, tree], check=True, timeout=120)
    control = tree / "DEBIAN" / "control"
    control.write_text(re.sub(r"^Version: .*$", f"Version: {NEW}", control.read_text(), flags=re.MULTILINE))
    for name in ("etc/pyfpm/pyfpm.conf", "etc/logrotate.d/pyfpm"):
        (tree / name).write_text((tree / name).read_text() + "# later\n")
    subprocess.run(["dpkg-deb", "-Zgzip", "-z1", "--build", tree, new], check=True, capture_output=True, timeout=120)
    shutil.rmtree(tree)
    return old, new


def install(machine: Machine, package: Path) -> None:
    machine.copy(package, "/opt/pyfpm.deb")
    machine.must("dpkg", "--force-confold", "--install", "/opt/pyfpm.deb", timeout=120)


def test_it_is_installed_upgraded_and_purged(machine: Machine, packages: tuple[Path, Path]) -> None:
    old, new = packages
    install(machine, old)
    assert machine.must("pyfpm", "--version").startswith("pyfpm, version ")
    assert machine.run("systemctl", "is-enabled", UNIT).stdout.strip() == "disabled", "there is no pool yet"
    assert machine.run("systemctl", "is-active", UNIT).stdout.strip() == "inactive"
    assert machine.must("man", "--where", "pyfpm.conf").startswith("/usr/share/man/man5/")
    assert "a package has already set up this machine" in machine.run("pyfpm", "setup").stderr

    service = Service(machine)
    machine.must("useradd", "--system", "www")
    machine.copy(Path(__file__).parents[1] / "apps", "/srv/www")
    service.start({"www": {}})
    machine.must("systemctl", "enable", UNIT)
    master, answer = service.pid(), service.get("www")
    assert answer.status == 200
    conf = machine.path("/etc/pyfpm/pyfpm.conf")
    conf.write_text(conf.read_text() + "; ours\n")

    install(machine, new)
    assert NEW in machine.must("dpkg-query", "--show", "pyfpm")
    assert service.pid() == master, "the master continues as the new version"
    assert service.get("www").body == answer.body, "and so does its worker"
    assert conf.read_text().endswith("; ours\n")
    assert conf.with_name("pyfpm.conf.dpkg-dist").read_text().endswith("# later\n")
    assert machine.path("/etc/logrotate.d/pyfpm").read_text().endswith("# later\n")

    machine.must("dpkg", "--purge", "pyfpm", timeout=120)
    assert machine.run("systemctl", "is-active", UNIT).stdout.strip() == "inactive"
    left = machine.must("find", "/etc", "/usr", "/var", "-path", "*pyfpm*").split()
    left = [path for path in left if not path.startswith("/var/lib/systemd/")]
    assert sorted(left) == ["/etc/pyfpm", "/etc/pyfpm/pools.d", "/etc/pyfpm/pools.d/www.conf"]
