"""Looks at a machine (or the tree of one), carries out the steps of a plan there, and keeps the record of them."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterable, Iterator

from fpm.paths.files import make_directory, read_small, remove_directory, remove_file, replace_file, replace_link
from fpm.setup.items import Item, SetupError
from fpm.setup.plan import BESIDE, DIRECTORY, Record, Step, next_record

RECORD = "/var/lib/pyfpm/setup.json"
NOT_EMPTY = "it is not empty"
_FILES = os.path.join(os.path.dirname(__file__), "files")
_KINDS = ("logrotate", "man", "systemd", "tmpfiles")
_SIZE_MAX = 4 << 20
"""Bytes. A larger file is none of ours."""


def read_shipped() -> dict[str, str]:
    """Return the text of each file of the distribution that is installed, by its path in fpm/setup/files.

    Raises:
        SetupError: this installation lacks them.
    """
    texts = {}
    for kind in _KINDS:
        directory = os.path.join(_FILES, kind)
        try:
            names = [f"{kind}/{name}" for name in sorted(os.listdir(directory))]
            for name in names:
                with open(os.path.join(_FILES, name), encoding="utf-8") as file:
                    texts[name] = file.read()
        except OSError as error:
            raise SetupError(f"this installation of pyfpm is not complete: {error}; install it again") from None
    return texts


class Machine:
    """The file system below a directory, which is `/` or the tree of another machine."""

    def __init__(self, root: str) -> None:
        self._root = os.path.realpath(root)

    @property
    def is_this_one(self) -> bool:
        """Tell whether this is the machine that we run on."""
        return self._root == "/"

    def real(self, path: str) -> str:
        """Return the path by which this process reaches a path of the machine.

        Raises:
            SetupError: a symbolic link in the tree leads out of it.
        """
        if self.is_this_one:
            return path
        joined = self._root + path
        if not f"{os.path.realpath(os.path.dirname(joined))}/".startswith(f"{self._root}/"):
            raise SetupError(f"{joined}: a symbolic link leads out of {self._root}; replace it with a relative one")
        return joined

    def inner(self, path: str) -> str:
        """Return a path of this process as the machine will see it: the same, if it is not in the tree."""
        inside = path.removeprefix(self._root)
        return path if self.is_this_one or not inside.startswith("/") else inside

    def exists(self, path: str) -> bool:
        """Tell whether something is there."""
        return os.path.lexists(self.real(path))

    def load_record(self) -> Record:
        """Return what was installed before and is still there; nothing at first.

        Raises:
            SetupError: the record cannot be read.
        """
        path = self.real(RECORD)
        if not os.path.lexists(path):
            return {}
        try:
            record = json.loads(read_small(path, _SIZE_MAX))["installed"]
            return {str(path): str(mark) for path, mark in record.items() if self.exists(str(path))}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise SetupError(f"{path} cannot be read ({error}); remove it if it is damaged") from None

    def save_record(self, record: Record) -> None:
        """Keep the record; without any entry, there is none, nor its directory if that is empty."""
        path = self.real(RECORD)
        if record:
            make_directory(os.path.dirname(path), 0o755)
            replace_file(path, (json.dumps({"installed": record}, indent=1) + "\n").encode(), 0o644)
        elif os.path.lexists(path):
            remove_file(path)
            _remove_if_empty(os.path.dirname(path))

    def look(self, paths: Iterable[str]) -> dict[str, str]:
        """Return what is at these paths, in the form of the record; what is missing is left out."""
        found = {path: self._look_at(self.real(path)) for path in paths}
        return {path: mark for path, mark in found.items() if mark is not None}

    def _look_at(self, path: str) -> str | None:
        if os.path.isdir(path):
            return DIRECTORY
        if os.path.islink(path):
            return f"-> {os.readlink(path)}"
        try:
            return hashlib.sha256(read_small(path, _SIZE_MAX)).hexdigest()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise SetupError(f"{path} cannot be read: {error.strerror}") from None

    def carry_out(self, steps: list[Step], record: Record) -> Iterator[Step]:
        """Do what the steps say and keep the record, also of what was done before an error.

        Yields:
            Each step as it went: a directory that is not empty stays.

        Raises:
            SetupError: a file cannot be written.
        """
        done: list[Step] = []
        try:
            for step in steps:
                record = self._make_parents(step, record)
                result = self._apply(step)
                done.append(result)
                yield result
        except OSError as error:
            path = self.real(steps[len(done)].path)
            raise SetupError(f"{path}: {error.strerror}") from None
        finally:
            self.save_record(next_record(record, done))

    def _make_parents(self, step: Step, record: Record) -> Record:
        """Make the directories that a new thing needs; those that nobody else had are ours to remove."""
        made, path = dict(record), os.path.dirname(step.path)
        while step.action in ("create", "beside") and not self.exists(path):
            made[path] = DIRECTORY
            path = os.path.dirname(path)
        if made != record:
            make_directory(self.real(os.path.dirname(step.path)), 0o755)
        return made

    def _apply(self, step: Step) -> Step:
        path = self.real(step.path)
        if step.action in ("create", "update") and step.item is not None:
            _make(path, step.item)
        elif step.action == "beside" and step.item is not None:
            _make(f"{path}{BESIDE}", step.item)
        elif step.action == "remove" and not os.path.isdir(path):
            remove_file(path)
        elif step.action == "remove" and not _remove_if_empty(path):
            return Step("leave", step.path, note=NOT_EMPTY, is_directory=True)
        return step


def _make(path: str, item: Item) -> None:
    if item.text is not None:
        replace_file(path, item.text.encode(), item.mode)
    elif item.target is not None:
        replace_link(path, item.target)
    else:
        make_directory(path, item.mode)


def _remove_if_empty(path: str) -> bool:
    try:
        remove_directory(path)
    except OSError as error:
        # ENOTDIR: the administrator has put a symbolic link to a directory there. EBUSY: it is a mount point.
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR, errno.EBUSY):
            return False
        raise
    return True
