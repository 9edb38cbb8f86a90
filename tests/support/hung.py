"""A directory whose file system does not answer, as that of a dead server: FUSE without anybody who serves it."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

MNT_DETACH = 2


@contextmanager
def hung(directory: Path) -> Iterator[None]:
    """Whoever looks at it waits until the end of the block, and can be killed."""
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        pytest.skip(f"no FUSE here: {error.strerror}")
    try:
        options = f"fd={fd},rootmode=40000,user_id=0,group_id=0"
        if libc.mount(b"none", os.fsencode(directory), b"fuse", 0, options.encode()) != 0:
            pytest.skip(f"nothing can be mounted here: {os.strerror(ctypes.get_errno())}")
        try:
            yield
        finally:
            libc.umount2(os.fsencode(directory), MNT_DETACH)
    finally:
        os.close(fd)
