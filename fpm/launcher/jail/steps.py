"""The steps by which a root is made, one after the other: what fpm.launcher.jail.plan says and .mounter does. Pure."""

from __future__ import annotations

from fpm.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Bind:
    """Show something of the machine, with all that is mounted below it."""

    source: str
    """As the daemon sees it."""
    target: str
    """As the pool sees it, like all targets here."""
    options: frozenset[str] = frozenset()
    """"ro", "noexec"; "dev": device files count."""
    is_theirs: bool = True
    """The path is the administrator's, through directories that may belong to the pool: opened with the pool's
    rights, so that its user cannot put a link in the way. Else it is the system's own."""
    may_lack: bool = False
    """Nothing is said where it does not exist."""


@dataclass(frozen=True, slots=True)
class Mirror:
    """Show a path of the system read-only; a symbolic link is made anew. Nothing is said where it does not exist."""

    path: str


@dataclass(frozen=True, slots=True)
class Entries:
    """Show every entry of a directory in another one, unless there is something of that name."""

    source: str
    target: str


@dataclass(frozen=True, slots=True)
class FileSystem:
    """Mount a file system that has no source: tmpfs or proc."""

    kind: str
    target: str
    options: frozenset[str] = frozenset()
    data: str = ""
    """As for mount(2)."""
    may_lack: bool = False
    """Nothing is said where the directory does not exist."""


@dataclass(frozen=True, slots=True)
class Overlay:
    """Mount an overlay."""

    lower: tuple[str, ...]
    upper: str
    """"": read-only."""
    work: str
    target: str
    options: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class TextFile:
    """Write a small file."""

    target: str
    text: str


@dataclass(frozen=True, slots=True)
class Link:
    """Make a symbolic link."""

    target: str
    text: str


@dataclass(frozen=True, slots=True)
class Directory:
    """Make a directory, and those above it; nothing if it is there."""

    target: str
    mode: int = 0o755


@dataclass(frozen=True, slots=True)
class Tree:
    """Attach what the generations of the pool share there."""

    target: str
    may_lack: bool = False
    """Nothing is said where the directory does not exist."""


Step = Bind | Mirror | Entries | FileSystem | Overlay | Tree | TextFile | Link | Directory


@dataclass(frozen=True, slots=True)
class Plan:
    """How the root of a pool is made.

    Attributes:
        base: the directory that becomes the root; "" for a new, empty file system, read-only in the end; "/" for that
            of the machine.
        options: of the base, as of `Bind`.
    """

    base: str
    steps: tuple[Step, ...]
    options: frozenset[str] = frozenset()
