"""One process of the fuzzer: makes inputs until it has made enough, or its time is over, and prints what came of it."""

from __future__ import annotations

import json
import mmap
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from types import ModuleType

from tests.fuzz.reading import Reading
from tests.fuzz.sanitized import load
from tests.fuzz.serving import Serving

STEPS = 500
"""Inputs between two looks at the clock."""
NOTE_SIZE = 1 << 18


def open_note(file: Path) -> Callable[[bytes], None]:
    """Keep the input that is tried where it can be found if this process does not survive it."""
    file.write_bytes(bytes(NOTE_SIZE))
    with file.open("r+b") as opened:
        place = mmap.mmap(opened.fileno(), NOTE_SIZE)

    def note(data: bytes) -> None:
        place[:4] = len(data).to_bytes(4, "big")
        place[4 : 4 + len(data)] = data

    return note


def run(module: ModuleType, seed: int, count: int, serve: int, seconds: float, note: Path) -> dict[str, float]:
    """Try `count` inputs, and `serve` requests; what came of it, by name."""
    started, random, noted = time.monotonic(), Random(seed), open_note(note)
    reading, serving = Reading(random, module, noted), Serving(random, module, noted)
    while (reading.done < count or serving.done < serve) and time.monotonic() - started < seconds:
        for _ in range(min(STEPS, count - reading.done)):
            reading.step()
        for _ in range(min(STEPS * serve // max(count, serve) + 1, serve - serving.done)):
            serving.step()
    return {
        "read": reading.done,
        "ours": reading.ours,
        "read alike": reading.compared,
        "served": serving.done,
        "served alike": serving.compared,
        "seconds": time.monotonic() - started,
        "seconds of serving": serving.seconds,
    }


if __name__ == "__main__":
    binary, seed, count, serve, seconds, note = sys.argv[1:]
    print(
        json.dumps(run(load(Path(binary)), int(seed), int(count), int(serve), float(seconds), Path(note))), flush=True
    )
    os._exit(0)  # nothing is left to be done, and to free each object would take its time
