"""`pyfpm`, and `python -m fpm`.

Modules from an administrator's environment or directory must not stay in the daemon, which runs as root. With `python
-m fpm`, or if a PYTHON* variable is set, the command executes itself again without them. The interpreter has already
used them by then, before our first line: where that matters, call the installed script without such variables.
"""

import os
import sys

from fpm.system.own_command import own_command


def main() -> None:
    """Run the command line, in an interpreter isolated from its caller."""
    if not sys.flags.isolated and (__name__ == "__main__" or any(name.startswith("PYTHON") for name in os.environ)):
        command = own_command("fpm", *sys.argv[1:])
        os.execv(command[0], command)
    try:
        from fpm.system.streams import open_missing_streams

        open_missing_streams()  # before anything is opened that would take their numbers
        from fpm.cli.main import main as run
    except KeyboardInterrupt:  # Ctrl-C in the first moment ends it as quietly as later
        sys.exit(1)
    run()


if __name__ == "__main__":
    main()
