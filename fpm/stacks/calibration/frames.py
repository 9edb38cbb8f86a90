"""Where the interpreter keeps its threads, and a thread its frames: found by threads that stand still."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from types import FrameType
from typing import Protocol

from fpm.errors import CalibrationError
from fpm.stacks.calibration.objects import places_of_tagged, places_of_word, the_one, words
from fpm.stacks.calibration.threads import (
    CALLED_BY_C,
    GENERATOR,
    PLAIN_CALLS,
    STANDS_AT,
    STANDS_IN,
    Parked,
    current_frames,
)
from fpm.stacks.layout import ABSENT, SHIM_NONE

INTERPRETER_LOOK = 128 << 10
"""Bytes of PyInterpreterState that are searched; the list of threads is near its beginning."""
THREAD_LOOK = 400
"""Bytes of PyThreadState."""
FRAME_OBJECT_LOOK = 64
FRAME_LOOK = 128
"""Bytes of _PyInterpreterFrame: all fields, and the first three local variables."""
CFRAME_LOOK = 32
TAGS = 3 if sys.hexversion >= 0x030E0000 else 0
"""The low bits of a pointer that are no part of the address (_PyStackRef)."""
SHIM_LEAST = 3
"""FRAME_OWNED_BY_CSTACK of 3.12 and 3.13, FRAME_OWNED_BY_INTERPRETER of 3.14; below are owners of real frames."""


class Interpreter(Protocol):
    """What must be asked of CPython itself, by its public C API."""

    runtime: int
    """Address of _PyRuntime; 0: not known."""

    def read(self, address: int, size: int, /) -> bytes:
        """Memory of this process."""
        ...

    def address(self) -> int:
        """PyThreadState_GetInterpreter()."""
        ...

    def thread_states(self) -> list[int]:
        """PyInterpreterState_ThreadHead() and PyThreadState_Next()."""
        ...


@dataclass(frozen=True)
class Standing:
    """A parked thread, where its state is, and its frames."""

    parked: Parked
    state: int
    frames: list[FrameType]


def chain_of(frame: FrameType | None) -> list[FrameType]:
    """The frame and those that it was called by."""
    found = []
    while frame is not None:
        found.append(frame)
        frame = frame.f_back
    return found


def find_threads(own: Interpreter) -> tuple[dict[str, int], list[Standing]]:
    """Start three threads, one after the other, and find what changes in the interpreter and what is in them.

    Raises:
        CalibrationError: something is not found for certain, or the threads cannot be started.
    """
    interpreter = own.address()
    threads = [Parked(depth) for depth in (1, 4, 2)]
    heads: list[set[int]] = []
    states: list[int] = []
    for parked in threads:
        parked.start()
        newest = own.thread_states()[0]
        heads.append(places_of_word(_beginning(own, interpreter), newest))
        states.append(newest)
    blocks = {state: own.read(state, THREAD_LOOK) for state in own.thread_states()}
    pairs = list(zip(threads, (blocks[state] for state in states), strict=True))
    found = {
        "at_interpreter": interpreter,
        "interpreter_threads": the_one("interp.threads.head", heads),
        "thread_interpreter": the_one("tstate.interp", [places_of_word(one, interpreter) for one in blocks.values()]),
        "thread_next": the_one("tstate.next", [places_of_word(blocks[one], two) for one, two in _neighbours(blocks)]),
        "thread_ident": the_one("tstate.thread_id", [places_of_word(block, one.ident) for one, block in pairs]),
        "thread_native": the_one(
            "tstate.native_thread_id", [places_of_word(block, one.native_id) for one, block in pairs]
        ),
    }
    frames = current_frames()
    standing = [
        Standing(parked, state, chain_of(frames.get(parked.ident)))
        for parked, state in zip(threads, states, strict=True)
    ]
    for one in standing:
        _check_place(one)
    return found, standing


def _beginning(own: Interpreter, address: int) -> bytes:
    """As much of the structure as there is memory."""
    found = bytearray()
    while len(found) < INTERPRETER_LOOK:
        part = own.read(address + len(found), 4096 - (address + len(found)) % 4096)
        if not part:
            break
        found += part
    return bytes(found)


def _neighbours(states: dict[int, bytes]) -> Iterator[tuple[int, int]]:
    return pairwise(states)


def _check_place(one: Standing) -> None:
    top = one.frames[0] if one.frames else None
    if top is None or top.f_code.co_name != STANDS_IN or top.f_lineno != STANDS_AT:
        raise CalibrationError("a thread of the calibration does not stand where it should")


def find_frames(own: Interpreter, standing: list[Standing], code_start: int) -> dict[str, int]:
    """Fields of frames.

    Raises:
        CalibrationError: one of them is not found for certain.
    """
    frames = [frame for one in standing for frame in one.frames]
    at_frame = the_one("frame.f_frame", [_places_of_frame(own, frame) for frame in frames])
    where = {frame: words(own.read(id(frame) + at_frame, 8))[0] for frame in frames}
    blocks = {frame: own.read(address, FRAME_LOOK) for frame, address in where.items()}
    codes = [places_of_tagged(block, id(frame.f_code), TAGS) for frame, block in blocks.items()]
    callers = [
        places_of_word(blocks[frame], where[caller])
        for frame, caller in _calls(standing)
        if frame.f_code.co_name in PLAIN_CALLS
    ]
    instructions = [
        places_of_word(block, id(frame.f_code) + code_start + frame.f_lasti) for frame, block in blocks.items()
    ]
    found = {
        "frame_code": the_one("iframe.code", codes),
        "frame_previous": the_one("iframe.previous", callers),
        "frame_instruction": the_one("iframe.instr", instructions),
        "frame_locals": the_one("localsplus", [_places_of_locals(blocks[one.frames[0]], one) for one in standing]),
        "frame_tags": TAGS,
    }
    found |= _find_current(own, [(one.state, where[one.frames[0]]) for one in standing])
    return found | _find_owner(own, found, standing, where)


def _calls(standing: list[Standing]) -> Iterator[tuple[FrameType, FrameType]]:
    """Every frame with the one that it was called by."""
    for one in standing:
        yield from pairwise(one.frames)


def _places_of_frame(own: Interpreter, frame: FrameType) -> set[int]:
    """Where in a frame object the pointer is to what it stands for, which points back to it and to its code."""
    found = set()
    for index, pointer in enumerate(words(own.read(id(frame), FRAME_OBJECT_LOOK))):
        block = own.read(pointer, FRAME_LOOK)
        if places_of_word(block, id(frame)) and places_of_tagged(block, id(frame.f_code), TAGS):
            found.add(index * 8)
    return found


def _places_of_locals(block: bytes, one: Standing) -> set[int]:
    """Where the first three arguments of _stand() are, side by side."""
    first, second, third = (places_of_tagged(block, id(value), TAGS) for value in (one.parked, None, True))
    return first & {place - 8 for place in second} & {place - 16 for place in third}


def _find_current(own: Interpreter, current: list[tuple[int, int]]) -> dict[str, int]:
    """How a thread state, the first of each pair, leads to its newest frame: directly, or by a structure of C's."""
    blocks = [(own.read(state, THREAD_LOOK), frame) for state, frame in current]
    direct = [places_of_word(block, frame) for block, frame in blocks]
    if set.intersection(*direct):
        return {"thread_cframe": ABSENT, "thread_frame": the_one("tstate.current_frame", direct)}
    ways = []
    for block, frame in blocks:
        found = set()
        for index, pointer in enumerate(words(block)):
            found |= {index * 8 << 16 | place for place in places_of_word(own.read(pointer, CFRAME_LOOK), frame)}
        ways.append(found)
    way = the_one("tstate.cframe", ways)
    return {"thread_cframe": way >> 16, "thread_frame": way & 0xFFFF}


def _find_owner(
    own: Interpreter, found: dict[str, int], standing: list[Standing], where: dict[FrameType, int]
) -> dict[str, int]:
    """The byte that tells a generator's frame (1) from others (0) and from shims, and where there are no shims (3.11)
    the byte that tells a frame that C has called."""
    bytes_of = {frame: own.read(address, found["frame_locals"]) for frame, address in where.items()}
    places = range(found["frame_instruction"] + 8, found["frame_locals"])
    owners = {
        place
        for place in places
        if all(block[place] == (frame.f_code.co_name == GENERATOR) for frame, block in bytes_of.items())
    }
    shims = set()
    for frame, caller in _calls(standing):
        previous = words(bytes_of[frame][found["frame_previous"] :])[0]
        if frame.f_code.co_name == CALLED_BY_C and previous != where[caller]:
            shims.add(previous)
    if shims:
        heads = [own.read(shim, found["frame_locals"]) for shim in shims]
        owner = the_one(
            "iframe.owner", [owners, *({place for place in places if head[place] >= SHIM_LEAST} for head in heads)]
        )
        return {"frame_owner": owner, "frame_entry": ABSENT, "frame_shim": min(head[owner] for head in heads)}
    entries = {
        place
        for place in places
        if all(block[place] == 0 for frame, block in bytes_of.items() if frame.f_code.co_name in PLAIN_CALLS)
        and all(block[place] == 1 for frame, block in bytes_of.items() if frame.f_code.co_name == CALLED_BY_C)
    }
    return {
        "frame_owner": the_one("iframe.owner", [owners]),
        "frame_entry": the_one("iframe.is_entry", [entries]),
        "frame_shim": SHIM_NONE,
    }
