"""What a line of `mount[]` says; the configuration's check and the launcher read it alike. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from fpm.frozen import dataclass

TEMPORARY = ("/tmp", "/var/tmp")
"""The directories that a pool with `private_tmp` has to itself."""
FLAGS = frozenset({"ro", "rw", "noexec"})
"""Options of every type. Set-user-ID bits and devices count in none of them."""
_SIZE = r"[0-9]{1,15}[kKmMgG%]?"
_VALUES = {
    "bind": {},
    "tmpfs": {"size": _SIZE, "nr_inodes": r"[0-9]{1,12}[kKmMgG]?", "mode": "[0-7]{3,4}"},
    "proc": {"hidepid": "[0-2]|off|noaccess|invisible|ptraceable", "subset": "pid"},
    "overlay": {"upperdir": "/.*", "workdir": "/.*"},
}
"""For each type the options that have a value, and what it must look like."""
SOURCELESS = frozenset({"tmpfs", "proc"})
"""Their source means nothing, and may be left out, or be any word, as in mount(8)."""


def lies_in(path: str, directories: Iterable[str]) -> bool:
    """Tell whether a path is one of these directories or below one; "/" has all."""
    return any(f"{path.rstrip('/')}/".startswith(f"{one.rstrip('/')}/") for one in directories)


class InvalidMount(ValueError):
    """A line cannot be understood; the text is the sentence for the user."""


@dataclass(frozen=True, slots=True)
class MountLine:
    """One file system that a pool has to itself."""

    kind: str
    sources: tuple[str, ...]
    """Absolute paths as the daemon sees them: one for bind, the lower directories of an overlay, else none."""
    target: str
    """Absolute, as the pool sees it."""
    flags: frozenset[str]
    values: tuple[tuple[str, str], ...]
    """Options with a value."""

    def value(self, name: str) -> str:
        """Return the value of an option; "" if it is not set."""
        return dict(self.values).get(name, "")


def parse_mount(text: str) -> MountLine:
    """Read a line.

    Args:
        text: type, source, target and options, as in "tmpfs /srv/shop/cache size=64M,noexec".

    Raises:
        InvalidMount: says what was expected.
    """
    kind, *words = text.split() or [""]
    if kind not in _VALUES:
        raise InvalidMount(f"expected bind, tmpfs, proc or overlay first, found '{kind}'")
    sources: tuple[str, ...] = ()
    if kind in SOURCELESS:
        if words[:1] and (not words[0].startswith("/") or (words[1:2] and words[1].startswith("/"))):
            del words[0]
    else:
        source = words.pop(0) if words else ""
        sources = tuple(source.split(":")) if kind == "overlay" else (source,)
        if not all(one.startswith("/") for one in sources):
            raise InvalidMount(f"expected an absolute path after {kind}, as in {kind} /srv/data /data, found '{text}'")
    target = words.pop(0) if words else ""
    if not target.startswith("/") or ".." in target.split("/"):
        raise InvalidMount(f"expected where the pool sees it, an absolute path without '..', found '{target or text}'")
    if not target.strip("/"):
        raise InvalidMount(f"{kind} cannot be shown at /, the root itself. For another root use rootfs = DIRECTORY")
    flags, values = _options(kind, [option for word in words for option in word.split(",") if option])
    if kind == "overlay" and ("upperdir" in values) != ("workdir" in values):
        raise InvalidMount("upperdir and workdir need each other. Set both, or none for an overlay that is read-only")
    if kind == "overlay" and len(sources) < 2 and "upperdir" not in values:
        raise InvalidMount(
            f"an overlay of one directory needs upperdir= and workdir=, or use: bind {sources[0]} {target} ro"
        )
    return MountLine(kind, sources, target, flags, tuple(values.items()))


def _options(kind: str, options: Iterable[str]) -> tuple[frozenset[str], dict[str, str]]:
    flags, values = set(), {}
    known = _VALUES[kind]
    for option in options:
        name, equals, value = option.partition("=")
        if not equals and name in FLAGS:
            flags.add(name)
        elif equals and name in known and re.fullmatch(known[name], value):
            values[name] = value
        elif name in ("nosuid", "nodev") and not equals:
            continue  # always so
        else:
            expected = ", ".join([*sorted(FLAGS), *(f"{one}=" for one in sorted(known))])
            raise InvalidMount(f"'{option}' is no option of {kind} here. Expected some of: {expected}")
    return frozenset(flags), values
