"""`pyfpm`, and `python -m fpm`.

What an administrator's environment or directory brings in must not stay: the daemon would have it for good, as root.
With `python -m fpm`, or if a PYTHON* variable is set, the command executes itself anew without them. The interpreter
has heeded them by then, before the first line of ours: where that matters, call the installed script, without them.
"""

import os
import sys

from fpm.system.own_command import own_command


def main() -> None:
    """Run the command line, in an interpreter that listens to nobody."""
    if not sys.flags.isolated and (__name__ == "__main__" or any(name.startswith("PYTHON") for name in os.environ)):
        command = own_command("fpm", *sys.argv[1:])
        os.execv(command[0], command)
    from fpm.cli.main import main as run

    run()


if __name__ == "__main__":
    main()
