"""The heap of the C library, where what Python frees in large pieces stays for later."""

from __future__ import annotations


def give_back_free_memory() -> None:
    """Give what is free to the kernel, malloc_trim(3), where there is such a function: musl has none."""
    import ctypes  # loaded already by whoever calls prctl(2)

    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(ctypes.c_size_t(0))
