"""What the master and the memory reader say to each other. The master believes nothing of it unchecked."""

from __future__ import annotations

from typing import Annotated, Any, cast

from fpm.frozen import dataclass
from fpm.protocol.wire import Range, as_object, read_object

VERSION = 1


@dataclass(frozen=True, slots=True)
class MemoryWanted:
    """To the memory reader: look at these processes, one after another."""

    pids: list[int]


@dataclass(frozen=True, slots=True)
class ReaderReady:
    """To the master: the memory reader has started."""


@dataclass(frozen=True, slots=True)
class MemoryRead:
    """To the master, for each of them."""

    pid: int
    pss: Annotated[int, Range(0, 2**53 - 1)] | None
    """Bytes; None if the process is gone, or the reader is not allowed to look."""
    seconds: Annotated[float, Range(0, 1e9)]
    """How long it has taken."""


def as_message(message: MemoryWanted | ReaderReady | MemoryRead) -> dict[str, Any]:
    """Make the JSON object that goes over the channel."""
    return as_object(message, VERSION)


def read_wanted(values: dict[str, Any]) -> MemoryWanted:
    """Read a message of the master.

    Raises:
        MessageError: it is none.
    """
    return cast(MemoryWanted, read_object(values, {"MemoryWanted": MemoryWanted}, VERSION))


def read_answer(values: dict[str, Any]) -> ReaderReady | MemoryRead:
    """Read a message of the memory reader.

    Raises:
        MessageError: it is none.
    """
    kinds = {"ReaderReady": ReaderReady, "MemoryRead": MemoryRead}
    return cast(ReaderReady | MemoryRead, read_object(values, kinds, VERSION))
