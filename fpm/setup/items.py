"""What `pyfpm setup` puts on a machine, and where each thing belongs. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from fpm.config.sample import main_sample, pool_sample
from fpm.errors import FpmError
from fpm.frozen import dataclass

PLACEHOLDER = "/opt/pyfpm/bin/pyfpm"
"""The command in the files of contrib/, which stand for an installation at the recommended place."""
_ADMINISTRATORS_UNITS = "/etc/systemd/system"
_PLAIN_PATH = re.compile(r"/[A-Za-z0-9_./+@=,:~-]+")
_COMPLETIONS = {
    "bash": "bash-completion/completions/pyfpm",
    "zsh": "zsh/site-functions/_pyfpm",
    "fish": "fish/vendor_completions.d/pyfpm.fish",
}


class SetupError(FpmError):
    """The machine cannot be set up in this way."""

    exit_status = 1


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that must be on the machine."""

    path: str
    text: str | None = None
    """Of a file."""
    target: str | None = None
    """Of a symbolic link. With neither it is a directory."""
    mode: int = 0o644


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things go.

    Args:
        command: the path of this installation's `pyfpm`, as the machine will see it.
        usr: the directory with share/, lib/ and sbin/.
        is_image: it is the tree of another machine, where nothing in /run would last.
    """

    command: str
    usr: str = "/usr/local"
    is_image: bool = False


def list_items(layout: Layout, shipped: Mapping[str, str], completions: Mapping[str, str]) -> list[Item]:
    """Return everything that must be on the machine, directories before what lies in them.

    Args:
        shipped: text of each file of the distribution, by its path in fpm/setup/files.
        completions: script for each shell.

    Raises:
        SetupError: systemd would not take the path of the command.
    """
    if not _PLAIN_PATH.fullmatch(layout.command):
        raise SetupError(f"systemd does not take {layout.command!r} as it is: install pyfpm at a path without spaces")
    share = f"{layout.usr}/share"
    return [
        *_directories(layout),
        Item("/etc/pyfpm/pyfpm.conf", main_sample()),
        Item("/etc/pyfpm/pools.d/www.conf.sample", pool_sample()),
        *(_file(layout, shipped, name) for name in sorted(shipped)),
        *(Item(f"{share}/{_COMPLETIONS[shell]}", text) for shell, text in sorted(completions.items())),
        *_link(layout),
    ]


def _directories(layout: Layout) -> list[Item]:
    paths = ["/etc/pyfpm", "/etc/pyfpm/pools.d", "/var/log/pyfpm", *([] if layout.is_image else ["/run/pyfpm"])]
    return [Item(path, mode=0o755) for path in paths]


def _file(layout: Layout, shipped: Mapping[str, str], name: str) -> Item:
    kind, _, base = name.partition("/")
    text = shipped[name]
    if kind == "man":
        return Item(f"{layout.usr}/share/man/man{base[-1]}/{base}", text)
    if kind == "logrotate":
        return Item(f"/etc/logrotate.d/{base}", text)
    if kind == "tmpfiles":
        return Item(f"{layout.usr}/lib/tmpfiles.d/{base}", text)
    return Item(f"{layout.usr}/lib/systemd/system/{base}", text.replace(PLACEHOLDER, layout.command))


def _link(layout: Layout) -> list[Item]:
    """Have the command in the administrator's PATH, unless it is there already."""
    is_there = layout.command in (f"{layout.usr}/{directory}/pyfpm" for directory in ("bin", "sbin"))
    return [] if is_there else [Item(f"{layout.usr}/sbin/pyfpm", target=layout.command)]


def find_shadow(path: str) -> str | None:
    """Return the path of an administrator's unit that would take precedence over one of ours."""
    directory, _, name = path.rpartition("/")
    return f"{_ADMINISTRATORS_UNITS}/{name}" if directory.endswith("/systemd/system") else None
