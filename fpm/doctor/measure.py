"""`python -m fpm.doctor.measure PID...`: the memory of processes. One line of JSON for each that can be looked at.

A process of its own: the kernel answers only when the looked-at process does not hold its memory map (proc(5)).
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path


def main(arguments: list[str]) -> int:
    """Look at each; return the exit status."""
    for pid in arguments:
        try:
            found = read_process(int(pid))
        except (OSError, ValueError):
            continue  # it is gone, or another user's
        os.write(1, json.dumps(found).encode() + b"\n")
    return 0


def read_process(pid: int) -> dict[str, int]:
    """Read what one process has to itself (private), its part of what it shares (pss), and how many descriptors.

    Raises:
        OSError: it cannot be looked at.
    """
    sizes: dict[str, int] = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, _, rest = line.partition(":")
        sizes[name] = int(rest.split()[0]) * 1024
    private = sizes["Private_Clean"] + sizes["Private_Dirty"]
    parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return {
        "pid": pid,
        "private": private,
        "pss": sizes["Pss"],
        "descriptors": len(os.listdir(f"/proc/{pid}/fd")),
        "parent": parent,
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
