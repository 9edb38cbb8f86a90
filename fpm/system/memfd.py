"""Anonymous files that nobody can change any more (memfd_create(2))."""

from __future__ import annotations

from fcntl import F_ADD_SEALS, F_SEAL_GROW, F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_WRITE, fcntl


def write_sealed(fd: int, data: bytes) -> None:
    """Write the content of an anonymous file that is open for it, and put every seal on it.

    Raises:
        OSError: it was not made with MFD_ALLOW_SEALING, or there is no memory left.
    """
    with open(fd, "wb", closefd=False) as file:
        file.write(data)
    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL)
