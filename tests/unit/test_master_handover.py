"""What one program hands to the next, and what the next refuses."""

from __future__ import annotations

import json
import os

import pytest

from fpm.errors import StartError
from fpm.master.processes.bundle import sealed_memfd
from fpm.master.upgrade.handover import VERSION, pack, unpack


def test_what_is_packed_is_unpacked() -> None:
    fd = pack({"pools": [1, 2]})
    try:
        assert unpack(fd)["pools"] == [1, 2]
    finally:
        os.close(fd)


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        ([], "of version None, expected"),
        ({"version": VERSION - 1}, f"of version {VERSION - 1}, expected {VERSION}; restart pyfpm instead"),
        ({"version": VERSION}, "use None bytes each of their pool's scoreboard"),
        ({"version": VERSION, "slot_size": 1408}, "use 1408 bytes each .* cannot share it; restart pyfpm instead"),
    ],
)
def test_what_this_program_cannot_go_on_with(state: object, sentence: str) -> None:
    fd = sealed_memfd("handover", json.dumps(state).encode())
    try:
        with pytest.raises(StartError, match=sentence):
            unpack(fd)
    finally:
        os.close(fd)
