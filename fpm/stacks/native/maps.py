"""What is mapped where, from the text of /proc/PID/maps (proc(5))."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

MAPPINGS_MAX = 65536
"""The kernel's default bound (vm.max_map_count)."""


@dataclass(frozen=True, slots=True)
class Mapping:
    """One line of it."""

    start: int
    end: int
    offset: int
    path: str
    """"" for memory without a file; "[stack]", "[vdso]" and the like as they are."""


class Maps:
    """All mappings of a process, in order."""

    def __init__(self, mappings: Iterable[Mapping]) -> None:
        self._all = sorted(mappings, key=lambda mapping: mapping.start)
        self._starts = [mapping.start for mapping in self._all]

    def find(self, address: int) -> Mapping | None:
        """The one that this address is in."""
        index = bisect_right(self._starts, address) - 1
        if index < 0 or address >= self._all[index].end:
            return None
        return self._all[index]

    def image_of(self, address: int) -> Mapping | None:
        """The first mapping of the program or library that this address is in: where its ELF header lies."""
        index = bisect_right(self._starts, address) - 1
        if index < 0 or address >= self._all[index].end:
            return None
        path = self._all[index].path
        while path and index >= 0 and self._all[index].path in (path, ""):
            if self._all[index].path == path and self._all[index].offset == 0:
                return self._all[index]
            index -= 1
        return None


def parse_maps(text: str) -> Maps:
    """From the file's text; lines that are none are left out."""
    return Maps(found for line in text.splitlines()[:MAPPINGS_MAX] if (found := _parse_line(line)) is not None)


def _parse_line(line: str) -> Mapping | None:
    try:
        span, _rights, offset, _device, _inode, *path = line.split(None, 5)
        start, end = (int(number, 16) for number in span.split("-"))
        return Mapping(start, end, int(offset, 16), path[0] if path else "")
    except ValueError:
        return None
