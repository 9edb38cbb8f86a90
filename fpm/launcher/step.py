"""One step on the way from root to the application: whatever fails is named. Pure."""

from __future__ import annotations

from collections.abc import Callable


def step(name: str, action: Callable[[], None]) -> None:
    """Do something that needs a right, or a feature of the kernel.

    Args:
        name: what the administrator has asked for, as in "chdir = /srv/shop".

    Raises:
        OSError: it failed; `filename` is the name of the step.
    """
    try:
        action()
    except ValueError as error:  # resource.setrlimit raises it for a limit above the hard one
        raise OSError(0, str(error), name) from error
    except OSError as error:
        raise OSError(error.errno, error.strerror, name) from error
