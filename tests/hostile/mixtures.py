"""`make hostile`: attacks in random order and up to three at once, for as long as wanted.

    python -m tests.hostile.mixtures [--minutes 30] [--seed N] [--isolation strong]
    python -m tests.hostile.mixtures --each     every attack once, by itself

Exit status 1 if one of them has reached what it must not; the mixture and the seed are printed.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Iterator

from tests.hostile.arena import Arena
from tests.hostile.attacks import ATTACKS, Attack
from tests.hostile.exhausting import EXHAUSTING
from tests.hostile.measures import MEASURED
from tests.hostile.reaches import PRESETS
from tests.support.processes import adopt_orphans

MOST_AT_ONCE = 3
ALL = (*ATTACKS, *EXHAUSTING)


def draw(seed: int, minutes: float) -> Iterator[list[Attack]]:
    """Draw mixtures until the time is over."""
    dice, end = random.Random(seed), time.monotonic() + 60 * minutes
    while time.monotonic() < end:
        yield dice.sample(ALL, dice.randint(1, MOST_AT_ONCE))


def main() -> int:
    """Attack until the time is over; returns the exit status."""
    parser = argparse.ArgumentParser(description="Let a hostile pool attack a daemon in random mixtures.")
    parser.add_argument("--minutes", type=float, default=30.0, help="how long (default 30)")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32), help="repeats an order of attacks")
    parser.add_argument("--each", action="store_true", help="every attack once, by itself")
    parser.add_argument("--isolation", choices=PRESETS, default="basic", help="of the pools (default basic)")
    options = parser.parse_args()
    adopt_orphans()
    arena, mixtures, bad = Arena(MEASURED, {"isolation": options.isolation}), 0, 0
    print("" if options.each else f"seed {options.seed}", flush=True)
    try:
        for mixture in ([one] for one in ALL) if options.each else draw(options.seed, options.minutes):
            found = arena.attack(*mixture)
            mixtures, bad = mixtures + 1, bad + bool(found)
            names = " + ".join(attack.name for attack in mixture)
            print(f"{names}: {'; '.join(found) if found else 'held'}", flush=True)
    finally:
        arena.finish()
    print(f"{mixtures} mixtures, {bad} of them reached something", flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
