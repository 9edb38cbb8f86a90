"""The command by which pyfpm executes its own modules, isolated from its caller.

Python takes modules from the directory it is started in and from what PYTHON* variables name, also those that its own
library imports, and runs a sitecustomize.py found there. A process of root must not do that. Others start `pyfpm`
itself; it executes itself again by this command if such a variable is set (fpm.__main__). This module imports only what
cannot come from another user.
"""

import os
import sys

_BOOT = """
import runpy, sys
root, *others = {path!r}
if root not in sys.path:
    sys.path.insert(0, root)
    import fpm
    del sys.path[0]
sys.path += [path for path in (root, *others) if path not in sys.path]
{before}
runpy.run_module({module!r}, run_name="__main__", alter_sys=True)
"""


def own_python() -> str:
    """Return the interpreter that runs this program; Python does not know it if it was found without a PATH."""
    return sys.executable or os.readlink("/proc/self/exe")


def own_command(module: str, *arguments: str, before: str = "") -> list[str]:
    """Return the command that runs a module of this installation isolated (-I), wherever fpm was imported from.

    The interpreter's own modules come first; then the directory of fpm (which may be in the user's site-packages or on
    PYTHONPATH, both ignored by -I) and the rest of this process's module path.

    Args:
        before: a statement to execute first.
    """
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    others = sys.path if sys.flags.safe_path else sys.path[1:]  # the first is the caller's directory, or the script's
    path = [root, *filter(os.path.isabs, others)]
    return [own_python(), "-I", "-c", _BOOT.format(path=path, before=before, module=module), *arguments]


def helper_command(module: str, *arguments: str) -> list[str]:
    """Return the same command for a helper, whose working directory is the root directory."""
    return own_command(module, *arguments, before="import os; os.chdir('/')")


def helper_environ() -> dict[str, str]:
    """Return a helper's whole environment. Without a locale Python uses UTF-8."""
    return {name: os.environ[name] for name in ("PATH", "TZ") if name in os.environ}
