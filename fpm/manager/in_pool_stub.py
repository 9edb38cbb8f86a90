"""What stands for Manager, Pool and Settings in the processes of a pool. Pure.

One file may hold an application and the program that manages it. A pool imports the file for the application, and has
nothing of what a manager needs.
"""

from __future__ import annotations

from typing import Any, NoReturn


class Absent:
    """It can be made, so that a module may do so, and cannot be used."""

    def __init__(self, *positional: Any, **keywords: Any) -> None:
        pass

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)  # what copy, pickle and inspect look for
        _refuse()

    def __enter__(self) -> NoReturn:
        _refuse()

    def __exit__(self, *error: object) -> None:
        pass


def _refuse() -> NoReturn:
    raise RuntimeError(
        "a manager cannot be used in a process of a pool. If this file holds the application, too, put what starts "
        'the manager below `if __name__ == "__main__":`'
    )
