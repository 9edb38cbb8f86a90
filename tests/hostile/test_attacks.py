"""Each attack by itself: it reaches nothing outside of the attacker's own files and processes, and nobody waits."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.hostile.arena import Arena
from tests.hostile.attacks import ATTACKS, Attack
from tests.hostile.measures import TOLERATED

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def arena() -> Iterator[Arena]:
    """One daemon for all attacks; what an attack has broken is repaired after it."""
    made = Arena(TOLERATED)
    yield made
    made.finish()


@pytest.mark.parametrize("attack", [pytest.param(one, id=one.name.replace(" ", "-")) for one in ATTACKS])
def test_attack(arena: Arena, attack: Attack) -> None:
    assert arena.attack(attack) == []
