"""What a broken-into pool tries to reach, a row for each. Code fills `found` with what it has got: nothing, one hopes.

The code has toolbox.py at hand, and `given`: pids by name, and paths. A pool in a jail sees other pids and no such
paths, and that is the point.
"""

from __future__ import annotations

from dataclasses import dataclass

PRESETS = ("none", "basic", "strong", "sealed")


@dataclass(frozen=True)
class Reach:
    """One thing that must not be had.

    Attributes:
        since: the weakest preset that keeps it away.
    """

    name: str
    code: str
    since: str = "none"

    def is_refused_by(self, preset: str) -> bool:
        """Tell whether a pool with this preset must not get it."""
        return PRESETS.index(preset) >= PRESETS.index(self.since)


_CALLS = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    libc.syscall.restype = ctypes.c_long
    values = [one if isinstance(one, bytes) else ctypes.c_long(one) for one in arguments]
    return libc.syscall(ctypes.c_long(number), *values) >= 0
"""
"""System calls by their numbers on x86_64 and aarch64, whose newer ones are the same."""

REACHES = (
    Reach(
        "signals to others",
        """
found = []
for name, pid in given["pids"].items():
    for number in (0, 9, 15, 19):
        try:
            os.kill(pid, number)
            found.append([name, number])
        except OSError:
            pass
""",
    ),
    Reach(
        "ptrace and memory of others",
        _CALLS
        + """
found = []
for name, pid in given["pids"].items():
    for request in (16, 0x4206):
        if libc.ptrace(request, pid, None, None) == 0:
            found.append([name, "ptrace"])
    for file in ("mem", "environ", "maps", "auxv", "root/etc/hostname", "cwd/.", "fd/0", "ns/mnt"):
        try:
            with open(f"/proc/{pid}/{file}", "rb") as one:
                if one.read(1):
                    found.append([name, file])
        except OSError:
            pass
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        continue
    if call(438, pidfd, 0, 0):
        found.append([name, "pidfd_getfd"])
    try:
        import signal
        signal.pidfd_send_signal(pidfd, 0)
        found.append([name, "pidfd"])
    except OSError:
        pass
""",
    ),
    Reach(
        "descriptors that are not its own",
        """
import re
boards = {os.fstat(fd).st_ino for fd in descriptors()["scoreboard"]}
found = [["scoreboards", len(boards)]] if len(boards) != 1 else []
for fd in map(int, os.listdir("/proc/self/fd")):
    try:
        path, mode = os.readlink(f"/proc/self/fd/{fd}"), os.fstat(fd).st_mode
    except OSError:
        continue
    if stat.S_ISREG(mode) and "memfd:" not in path and not path.startswith(SITE) or stat.S_ISDIR(mode):
        flags = int(re.search(r"flags:\\s*(\\d+)", open(f"/proc/self/fdinfo/{fd}").read())[1], 8)
        if stat.S_ISDIR(mode) and not path.startswith("/proc") or flags & os.O_ACCMODE:
            found.append([fd, path, oct(flags)])
""",
    ),
    Reach(
        "the control socket and the others' listening sockets",
        """
found = []
for path in (given["control"], given["secret"]):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as one:
        try:
            one.connect(path)
            found.append(["connected", path])
        except OSError:
            pass
for path in given["sockets"]:
    try:
        os.unlink(path)
        found.append(["removed", path])
    except OSError:
        pass
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as one:
        try:
            one.bind(path)
            found.append(["bound", path])
        except OSError:
            pass
""",
    ),
    Reach(
        "files of others",
        """
found = []
for path in given["private"]:
    for mode in ("rb", "r+b", "ab"):
        try:
            open(path, mode).close()
            found.append([mode, path])
        except OSError:
            pass
for path in given["readable"]:
    for change in (os.unlink, lambda path: open(path, "ab").close(), lambda path: os.chmod(path, 0o777)):
        try:
            change(path)
            found.append(["changed", path])
        except OSError:
            pass
""",
    ),
    Reach(
        "files that everybody may read, and names",
        """
import grp, pwd
found = [path for path in given["readable"] if os.path.exists(path)]
found += [path for path in ("/etc/shadow", "/etc/nginx", "/etc/ssh", "/etc/pyfpm", "/root", "/home", "/sys/fs",
                            "/var/log", "/boot", "/run/pyfpm") if os.path.exists(path)]
names = {one.pw_name for one in pwd.getpwall()} - {"root", "nobody", pwd.getpwuid(os.getuid()).pw_name}
found += sorted(names)
found += [one.gr_name for one in grp.getgrall() if one.gr_gid not in (0, 65534, *os.getgroups(), os.getgid())]
""",
        since="strong",
    ),
    Reach(
        "processes and host name of others",
        """
found = [pid for pid in filter(str.isdecimal, os.listdir("/proc"))
         if (status := status_of(pid)) and f"Uid:\\t{os.getuid()}\\t" not in status]
found += [pid for name, pid in given["pids"].items() if os.path.exists(f"/proc/{pid}/ns")
          and b"master" in open(f"/proc/{pid}/cmdline", "rb").read()]
""",
        since="strong",
    ),
    Reach(
        "the way back to root",
        _CALLS
        + """
import subprocess
found = []
for name, action in {
    "setuid": lambda: os.setuid(0), "setgid": lambda: os.setgid(0), "seteuid": lambda: os.seteuid(0),
    "setresuid": lambda: os.setresuid(0, 0, 0), "setgroups": lambda: os.setgroups([0]),
    "chroot": lambda: os.chroot("/"),
    "mknod": lambda: os.mknod("device", 0o600 | stat.S_IFCHR, os.makedev(1, 1)),
    "chown": lambda: os.chown(SITE, 0, 0),
}.items():
    try:
        action()
        found.append(name)
    except OSError:
        pass
if os.getresuid() != (os.getuid(),) * 3 or os.getresgid() != (os.getgid(),) * 3 or os.getuid() == 0:
    found.append([os.getresuid(), os.getresgid()])
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
found += [key for key in ("CapInh", "CapPrm", "CapEff", "CapAmb") if int(status[key], 16)]
if os.path.exists(given["setuid"]):
    done = subprocess.run([given["setuid"], "-u"], capture_output=True, text=True)
    if done.stdout.strip() == "0":
        found.append("a setuid program")
for number in (0, 1000, 2000):
    try:
        os.setpriority(os.PRIO_PROCESS, 0, -10)
        found.append("priority")
        break
    except OSError:
        pass
""",
    ),
    Reach(
        "another root",
        """
found = []
def secret(how, path):
    try:
        with open(path) as one:
            if "secret" in one.read() or "root:" in one.read():
                found.append([how, path])
    except OSError:
        pass
for pid in ["1", "self", str(os.getppid()), *map(str, given["pids"].values())]:
    for path in (given["secret"], "/etc/shadow"):
        secret("proc", f"/proc/{pid}/root{path}")
        secret("cwd", f"/proc/{pid}/cwd/" + "../" * 20 + path.lstrip("/"))
top = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
for _ in range(20):
    os.chdir("..")
    secret("..", given["secret"].lstrip("/"))
secret("link", os.path.join(SITE, "link"))
os.symlink(given["secret"], os.path.join(SITE, "link"))
secret("link", os.path.join(SITE, "link"))
for fd in map(int, os.listdir("/proc/self/fd")):
    try:
        os.fchdir(fd)
        secret("fchdir", "../" * 20 + given["secret"].lstrip("/"))
    except OSError:
        pass
os.chdir(SITE)
""",
    ),
    Reach(
        "mounts and namespaces",
        _CALLS
        + """
found = []
libc.mount.argtypes = [ctypes.c_char_p] * 3 + [ctypes.c_ulong, ctypes.c_char_p]
if libc.mount(b"x", b"/tmp", b"tmpfs", 0, b"") == 0:
    found.append("mount")
if libc.umount2(b"/proc", 2) == 0:
    found.append("umount")
if call(428, -100, b"/", 1) or call(430, b"tmpfs", 0):
    found.append("the new mount calls")
for name, flag in {"mnt": 0x20000, "pid": 0x20000000, "net": 0x40000000, "ipc": 0x8000000, "uts": 0x4000000}.items():
    if libc.unshare(flag) == 0:
        found.append("unshare " + name)
for pid in ("1", *map(str, given["pids"].values())):
    try:
        fd = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY)
    except OSError:
        continue
    if libc.setns(fd, 0) == 0:
        found.append("setns " + pid)
""",
    ),
    Reach(
        "parts of the kernel that a web application has no use for",
        _CALLS
        + """
import platform
found = []
if libc.unshare(0x10000000) == 0:
    found.append("a user namespace")
arm = platform.machine() == "aarch64"
for name, number, arguments in (
    ("bpf", 280 if arm else 321, (0, bytes(72), 72)),
    ("perf_event_open", 241 if arm else 298, (bytes(128), 0, -1, -1, 0)),
    ("userfaultfd", 282 if arm else 323, (1,)), ("io_uring_setup", 425, (8, bytes(120))),
    ("add_key", 217 if arm else 248, (b"user", b"forged", b"x", 1, -3)),
    ("kexec_load", 104 if arm else 246, (0, 0, 0, 0)),
):
    if call(number, *arguments):
        found.append(name)
""",
        since="basic",
    ),
    Reach(
        "debugging, and unusual sockets",
        _CALLS
        + """
found = []
child = os.fork()
if child == 0:
    time.sleep(30)
    os._exit(0)
if libc.ptrace(16, child, None, None) == 0:
    found.append("ptrace of a child")
    os.waitpid(child, 0)
os.kill(child, 9)
os.waitpid(child, 0)
for family in (17, 40, 38, 31):
    try:
        socket.socket(family, socket.SOCK_RAW if family == 17 else socket.SOCK_STREAM).close()
        found.append(["socket", family])
    except OSError:
        pass
""",
        since="basic",
    ),
    Reach(
        "names of the sockets of others",
        """
with open("/proc/net/unix") as file:
    names = {line.split()[-1] for line in file if "/" in line}
found = [path for path in (given["control"], *given["sockets"]) if path in names]
""",
        since="sealed",
    ),
    Reach(
        "the network of the machine",
        """
found = [name for _, name in socket.if_nameindex() if name != "lo"]
for port in given["ports"]:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        found.append(port)
    except OSError:
        pass
""",
        since="sealed",
    ),
)
