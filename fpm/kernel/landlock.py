"""What `landlock` allows below which path, as the kernel's rights: landlock(7), linux/landlock.h. Pure."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from posixpath import basename, dirname, normpath
from typing import Literal

from fpm.frozen import dataclass

Access = Literal["read", "write", "device", "process"]

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1, 1 << 1, 1 << 2, 1 << 3
REFER, TRUNCATE, IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_FIRST = (1 << 13) - 1
"""What the first version can refuse: the four above, and removing and making entries of each kind."""
_SINCE = {2: REFER, 3: TRUNCATE, 5: IOCTL_DEV}
"""What later versions can refuse as well."""
OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
"""All others are rights in a directory, and a rule for a file must not have them."""
RIGHTS: Mapping[Access, int] = {
    "read": EXECUTE | READ_FILE | READ_DIR,
    "write": _FIRST | REFER | TRUNCATE | IOCTL_DEV,
    "device": READ_FILE | READ_DIR | WRITE_FILE | IOCTL_DEV,
    # Titles and the like of the pool's own processes; those of others, and of the kernel, are not his by their modes.
    "process": READ_FILE | READ_DIR | WRITE_FILE | TRUNCATE,
}
SCOPES = 3
"""LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET and LANDLOCK_SCOPE_SIGNAL, from version 6 on."""

SYSTEM: Mapping[Access, tuple[str, ...]] = {
    "read": (
        *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc"),
        # What is behind links in /etc: resolv.conf, and the certificates of SUSE.
        *("/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager", "/var/lib/ca-certificates"),
        "/sys/devices/system",
    ),
    "write": ("/tmp", "/var/tmp", "/dev/shm"),
    "device": tuple(f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts")),
    "process": ("/proc",),
}
"""What every pool may use that is there: what Python and common libraries need."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What is allowed below a path."""

    access: Access
    path: str


def parse_rules(words: Iterable[str]) -> list[Rule]:
    """Read `read PATH... write PATH...`.

    Raises:
        ValueError: the sentence for the user.
    """
    rules: list[Rule] = []
    access: Access | None = None
    empty = ""
    for word in words:
        if word in ("read", "write"):
            if empty:
                break
            access, empty = ("read" if word == "read" else "write"), word
        elif not word.startswith("/"):
            raise ValueError(f"expected read, write or an absolute path, found '{word}'")
        elif access is None:
            raise ValueError(f"write read or write before '{word}', as in read /srv/data write /srv/uploads")
        else:
            rules.append(Rule(access, normpath(word)))
            empty = ""
    if empty:
        raise ValueError(f"write a path after {empty}, as in {empty} /srv/data")
    return rules


def system_rules() -> list[Rule]:
    """Return what is allowed to every pool."""
    return [Rule(access, path) for access, paths in SYSTEM.items() for path in paths]


def interpreter_paths(python: str, real: str, home: str) -> list[str]:
    """Return where an interpreter and its library are.

    Args:
        python: its path.
        real: the same without symbolic links.
        home: of the pyvenv.cfg beside it: where the interpreter is of which the environment was made; "" if none.
    """
    found = []
    for program in (python, real, f"{home}/python" if home else ""):
        prefix = dirname(dirname(program))
        # Only DIR/bin/python has its library in DIR; and never is the root as a whole allowed by this.
        found += [prefix] if basename(dirname(program)) == "bin" and prefix not in ("/", "") else [program]
        found += ["/nix/store"] if program.startswith("/nix/store/") else []
    return [path for path in dict.fromkeys(found) if path]


def handled(version: int) -> int:
    """Return the rights that a version of Landlock can refuse."""
    return _FIRST | sum(right for since, right in _SINCE.items() if since <= version)


def pack_ruleset(version: int) -> bytes:
    """Pack struct landlock_ruleset_attr: all rights to files, nothing of the network, and all scopes."""
    network = 0
    if version >= 6:
        return struct.pack("=QQQ", handled(version), network, SCOPES)
    return struct.pack("=QQ", handled(version), network) if version >= 4 else struct.pack("=Q", handled(version))


def pack_rule(access: Access, fd: int, *, is_directory: bool, version: int) -> bytes:
    """Pack struct landlock_path_beneath_attr."""
    rights = RIGHTS[access] & handled(version)
    return struct.pack("=Qi", rights if is_directory else rights & OF_FILES, fd)
