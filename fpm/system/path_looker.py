"""`python -m fpm.system.path_looker`: looks at paths, one after another, and may hang at one of them.

Descriptor 0 has a JSON list of paths; into descriptor 3 goes the index of the path that is being looked at. The master
sees there which one hangs, and kills this process.
"""

from __future__ import annotations

import json
import os
import sys

from fpm.system.proctitle import set_title

FD_PATHS = 0
FD_INDEX = 3
INDEX_SIZE = 8


def look(paths: list[str], fd: int) -> None:
    """Follow each path to its end; whether there is something does not matter here."""
    for index, path in enumerate(paths):
        os.pwrite(fd, index.to_bytes(INDEX_SIZE, "little"), 0)
        try:
            os.stat(os.path.realpath(path))
        except (OSError, ValueError):
            continue


def main() -> int:
    """Look; returns the exit status."""
    set_title("pyfpm: path looker")
    look(json.loads(os.pread(FD_PATHS, os.fstat(FD_PATHS).st_size, 0)), FD_INDEX)
    return 0


if __name__ == "__main__":
    sys.exit(main())
