"""What the checks need to know about the machine; `fpm.config.local_system` answers. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from fpm.cgroups.support import Support
from fpm.config.permissions import PathComponent
from fpm.frozen import dataclass

if TYPE_CHECKING:
    from fpm.paths.place import Opener


class Account(NamedTuple):
    """A user of the machine; `known` is False for a number that is not in the user database."""

    name: str
    uid: int
    gid: int
    home: str
    known: bool


class Interpreter(NamedTuple):
    """Facts about a Python interpreter that are known without running it."""

    version: tuple[int, int] | None
    libraries: tuple[str, ...]
    """Directories that it must be able to read."""
    other: str = ""
    """What it is if it is no CPython, as in "is PyPy"."""


@dataclass(frozen=True, slots=True)
class Abilities:
    """What the kernel of this machine can do to confine a pool, as this process finds it."""

    seccomp: bool
    landlock: int
    """The version of its interface (ABI, landlock(7)); 0: there is none."""
    apparmor: bool
    selinux: bool
    missing: Mapping[str, str]
    """Why there is none, by the names above, as in "the kernel has no Landlock (CONFIG_SECURITY_LANDLOCK)". Under
    "jail", why this process cannot make namespaces and mounts; under "ip", that iproute2 is missing."""


class System(Protocol):
    """A machine as the checks see it. With a `root`, paths are those that a process in this chroot would use."""

    environ: Mapping[str, str]
    is_root: bool
    allow_root: bool
    own_python: str

    def user(self, text: str) -> Account | None:
        """Look up a user by name or number; return None for an unknown name."""

    def group(self, text: str) -> int | None:
        """Look up a group by name or number; return None for an unknown name."""

    def memberships(self, account: Account, gid: int) -> tuple[int, ...]:
        """Return a user's supplementary groups including `gid`, as initgroups(3) would set them."""

    def group_name(self, gid: int) -> str:
        """Return the name of a group; "" if it has none."""

    def own_identity(self) -> tuple[int, tuple[int, ...]]:
        """Return the effective uid and all groups of this process."""

    def cpus(self) -> frozenset[int]:
        """Return the CPUs that are online."""

    def cgroups(self) -> Support:
        """Return what this process may do with control groups."""

    def control(self, file: str) -> str:
        """Return the path of the control socket for this main file, used if the file does not set one."""

    def is_runtime_directory(self, path: str) -> bool:
        """Tell whether pyfpm itself creates this directory at start."""

    def is_directory(self, path: str) -> bool: ...

    def real(self, path: str) -> str:
        """Resolve the symbolic links in `path`."""

    def components(self, path: str, root: str) -> tuple[PathComponent, ...]:
        """Return the components of `path`; the last has mode 0 if it does not exist or cannot be seen."""

    def interpreter(self, python: str, root: str) -> Interpreter:
        """Describe an interpreter without running it."""

    def kind(self, path: str) -> Literal["", "file", "directory", "other"]:
        """Return what exists at `path`, following links; "" if there is nothing, or nothing that can be seen."""

    def without_lists(self, directory: str) -> str:
        """Say that the file system of a directory has no access control lists; "" if it has, or is not there."""

    def opener(self, path: str, groups: tuple[int, ...] | None) -> Opener:
        """Say who opens the file of a path; `groups` are those of a pool that has a user of its own."""

    def abilities(self) -> Abilities:
        """Tell what the kernel can do to confine pools; it is asked once."""
