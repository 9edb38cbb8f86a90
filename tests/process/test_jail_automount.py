"""`chroot.automount`: a root that holds only what the pool needs, and in which all of Python works."""

from __future__ import annotations

import os
import pwd
import socket
import ssl
import subprocess
import threading
from pathlib import Path

import pytest

from tests.support.fpm import Daemon, Start
from tests.support.inside import INSIDE, inside, mounts_of, opened_to_all, refused
from tests.support.pools import echo
from tests.support.reloads import reload

pytestmark = pytest.mark.root

SECOND = next(user for user in pwd.getpwall() if user.pw_uid not in (0, 65534) and user.pw_gid not in (0, 65534))
TOP = {"bin", "dev", "etc", "lib", "proc", "run", "tmp", "usr", "var"}
"""What there is in any case; lib32, lib64, sbin and the like as the machine has them."""


@pytest.fixture(scope="module")
def jailed(shared_daemon: Start) -> Daemon:
    """`open` has the application at its own path, `closed` a directory that is its root; and some for one test each."""
    fpm = shared_daemon({"open": {}}, started=False)
    root = fpm.directory / "root"
    (root / "srv").mkdir(parents=True)
    (root / "srv" / "inside.py").write_text((fpm.apps / "inside.py").read_text())
    (root / "srv" / "lazy.py").write_text("WORD = 'late'\n")
    (fpm.apps / "lazy.py").write_text("WORD = 'late'\n")
    opened_to_all([root, *root.rglob("*"), fpm.apps / "lazy.py"])
    common: dict[str, object] = {**INSIDE, "chroot.automount": True}
    fpm.configure(
        {
            "open": common,
            "closed": {**common, "chroot": root, "chdir": "/srv"},
            "root": {**common, "user": "root", "group": "root"},
            "second": {**common, "user": SECOND.pw_name},
            "one": {**common, "private_tmp.size": "1M"},
            "two": {**common, "private_tmp.size": "1M"},
            "echo": {**common, "app": "echo:application"},
        }
    )
    return fpm.start("-R", "run")


WORKS = {
    "a module of the application, late": "import lazy; answer = lazy.WORD == 'late'",
    "json": "import json; answer = json.loads('[1]') == [1]",
    "certificates": """
import ssl
answer = len(ssl.create_default_context().get_ca_certs()) > 20
""",
    "time zones": """
import zoneinfo, datetime
answer = str(datetime.datetime(2025, 7, 1, tzinfo=zoneinfo.ZoneInfo('Europe/Berlin')).utcoffset()) == '2:00:00'
""",
    "names of services": "import socket; answer = socket.getservbyname('https') == 443",
    "names of hosts": """
import socket
answer = socket.getaddrinfo('localhost', 80, socket.AF_INET)[0][4][0] == '127.0.0.1'
""",
    "locales": "import locale; answer = locale.setlocale(locale.LC_ALL, 'C.UTF-8') == 'C.UTF-8'",
    "a shell": "import subprocess; answer = subprocess.check_output('echo $((6*7))', shell=True) == b'42\\n'",
    "Python in a process of its own": """
import subprocess, sys
answer = subprocess.check_output([sys.executable, '-c', 'import json; print(1)']) == b'1\\n'
""",
    "temporary files": """
import tempfile, os
with tempfile.NamedTemporaryFile() as file, tempfile.TemporaryDirectory() as directory:
    file.write(b'x')
    answer = (os.path.dirname(file.name), os.path.dirname(directory)) == ('/tmp', '/tmp')
""",
    "shared memory and semaphores": """
import multiprocessing, multiprocessing.shared_memory
lock = multiprocessing.get_context('fork').Lock()
with lock:
    pass
memory = multiprocessing.shared_memory.SharedMemory(create=True, size=64)
memory.buf[0] = 7
memory.close()
memory.unlink()
answer = True
""",
    "processes that work together": """
import multiprocessing
with multiprocessing.get_context('fork').Pool(2) as pool:
    answer = pool.map(abs, [-1, -2, -3]) == [1, 2, 3]
""",
    "a database": """
import os, sqlite3
connection = sqlite3.connect('/tmp/database')
connection.execute('create table if not exists one (number)')
connection.execute('insert into one values (1)')
connection.commit()
answer = connection.execute('select count(*) from one').fetchone()[0] == 1
connection.close()
os.unlink('/tmp/database')
""",
    "random numbers": "import secrets; answer = bool(secrets.token_bytes(8) and open('/dev/urandom', 'rb').read(4))",
    "the null device": "open('/dev/null', 'w').write('x'); answer = True",
    "types of files": "import mimetypes; answer = mimetypes.guess_type('a.html')[0] == 'text/html'",
    "a compiled module": "import ctypes, decimal, lzma, bz2, uuid, hashlib; answer = bool(ctypes.CDLL(None).getpid())",
    "its own name": "import getpass, pwd, os; answer = getpass.getuser() == pwd.getpwuid(os.getuid()).pw_name",
}


@pytest.mark.parametrize("pool", ["open", "closed"])
def test_all_of_python_works(jailed: Daemon, pool: str) -> None:
    failed = {what: told for what, code in WORKS.items() if (told := inside(jailed, pool, code)) is not True}
    assert failed == {}


@pytest.mark.parametrize("pool", ["open", "closed"])
def test_there_is_nothing_else(jailed: Daemon, pool: str) -> None:
    top = set(inside(jailed, pool, "import os; answer = os.listdir('/')"))
    own = {"srv"} if pool == "closed" else {jailed.apps.parts[1]}
    assert top - {"sbin", "lib32", "lib64", "libx32", "nix"} == TOP | own
    for path in ("/root", "/home", "/sys", "/boot", "/etc/shadow", "/etc/ssh", "/etc/nginx", "/var/log", "/dev/vda"):
        assert inside(jailed, pool, "import os; answer = os.path.lexists(path)", path=path) is False
    assert inside(jailed, pool, "import os; answer = os.listdir('/run')") == []
    found = inside(jailed, pool, "import os; answer = os.listdir('/tmp')")
    assert [name for name in found if not name.startswith("pyfpm-")] == []
    users = inside(jailed, pool, "import pwd; answer = [user.pw_name for user in pwd.getpwall()]")
    assert users == ["root", "nobody"]
    groups = inside(jailed, pool, "import grp; answer = [group.gr_name for group in grp.getgrall()]")
    assert groups == ["root", "nogroup"]


def test_what_is_the_machines_cannot_be_written(jailed: Daemon) -> None:
    paths = ["/usr/x", "/usr/bin/env", "/etc/x", "/etc/hosts", "/etc/passwd", "/x", "/dev/x", "/lib/x", "/run/x"]
    for pool in ("open", "closed"):
        for path in paths:
            told = refused(jailed, pool, "open(path, 'a')", path=path)
            assert "Read-only file system" in told or "Permission denied" in told, told


def test_not_even_by_root(jailed: Daemon) -> None:
    assert inside(jailed, "root", "import os; answer = os.getuid()") == 0
    for path in ("/usr/x", "/etc/hosts", "/x", "/etc/x"):
        assert "Read-only file system" in refused(jailed, "root", "open(path, 'a')", path=path)


def test_only_processes_of_the_same_user_are_seen(jailed: Daemon) -> None:
    code = "import os; answer = sorted(int(pid) for pid in os.listdir('/proc') if pid.isdecimal())"
    seen = inside(jailed, "open", code)
    assert jailed.pid not in seen
    assert os.getpid() not in seen
    (worker,) = jailed.workers("open")
    assert worker in seen


def test_mounts_are_those_of_the_pool_alone(jailed: Daemon) -> None:
    (worker,) = jailed.workers("open")
    before = mounts_of(os.getpid())
    assert not [line for line in mounts_of(worker) if line.startswith(("/root", "/sys", "/boot"))]
    assert mounts_of(os.getpid()) == before
    for line in Path(f"/proc/{worker}/mountinfo").read_text().splitlines():
        options = line.split()[5].split(",")
        assert "nosuid" in options, line
        assert "nodev" in options or line.split()[4].startswith("/dev/"), line
        # Nothing that the pool mounts would come to the machine.
        assert "shared:" not in line


def test_names_are_those_of_the_pools_user(jailed: Daemon) -> None:
    code = "import pwd, os; answer = list(pwd.getpwuid(os.getuid()))[:4], [one.pw_name for one in pwd.getpwall()]"
    own, users = inside(jailed, "second", code)
    assert own == [SECOND.pw_name, "x", SECOND.pw_uid, SECOND.pw_gid]
    assert users == ["root", SECOND.pw_name, "nobody"]


def test_temporary_files_are_the_pools_and_as_large_as_they_may_be(jailed: Daemon) -> None:
    fpm = jailed
    inside(fpm, "one", "open('/tmp/mine', 'w').write('x')")
    assert inside(fpm, "two", "import os; answer = os.path.exists('/tmp/mine')") is False
    assert not Path("/tmp/mine").exists()
    told = refused(fpm, "one", "open('/tmp/large', 'wb').write(bytes(2_000_000))")
    assert "No space left on device" in told
    assert inside(fpm, "two", "answer = open('/tmp/fits', 'wb').write(bytes(500_000))") == 500_000
    for path in ("/tmp/large", "/var/tmp/x", "/dev/shm/x"):
        inside(fpm, "one", "import os; os.path.exists('/tmp/large') and os.unlink('/tmp/large')")
        inside(fpm, "one", "open(path, 'w').write('x')", path=path)
    # Links and empty files take no bytes of it, but memory of the kernel.
    links = "import os\nfor number in range(1500):\n answer = os.symlink('x', f'/tmp/{number}')"
    assert "No space left on device" in refused(fpm, "one", links)
    assert inside(fpm, "one", "import os; answer = len(os.listdir('/tmp'))") > 900
    reload(fpm, "one")


def test_the_application_is_where_it_was(jailed: Daemon) -> None:
    told = echo(jailed, "echo")
    assert told["cwd"] == str(jailed.apps)
    assert os.stat(f"/proc/{jailed.workers('echo')[0]}/root").st_dev != os.stat("/").st_dev


TRUSTED = """
import socket, ssl
context = ssl.create_default_context()
context.load_verify_locations(certificate)
with socket.create_connection(("127.0.0.1", port), 10) as plain:
    with context.wrap_socket(plain, server_hostname="localhost") as client:
        answer = client.recv(5).decode()
"""


def test_a_server_that_proves_who_it_is(jailed: Daemon) -> None:
    """With an authority of the application's beside those of the system; without it the server is refused."""
    files = [str(jailed.apps / name) for name in ("key.pem", "certificate.pem")]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost", "-keyout", files[0], "-out", files[1]]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    opened_to_all([Path(files[1])])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files[1], files[0])

    def serve() -> None:
        for _ in range(2):
            connection, _ = server.accept()
            try:
                with context.wrap_socket(connection, server_side=True) as client:
                    client.sendall(b"hello")
            except OSError:
                connection.close()

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        values = {"port": server.getsockname()[1], "certificate": files[1]}
        assert inside(jailed, "open", TRUSTED, **values) == "hello"
        unknown = TRUSTED.replace("context.load_verify_locations(certificate)\n", "")
        assert "CERTIFICATE_VERIFY_FAILED" in refused(jailed, "open", unknown, **values)
        thread.join(60)
        assert not thread.is_alive()
