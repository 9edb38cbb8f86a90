"""What the processes of a pool may ask of the kernel: the last steps, after which nothing of this can be undone."""

from __future__ import annotations

import os
from collections.abc import Callable

from fpm.launcher.step import step
from fpm.protocol.spec import TemplateSpec
from fpm.system.prctl import PR_SET_NO_NEW_PRIVS, load_prctl


def prepare_restrictions(spec: TemplateSpec) -> Callable[[], None]:
    """Load what is needed while the files of pyfpm can still be seen; nothing is restricted yet.

    Returns:
        What applies the restrictions, in the jail and as the pool's user. It raises OSError; `filename` is the step.
    """
    prctl = load_prctl()

    def restrict() -> None:
        if spec.umask is not None:
            os.umask(spec.umask)
        if spec.no_new_privs:
            step("no_new_privs", lambda: prctl(PR_SET_NO_NEW_PRIVS, 1))

    return restrict
