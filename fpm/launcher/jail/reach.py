"""Opens a path whose directories may belong to a pool's user.

He can put a symbolic link in the way. One that leads to what is his own shows nothing that he had not; one that leads
to anything else would show a jailed pool the root of the machine, or have something mounted upon it.
"""

from __future__ import annotations

import errno
import os
import stat

from fpm.paths.place import LINKS_MAX, PINNED


def reach(path: str) -> int:
    """Return a descriptor (O_PATH) of what an absolute path leads to.

    Raises:
        OSError: it does not exist or cannot be reached; or a link on the way, which is not root's, leads to something
            that does not belong to the one who made the link.
    """
    walk = _Walk(path)
    try:
        walk.go()
        walk.refuse_foreign()
    except BaseException:
        os.close(walk.fd)
        raise
    return walk.fd


class _Walk:
    """One way, by descriptors from the root."""

    def __init__(self, path: str) -> None:
        self._todo = path.split("/")[::-1]
        self._links = 0
        self._makers: set[int] = set()
        """Users other than root who have made a link that was followed."""
        self.fd = os.open("/", PINNED)

    def go(self) -> None:
        """Walk to the end."""
        while self._todo:
            name = self._todo.pop()
            if name not in ("", "."):
                self._enter(name)

    def _enter(self, name: str) -> None:
        following = os.open(name, PINNED, dir_fd=self.fd)
        found = os.fstat(following)
        if not stat.S_ISLNK(found.st_mode):
            os.close(self.fd)
            self.fd = following
            return
        text = os.readlink("", dir_fd=following)
        os.close(following)
        self._links += 1
        if self._links > LINKS_MAX:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        if found.st_uid != 0:
            self._makers.add(found.st_uid)
        if text.startswith("/"):
            os.close(self.fd)
            self.fd = os.open("/", PINNED)
        self._todo += text.split("/")[::-1]

    def refuse_foreign(self) -> None:
        """Raise OSError if a link leads to what its maker does not own."""
        owner = os.fstat(self.fd).st_uid
        for maker in self._makers - {owner}:
            sentence = (
                f"a symbolic link of uid {maker} leads to something of uid {owner}; name the directory itself, or have "
                f"root make the link"
            )
            raise OSError(errno.ELOOP, sentence)
