"""The commands that mend something, as a shell takes them. Pure."""

from __future__ import annotations

import shlex

from fpm.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Shell:
    """What commands are made of here."""

    pyfpm: str
    """The command with its options, as in "pyfpm -c FILE"; shell text."""
    has_setfacl: bool = False
    """setfacl(1) is installed."""

    def reload(self, pool: str) -> str:
        """Give one pool its new configuration."""
        return f"{self.pyfpm} reload {shlex.quote(pool)}"

    def let_search(self, directory: str, user: str, *, owner: str, has_lists: bool) -> str:
        """Let a user search a directory; by name where there are access control lists and the tool for them.

        Its owner does it: he may have put a link to something else in its place.

        Args:
            owner: his name; "" for root.
        """
        if has_lists and self.has_setfacl:
            return as_user(owner, "setfacl", "-m", f"u:{user}:x", directory)
        return as_user(owner, "chmod", "o+x", directory)


def join(*words: str) -> str:
    """Write words as a command."""
    return shlex.join(words)


def write_file(path: str, *lines: str) -> str:
    """Write lines into a file, whose directory is made."""
    directory = path.rpartition("/")[0]
    text = join("printf", r"%s\n", *lines)
    return f"{join('mkdir', '-p', directory)} && {text} > {shlex.quote(path)}"


def as_user(user: str, *words: str) -> str:
    """Write a command that another user executes; "": whoever has the shell."""
    return join(*(("runuser", "-u", user, "--") if user else ()), *words)
