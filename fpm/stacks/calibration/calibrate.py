"""The calibration itself, step by step."""

from __future__ import annotations

import struct
import sys
from typing import Any

from fpm.stacks.calibration.check import check_offsets, check_stacks
from fpm.stacks.calibration.code import find_code
from fpm.stacks.calibration.frames import Interpreter, find_frames, find_threads
from fpm.stacks.calibration.objects import find_objects, find_types
from fpm.stacks.calibration.search import Doubt, Refused
from fpm.stacks.calibration.self_memory import OwnProcess
from fpm.stacks.layout import Layout, LayoutError, parse_layout

OLDEST = 0x030B
POINTER_SIZE = 8


def find_answer() -> dict[str, Any]:
    """The message of the calibration's child: {"layout": {...}}, or {"error": str, "final": bool}, where `final` means
    that another try gives nothing else.

    Raises:
        BaseException: an audit hook of the application may raise anything.
    """
    try:
        _refuse_unknown()
        return {"layout": calibrate(OwnProcess()).as_message()}
    except Refused as error:
        return {"error": str(error), "final": True}
    except (Doubt, LayoutError) as error:
        return {"error": str(error), "final": False}


def _refuse_unknown() -> None:
    """Before anything is tried: is this an interpreter of the kind that is understood at all?

    Raises:
        Refused: it is not.
    """
    name = sys.implementation.name
    if name != "cpython":
        raise Refused(f"the pool's Python is {name}; only CPython's stacks can be read")
    if "t" in sys.abiflags:
        raise Refused("the pool's Python is a free-threaded build, whose stacks cannot be read yet")
    if sys.hexversion >> 16 < OLDEST:
        raise Refused(f"the pool's Python is {sys.version.split()[0]}; stacks can be read from 3.11 on")
    if struct.calcsize("P") != POINTER_SIZE:
        raise Refused("the pool's Python is a 32-bit program")


def calibrate(own: Interpreter) -> Layout:
    """Find everything and check it.

    Raises:
        Doubt: something is not found for certain, or the check has failed.
        LayoutError: what was found is no possible layout.
    """
    values = {"version": sys.hexversion >> 16} | find_types() | find_objects(own.read)
    values |= find_code(own.read, values)
    threads, standing = find_threads(own)
    values |= threads
    values |= find_frames(own, standing, values["code_start"])
    check_offsets(values, own.read, own.runtime)
    layout = parse_layout(values)
    check_stacks(layout, own.read, standing)
    return layout
