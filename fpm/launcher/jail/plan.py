"""Decides what the root of a pool is made of. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from posixpath import basename, dirname

from fpm.launcher.jail.steps import (
    Bind,
    Directory,
    Entries,
    FileSystem,
    Link,
    Mirror,
    Overlay,
    Plan,
    Step,
    TextFile,
    Tree,
)
from fpm.protocol.application import directory_of
from fpm.protocol.mounts import TEMPORARY, MountLine, lies_in, parse_mount
from fpm.protocol.spec import TemplateSpec

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store")
"""Programs and libraries: the loader, the C library, what `subprocess` may want."""
SETTINGS = (
    *("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "python3", "python3.11", "python3.12"),
    *("python3.13", "python3.14", "nsswitch.conf", "hosts", "host.conf", "gai.conf", "resolv.conf", "services"),
    *("protocols", "localtime", "timezone", "locale.alias", "locale.conf", "mime.types", "fonts"),
    *("ssl/certs", "ssl/cert.pem", "ssl/openssl.cnf", "ca-certificates", "crypto-policies", "pki/ca-trust"),
    *("pki/tls/certs", "pki/tls/cert.pem", "pki/tls/openssl.cnf"),
)
"""In /etc: what Python, the C library's name services, time zones and TLS read, and no server's configuration."""
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
STREAMS = {"fd": "", "stdin": "/0", "stdout": "/1", "stderr": "/2"}
NOBODY = 65534
SAFE = frozenset({"noexec"})
PAGE = 4096
INODES_MIN = 1024
SMALL = "mode=755,size=1m"
"""Of a file system that holds mount points and a few lines of text."""


def plan_root(spec: TemplateSpec, programs: Iterable[str], shared: Collection[str]) -> Plan | None:
    """Decide how the root is made; None where the pool sees that of the machine as it is.

    Args:
        programs: the paths by which the interpreter is found: as it is written, and each link after that.
        shared: the temporary directories that the generations of the pool share.
    """
    if "mount" not in spec.namespaces:
        return None
    lines = [parse_mount(line) for line in spec.mount]
    own = [step for line in lines for step in _of_line(line)]
    if spec.chroot_automount:
        return Plan(
            "", (*_system(), *_devices(spec, shared), *_world(spec, shared), *_application(spec, programs), *own)
        )
    base = spec.rootfs or spec.chroot or "/"
    world = _world(spec, shared, may_lack=base == spec.chroot)
    devices = _devices(spec, shared) if spec.rootfs else ()
    shown = _application(spec, programs) if base == "/" and spec.private_tmp else ()
    hidden = [step for step in shown if isinstance(step, Bind) and lies_in(step.target, TEMPORARY)]
    options = frozenset() if spec.rootfs else frozenset({"dev"})  # those of a chroot are all that it has
    return Plan(base, (*devices, *world, *hidden, *own), options)


def _system() -> Iterator[Step]:
    yield from map(Mirror, SYSTEM)
    for name in SETTINGS:
        yield Bind(f"/etc/{name}", f"/etc/{name}", frozenset({"ro", "noexec"}), is_theirs=False, may_lack=True)
    yield Directory("/run")


def _devices(spec: TemplateSpec, shared: Collection[str]) -> Iterator[Step]:
    yield FileSystem("tmpfs", "/dev", SAFE, SMALL)
    for name in DEVICES:
        yield Bind(f"/dev/{name}", f"/dev/{name}", frozenset({"dev", "noexec"}), is_theirs=False, may_lack=True)
    for name, stream in STREAMS.items():
        yield Link(f"/dev/{name}", f"/proc/self/fd{stream}")
    yield _temporary(spec, "/dev/shm", shared)


def _world(spec: TemplateSpec, shared: Collection[str], *, may_lack: bool = False) -> Iterator[Step]:
    """What is the pool's own: processes, temporary files, names."""
    if "pid" in spec.namespaces:
        yield FileSystem("proc", "/proc", SAFE, may_lack=may_lack)
    elif spec.chroot_automount or spec.rootfs:
        # Without a namespace it would show the processes of all; those of other users are hidden.
        yield FileSystem("proc", "/proc", SAFE, "hidepid=2")
    if spec.private_tmp or spec.chroot_automount:
        for target in TEMPORARY:
            # A tree without the directory has nothing to hide there.
            yield _temporary(spec, target, shared, may_lack=not spec.chroot_automount)
    if spec.chroot_automount:
        yield TextFile("/etc/passwd", _passwd(spec))
        yield TextFile("/etc/group", _groups(spec))


def _temporary(spec: TemplateSpec, target: str, shared: Collection[str], *, may_lack: bool = False) -> Step:
    if target in shared:
        return Tree(target, may_lack)
    return FileSystem("tmpfs", target, data=f"mode=1777{bounds_of(spec)}", may_lack=may_lack)


def bounds_of(spec: TemplateSpec) -> str:
    """Return the options of a temporary file system that bound it; "" if nothing does but the kernel.

    Empty files, links and directories take none of its bytes, but a kilobyte of the kernel's memory each.
    """
    size = spec.private_tmp_size
    return f",size={size},nr_inodes={max(INODES_MIN, size // PAGE)}" if size else ""


def _passwd(spec: TemplateSpec) -> str:
    lines = ["root:x:0:0:root:/:/usr/sbin/nologin"]
    if spec.uid is not None:
        home = spec.environ.get("HOME", "/")
        lines.append(f"{spec.user}:x:{spec.uid}:{spec.gid}::{home}:/usr/sbin/nologin")
    if spec.uid != NOBODY:
        lines.append(f"nobody:x:{NOBODY}:{NOBODY}:nobody:/nonexistent:/usr/sbin/nologin")
    return "".join(f"{line}\n" for line in lines)


def _groups(spec: TemplateSpec) -> str:
    names = {0: "root", NOBODY: "nogroup"} | {int(gid): name for gid, name in spec.group_names}
    return "".join(f"{name}:x:{gid}:\n" for gid, name in sorted(names.items()))


def _application(spec: TemplateSpec, programs: Iterable[str]) -> Iterator[Step]:
    """The interpreter and the application: at their own paths, or what is in the chroot.

    A directory comes before those below it.
    """
    found: dict[str, Step] = {}
    if spec.chroot is None:
        for directory in (spec.chdir, directory_of(spec.app), *spec.pythonpath):
            if directory and directory != "/":
                found[directory] = Bind(directory, directory)
    else:
        yield Entries(spec.chroot, "/")
    for program in programs:
        prefix = _prefix_of(program)
        if not lies_in(prefix, SYSTEM):
            found[prefix] = Bind(prefix, prefix, frozenset({"ro"}))
    yield from (step for _, step in sorted(found.items()))


def _prefix_of(program: str) -> str:
    directory = dirname(program)
    return dirname(directory) if basename(directory) == "bin" and dirname(directory) != "/" else directory


def _of_line(line: MountLine) -> Iterator[Step]:
    options = line.flags - {"rw"}
    match line.kind:
        case "bind":
            yield Bind(line.sources[0], line.target, options)
        case "overlay":
            yield Overlay(line.sources, line.value("upperdir"), line.value("workdir"), line.target, options)
        case kind:
            values = {"mode": "755"} | dict(line.values) if kind == "tmpfs" else dict(line.values)
            yield FileSystem(kind, line.target, options, ",".join(f"{name}={value}" for name, value in values.items()))
