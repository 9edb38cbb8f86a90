"""What a compiled file is for: the type of the machine, and the C library."""

from __future__ import annotations

import os


def machine_type() -> str:
    """Say what this process runs on, as in "x86_64 with glibc"."""
    try:
        library = os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (OSError, ValueError):  # musl knows the name as little as the version
        library = ""
    return f"{os.uname().machine} with {'glibc' if library.startswith('glibc') else 'another C library'}"
