"""What becomes of each thing: made, updated, kept, removed; nothing that the administrator has changed is lost. Pure.

As dpkg does with configuration files, a record remembers which version of each file was installed or offered last.
A file that still is that version is ours to replace; any other is the administrator's, and a new version is written
beside it, with a suffix that logrotate, systemd and dpkg ignore.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from fpm.frozen import dataclass
from fpm.setup.items import Item

BESIDE = ".dpkg-dist"
DIRECTORY = "directory"
Record = dict[str, str]
"""Path -> what was installed there: a digest, `-> TARGET` for a link, `directory` for one that was made."""


@dataclass(frozen=True, slots=True)
class Step:
    """What is done about one path."""

    action: str
    """create, update, keep, beside (a new version is written beside it), remove, leave, refuse"""
    path: str
    item: Item | None = None
    note: str = ""
    is_directory: bool = False

    @property
    def changes(self) -> bool:
        """Tell whether something on the disk becomes different."""
        return self.action in ("create", "update", "beside", "remove")


def digest(item: Item) -> str:
    """Return the mark of a thing, as it stands in the record and as the disk is described."""
    if item.text is not None:
        return hashlib.sha256(item.text.encode()).hexdigest()
    return DIRECTORY if item.target is None else f"-> {item.target}"


def plan_setup(items: list[Item], found: Mapping[str, str], record: Record) -> list[Step]:
    """Return the steps of an installation or an update.

    Args:
        found: what is on the disk at these and the recorded paths, in the form of the record; missing: nothing.
    """
    wanted = {item.path: digest(item) for item in items}
    changed = {f"{path}{BESIDE}" for path, new in wanted.items() if found.get(path) != new}
    gone = [path for path in record if path not in wanted and record[path] != DIRECTORY and path not in changed]
    return [_step(item, found.get(item.path), record.get(item.path)) for item in items] + [
        _removal(path, found[path], record[path]) for path in gone if path in found
    ]


def _step(item: Item, there: str | None, recorded: str | None) -> Step:
    new = digest(item)
    if there is None:
        return Step("create", item.path, item, is_directory=new == DIRECTORY)
    if there == new:
        return Step("keep", item.path, item, is_directory=new == DIRECTORY)
    if new == DIRECTORY or there == DIRECTORY:
        what = "a directory" if there == DIRECTORY else "not a directory"
        return Step("refuse", item.path, item, f"it is {what}; move it away")
    if there == recorded:
        return Step("update", item.path, item)
    if item.target is not None:
        return Step("leave", item.path, item, f"it is not a link to {item.target}; it stays as it is")
    if new == recorded:
        return Step("keep", item.path, item, "changed on this machine")
    return Step("beside", item.path, item, f"changed on this machine; the new version is in {item.path}{BESIDE}")


def plan_removal(found: Mapping[str, str], record: Record) -> list[Step]:
    """Return the steps that take away what was installed: files first, then directories, the deepest first."""
    paths = sorted(record, key=lambda path: (record[path] == DIRECTORY, -path.count("/"), path))
    return [_removal(path, found[path], record[path]) for path in paths if path in found]


def _removal(path: str, there: str, recorded: str) -> Step:
    if there == recorded:
        return Step("remove", path, is_directory=there == DIRECTORY)
    return Step("leave", path, note="changed on this machine; it stays")


def next_record(record: Record, done: list[Step]) -> Record:
    """Return the record after these steps. A directory that was there before is not ours to remove."""
    new = dict(record)
    for step in done:
        if step.action in ("remove", "leave") and step.item is None:
            new.pop(step.path, None)
        elif step.item is None or step.action in ("leave", "refuse"):
            continue
        elif digest(step.item) != DIRECTORY or step.action == "create":
            new[step.path] = digest(step.item)
        if step.action == "beside" and step.item is not None:
            new[f"{step.path}{BESIDE}"] = digest(step.item)
    return new
