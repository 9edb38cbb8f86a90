"""Follows a path as the kernel does, and says what is on the way. Nothing is changed, only read."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from fpm.config.permissions import PathComponent
from fpm.paths.access_lists import ATTRIBUTE, unpack_list

_LINKS_MAX = 40
"""Symbolic links on one path, as in the kernel (MAXSYMLINKS)."""


def walk_path(path: str, root: str) -> Iterator[PathComponent]:
    """Yield the components of `path` as path_resolution(7) meets them; symbolic links are followed inside `root`."""
    todo = [part for part in path.split("/") if part][::-1]
    here: list[str] = []
    try:
        yield _component("/", root, os.lstat(root or "/"))
    except OSError:
        yield PathComponent(root or "/", 0, 0, 0, False)
        return
    links = 0
    while todo:
        part = todo.pop()
        if part in (".", ".."):
            here = here[:-1] if part == ".." else here
            continue
        shown = "/" + "/".join([*here, part])
        try:
            found = os.lstat(root + shown)
            target = os.readlink(root + shown) if stat.S_ISLNK(found.st_mode) else ""
        except (OSError, ValueError):
            yield PathComponent(root + shown, 0, 0, 0, False)
            return
        if not target:
            here.append(part)
            yield _component(shown, root, found)
            continue
        links += 1
        if links > _LINKS_MAX:
            yield PathComponent(root + shown, 0, 0, 0, False)
            return
        here = [] if target.startswith("/") else here
        todo.extend([part for part in target.split("/") if part][::-1])


def _component(shown: str, root: str, found: os.stat_result) -> PathComponent:
    path = root + shown if shown != "/" else root or "/"
    try:
        has_acl = ATTRIBUTE in os.listxattr(path)
        acl = unpack_list(os.getxattr(path, ATTRIBUTE)) if has_acl else None
    except OSError:
        has_acl, acl = False, None
    return PathComponent(path, found.st_mode, found.st_uid, found.st_gid, has_acl, acl)
