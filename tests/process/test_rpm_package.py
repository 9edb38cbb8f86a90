"""The RPM, if `make rpm` has built it: installed, upgraded and erased in a machine that is booted for it.

The machine is a Debian, so rpm keeps its own record beside dpkg's, and does not look for packages that are needed.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.fpm import APPS
from tests.support.machine import Machine
from tests.support.service import UNIT, Service

TOP = Path(__file__).parents[2]
BUILT = TOP / "build" / "rpm" / "RPMS"
SPEC = TOP / "contrib" / "rpm" / "pyfpm.spec"
NEW = "99.0"
SOCKET = "pyfpm-pool@www.socket"

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not list(BUILT.glob("*/*.rpm")), reason="no package: `make test-rpm` builds it, in minutes"),
]


@pytest.fixture
def packages(tmp_path: Path) -> tuple[Path, Path]:
    """The package, and one of a later version: the same tree with other configuration files, by the same spec."""
    (old,) = BUILT.glob("*/*.rpm")
    tree, top = tmp_path / "tree", tmp_path / "top"
    tree.mkdir()
    unpack = ("rpm", "--root", tree, "--dbpath", "/db", "--install", "--nodeps", "--noscripts", "--force-debian", old)
    subprocess.run(unpack, check=True, capture_output=True, timeout=120)
    shutil.rmtree(tree / "db")
    for name in ("etc/pyfpm/pyfpm.conf", "etc/logrotate.d/pyfpm"):
        (tree / name).write_text((tree / name).read_text() + "# later\n")
    text = re.sub(r"^Version:.*$", f"Version: {NEW}\\nAutoReqProv: no", SPEC.read_text(), flags=re.MULTILINE)
    text = re.sub(r"^Source0:.*\n|^%license .*\n", "", text, flags=re.MULTILINE)
    made = (
        f"%install\nmkdir -p %{{buildroot}}\ncp -a {tree}/. %{{buildroot}}\nrm -r %{{buildroot}}/usr/share/licenses\n\n"
    )
    spec = tmp_path / "pyfpm.spec"
    spec.write_text(re.sub(r"^%prep\n.*?(?=^%post\n)", made, text, flags=re.MULTILINE | re.DOTALL))
    define = (
        "--define",
        f"_topdir {top}",
        "--define",
        "_binary_payload w1.gzdio",
        "--define",
        "__os_install_post %{nil}",
    )
    subprocess.run(["rpmbuild", "-bb", *define, spec], check=True, capture_output=True, timeout=300)
    (new,) = top.glob("RPMS/*/*.rpm")
    shutil.rmtree(tree)
    return old, new


def install(machine: Machine, package: Path) -> None:
    machine.copy(package, "/opt/pyfpm.rpm")
    machine.must("rpm", "--upgrade", "--nodeps", "--force-debian", "/opt/pyfpm.rpm", timeout=120)


def test_it_is_installed_upgraded_and_erased(machine: Machine, packages: tuple[Path, Path]) -> None:
    old, new = packages
    install(machine, old)
    assert machine.must("pyfpm", "version").startswith("pyfpm ")
    assert machine.run("systemctl", "is-enabled", UNIT).stdout.strip() == "disabled", "there is no pool yet"
    assert machine.run("systemctl", "is-active", UNIT).stdout.strip() == "inactive"
    assert machine.must("man", "--where", "pyfpm.conf").startswith("/usr/share/man/man5/")
    assert machine.path("/run/pyfpm").is_dir()
    assert "a package has already set up this machine" in machine.run("pyfpm", "setup").stderr
    assert machine.run("rpm", "--verify", "--nodeps", "pyfpm").stdout == ""

    service = Service(machine)
    machine.must("useradd", "--system", "www")
    machine.copy(APPS, "/srv/www")
    service.configure({"www": {}})
    machine.must("systemctl", "enable", "--now", SOCKET, UNIT)
    master, answer = service.pid(), service.get("www")
    assert answer.status == 200
    conf = machine.path("/etc/pyfpm/pyfpm.conf")
    conf.write_text(conf.read_text() + "; ours\n")

    install(machine, new)
    assert NEW in machine.must("rpm", "--query", "pyfpm")
    assert service.pid() == master, "the master continues as the new version"
    assert service.get("www").body == answer.body, "and so does its worker"
    assert conf.read_text().endswith("; ours\n")
    assert conf.with_name("pyfpm.conf.rpmnew").read_text().endswith("# later\n")
    assert machine.path("/etc/logrotate.d/pyfpm").read_text().endswith("# later\n")

    machine.must("rpm", "--erase", "pyfpm", timeout=120)
    for unit in (UNIT, SOCKET):
        assert machine.run("systemctl", "is-active", unit).stdout.strip() == "inactive"
    left = machine.must("find", "/etc", "/usr", "/var", "-path", "*pyfpm*").split()
    left = [path for path in left if not path.startswith(("/var/lib/systemd/", "/var/log/pyfpm"))]
    kept = ["", "/pools.d", "/pools.d/www.conf", "/pyfpm.conf.rpmnew", "/pyfpm.conf.rpmsave"]
    assert sorted(left) == [f"/etc/pyfpm{path}" for path in kept]
