"""What one master hands to the next across exec(2): the running pools as JSON, and descriptors that stay open.

Each object describes itself (`dump`) and is made anew from that (`restore`); states are written by name. Times are
monotonic and hold across exec.
"""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Mapping
from typing import Any

from fpm.config.model import Config
from fpm.errors import StartError
from fpm.master.processes.bundle import sealed_memfd
from fpm.scoreboard.layout import SLOT_SIZE

VERSION = 5
"""Raised when the description changes in a way that an older or newer program cannot read."""
VARIABLE = "PYFPM_HANDOVER"
"""The environment variable that names the descriptor of the description."""


def pack(state: Mapping[str, Any]) -> int:
    """The description in a sealed memfd; the caller closes it."""
    return sealed_memfd("pyfpm-handover", json.dumps({"version": VERSION, "slot_size": SLOT_SIZE, **state}).encode())


def unpack(fd: int) -> dict[str, Any]:
    """The description behind a descriptor.

    Raises:
        StartError: it is not one that this program understands.
    """
    try:
        state = json.loads(os.pread(fd, os.fstat(fd).st_size, 0))
    except (OSError, ValueError, RecursionError) as error:
        raise StartError(f"the state handed over by the old master cannot be read: {error}") from error
    if not isinstance(state, dict) or state.get("version") != VERSION:
        found = state.get("version") if isinstance(state, dict) else None
        raise StartError(
            f"the old master hands over state of version {found}, expected {VERSION}; restart pyfpm instead"
        )
    if state.get("slot_size") != SLOT_SIZE:
        raise StartError(
            f"the running workers use {state.get('slot_size')} bytes each of their pool's scoreboard, "
            f"and those of this version {SLOT_SIZE}, so they cannot share it; restart pyfpm instead"
        )
    return state


def keep_reading(fd: int, config: Config) -> None:
    """Keep what this program makes of the configuration for the moment when it takes over; no other reads it.

    Whatever somebody does to the files in between, a master that has been replaced cannot return.
    """
    with open(fd, "wb", closefd=False) as file:
        pickle.dump(config, file)


def take_reading(fd: int) -> Config | None:
    """Take the configuration that `keep_reading` has kept, and close the file; None if this is another program."""
    try:
        with open(fd, "rb") as file:
            file.seek(0)
            config = pickle.load(file)
    except (OSError, ValueError, EOFError, TypeError, LookupError, AttributeError, ImportError, pickle.PickleError):
        return None
    return config if isinstance(config, Config) else None
