"""`python -m fpm.cgroups.write_memory DIRECTORY FILE=TEXT ...`: writes the memory limits of a group that is in use.

The kernel first reclaims what is above a limit, and may have to kill for it: the master does not wait for that. The
exit status is 1 if a limit is refused, with the reason on standard output.
"""

from __future__ import annotations

import sys

from fpm.cgroups.files import opened, write_file


def main(arguments: list[str]) -> int:
    """Write the files in their order; return the exit status."""
    directory, *pairs = arguments
    try:
        with opened(directory) as group:
            for pair in pairs:
                file, _, text = pair.partition("=")
                write_file(group, file, text)
    except OSError as error:
        sys.stdout.write(f"{error.strerror} ({error.filename or directory})\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
