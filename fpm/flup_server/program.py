"""Describes the running program as a value of the directive `app`, so that a pool can start it again. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from posixpath import basename, isabs, join, normpath
from types import ModuleType

from fpm.errors import StartError


def describe_program(main: ModuleType, arguments: Sequence[str], directory: str) -> str:
    """Compose `script:` and the command.

    Args:
        main: the module `__main__`.
        arguments: sys.argv.
        directory: where the program was started.

    Raises:
        StartError: there is no file to run again.
    """
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name != "__main__":
        words = ["-m", spec.name.removesuffix(".__main__"), *arguments[1:]]
        return f"script:{shlex.join(words)}"
    # A directory or an archive with a __main__.py is what stands in the command line.
    file = arguments[0] if spec is not None else getattr(main, "__file__", None)
    if not file or file.startswith("<"):
        raise StartError(
            "WSGIServer.run() must be called by a program that lies in a file: the workers are made by running the "
            "program again, which is not possible for `python -c` or what is typed at a prompt. Write it to a file and "
            "run that, or run a module with `python -m`"
        )
    path = file if isabs(file) else join(directory, file)
    return f"script:{shlex.join([normpath(path), *arguments[1:]])}"


def first_arguments(arguments: Sequence[str], original: Sequence[str]) -> list[str]:
    """Restore sys.argv as it was before the program removed its options.

    Args:
        arguments: sys.argv.
        original: sys.orig_argv.
    """
    program = arguments[0]
    return list(original[original.index(program, 1) :]) if program in original[1:] else list(arguments)


def name_pool(app: str) -> str:
    """Derive a short name for the pool, which the process list and the log show."""
    words = shlex.split(app.removeprefix("script:"))
    name = words[1].rpartition(".")[2] if words[0] == "-m" else basename(words[0]).partition(".")[0]
    name = re.sub(r"[^A-Za-z0-9_-]", "", name)[:40]
    return name if name[:1].isalpha() and name != "global" else f"app{name}"
