"""Checks the files of a plan as `pyfpm test` would, and writes them. Nothing is overwritten unless it is asked for."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from fpm.config.load import load
from fpm.errors import EXIT_FAILED, ConfigError, FpmError
from fpm.frozen import dataclass
from fpm.init.plan import LOG_DIRECTORY
from fpm.paths.files import make_directory, replace_file

FILE_MODE = 0o644
_REMEDIES = {
    errno.EACCES: "run the command as root (sudo), or write into a directory of yours by --output",
    errno.EROFS: "the file system is read-only, choose another directory by --output",
    errno.ENOSPC: "free some space on the file system",
    errno.ELOOP: "root writes only where nobody else can: choose another directory by --output",
}


class InitError(FpmError):
    """A file exists already, or cannot be written."""

    exit_status = EXIT_FAILED


@dataclass(frozen=True, slots=True)
class Main:
    """The main configuration file of the daemon that is to have the pool."""

    path: str
    """Absolute; it need not be there yet."""
    prefix: str | None
    allow_root: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """What `pyfpm test` would say of a pool file."""

    errors: tuple[str, ...]
    """In the file itself."""
    obstacles: tuple[str, ...]
    """What the pool lacks on this machine."""
    others: tuple[str, ...]
    """Errors in other files of the configuration."""


def check_pool(text: str, path: str, name: str, main: Main, *, alone: bool) -> Verdict:
    """Check the text of a pool file together with the configuration that is there, before it is written.

    Args:
        path: where the text will be.
        alone: without the other files: one of them is to be replaced by the text.
    """
    base = main.prefix or os.path.dirname(main.path)
    with _in_memory("pool", text) as draft:
        others = "" if alone or not os.path.exists(main.path) else f"include = {main.path}\n"
        with _in_memory("main", f"[global]\n{others}include = {draft}\n") as whole:
            try:
                config = load(
                    whole,
                    prefix=base if os.path.isdir(base) else "/",
                    environ=os.environ,
                    is_root=os.geteuid() == 0,
                    allow_root=main.allow_root,
                )
            except ConfigError as error:
                lines = [line.replace(draft, path).replace(whole, main.path) for line in error.complaints]
                ours = tuple(line for line in lines if line.startswith(path))
                return Verdict(ours, (), tuple(line for line in lines if line not in ours))
            found = tuple(line.replace(draft, path) for line in config.obstacles.get(name, ()))
            return Verdict((), found, ())


@contextmanager
def _in_memory(name: str, text: str) -> Iterator[str]:
    """Yield the path of a file that exists in memory only; by its name a file that includes itself is known."""
    fd = os.memfd_create(f"pyfpm-init-{name}", os.MFD_CLOEXEC)
    try:
        with open(fd, "w", closefd=False) as file:
            file.write(text)
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)


def refuse_existing(paths: Mapping[str, str]) -> None:
    """Refuse to overwrite anything.

    Args:
        paths: texts by the paths to which they go.

    Raises:
        InitError: names what is there.
    """
    there = [path for path in paths if os.path.lexists(path)]
    if there:
        verb, them = ("exist", "them") if len(there) > 1 else ("exists", "it")
        raise InitError(
            f"{' and '.join(there)} {verb} already. Look at {them}, and add --force to overwrite {them}, or choose "
            "another name; nothing has been written"
        )


def has_logs() -> bool:
    """Tell whether the directory of logs is there."""
    return os.path.isdir(LOG_DIRECTORY)


def make_logs() -> None:
    """Make the directory of logs.

    Raises:
        InitError: it cannot be made.
    """
    try:
        make_directory(LOG_DIRECTORY, 0o755)
    except OSError as error:
        raise InitError(f"{LOG_DIRECTORY} cannot be made: {error.strerror}. Run pyfpm setup first") from None


def write_files(texts: Mapping[str, str]) -> None:
    """Write all files, making their directories.

    Args:
        texts: by absolute path.

    Raises:
        InitError: one cannot be written.
    """
    for path, text in texts.items():
        try:
            make_directory(os.path.dirname(path), 0o755)
            replace_file(path, text.encode(), FILE_MODE)
        except OSError as error:
            remedy = _REMEDIES.get(error.errno or 0, "choose another directory by --output")
            raise InitError(f"{path} cannot be written: {error.strerror}; {remedy}") from None
