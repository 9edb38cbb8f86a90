"""From the launcher, or from a template that must not preload, to a new template: exec(2) of the pool's interpreter."""

from __future__ import annotations

import os
from typing import NoReturn

from fpm.protocol.spec import BOOT_COMMAND, FD_FIRST_FREE, TEMPLATE, TemplateSpec


def execute_template(spec: TemplateSpec, *arguments: str) -> NoReturn:
    """Replace this process by the pool's interpreter, with the descriptors of fpm.protocol.spec and no others.

    Raises:
        OSError: the interpreter cannot be executed.
    """
    for fd in range(FD_FIRST_FREE):
        os.set_inheritable(fd, True)
    # -P: neither the directory of a script nor "" comes first on sys.path; what comes there is the pool's decision.
    command = [spec.python, "-P", *spec.python_arguments, "-c", BOOT_COMMAND, TEMPLATE, *arguments, spec.pool]
    os.execve(spec.python, command, spec.environ)
