"""The rules of `mount[]`: what a line shows is there, and so is the place where it is shown. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from fpm.config.check_jail import root_of
from fpm.config.section import Diagnostics, Section, SourceLocation
from fpm.config.system import System
from fpm.protocol.mounts import TEMPORARY, MountLine, lies_in, parse_mount

MADE_IN_A_ROOTFS = ("/dev", "/proc")


def check_mounts(pool: Section, system: System, report: Diagnostics) -> None:
    """Check the lines on this machine; the launcher looks again, as the pool's user."""
    if not pool.is_valid("mount", "rootfs", "chroot", "namespaces"):
        return
    lines = [parse_mount(text) for text in pool.values["mount"]]
    places = [setting.location for setting in pool.keyed.get("mount", {}).values()]
    made = list(_made_anew(pool))
    for number, line in enumerate(lines):
        sentence = _lacking_source(line, system) or _unfit_target(pool, line, system, made)
        if sentence:
            location: SourceLocation | None = places[number] if number < len(places) else None
            report.add_obstacle(pool, "mount", sentence, location)
        made.append(line.target)


def _lacking_source(line: MountLine, system: System) -> str:
    what = {path: "upperdir" if path == line.value("upperdir") else "workdir" for path in _writable(line)}
    for path in (*line.sources, *what):
        if not system.kind(path):
            role = what.get(path, "the source")
            return f"there is no '{path}' ({role} of {line.kind} {line.target}). Create it, or correct the path"
    return ""


def _writable(line: MountLine) -> Iterable[str]:
    return filter(None, (line.value("upperdir"), line.value("workdir")))


def _made_anew(pool: Section) -> Iterable[str]:
    """Yield the directories in which a missing target is made, or where only the start can tell."""
    if pool.values["chroot.automount"]:
        yield "/"
    if pool.values["rootfs"]:
        yield from MADE_IN_A_ROOTFS
    if pool.values["private_tmp"]:
        yield from TEMPORARY


def _unfit_target(pool: Section, line: MountLine, system: System, made: Iterable[str]) -> str:
    if lies_in(line.target, made):
        return ""
    last = system.components(line.target, root_of(pool))[-1]
    if not last.mode:
        return f"there is no {line.target} to mount on ({last.path} is missing). Create it, empty, or correct the path"
    return ""
