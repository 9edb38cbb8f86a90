"""The scoreboard of a pyfpm before the statistics, as an upgrade hands one over."""

from __future__ import annotations

import fcntl
import os

from fpm.scoreboard.layout import MAGIC, SLOT_SIZE, START, slots_end
from fpm.scoreboard.memory import Scoreboard


def make_old_board(slots: int) -> Scoreboard:
    """Make one: it ends with its slots."""
    fd = os.memfd_create("pyfpm-scoreboard", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, slots_end(slots))
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    board = Scoreboard(fd, slots, owns_fd=True)
    START.pack_into(board.view, 0, MAGIC, 0, slots, SLOT_SIZE, 0)
    return board
