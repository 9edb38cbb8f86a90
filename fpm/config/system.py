"""The questions that the checks ask of the machine. `fpm.config.local_system` answers them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple, Protocol

from fpm.config.permissions import Step


class Account(NamedTuple):
    """A user of the machine; `known` is False for a number without an entry in the user database."""

    name: str
    uid: int
    gid: int
    home: str
    known: bool


class Interpreter(NamedTuple):
    """What can be told of a Python interpreter without running it."""

    version: tuple[int, int] | None
    libraries: tuple[str, ...]
    """Directories that it needs to read."""


class System(Protocol):
    """Answers about a machine. Paths below a `root` are those that a process in this chroot would use."""

    environ: Mapping[str, str]
    is_root: bool
    allow_root: bool
    own_python: str

    def user(self, text: str) -> Account | None:
        """The user of this name or number; None: there is no such name."""

    def group(self, text: str) -> int | None:
        """Number of the group of this name or number; None: there is no such name."""

    def memberships(self, account: Account, gid: int) -> tuple[int, ...]:
        """Supplementary groups of a user, `gid` included, as initgroups(3) would set them."""

    def own_identity(self) -> tuple[int, tuple[int, ...]]:
        """Effective uid and all groups of this process."""

    def control(self, file: str) -> str:
        """Path of the control socket of the daemon with this main file, if the file does not say."""

    def is_runtime_directory(self, path: str) -> bool:
        """Whether pyfpm makes this directory itself at start."""

    def is_directory(self, path: str) -> bool:
        """Whether there is a directory at `path`."""

    def real(self, path: str) -> str:
        """`path` without symbolic links."""

    def steps(self, path: str, root: str) -> tuple[Step, ...]:
        """The components on the way to `path`; ends with one of mode 0 if there is nothing."""

    def interpreter(self, python: str, root: str) -> Interpreter:
        """What can be told of an interpreter without running it."""

    def kind(self, path: str) -> Literal["", "file", "directory", "other"]:
        """What there is at `path`, links followed; "" for nothing."""
