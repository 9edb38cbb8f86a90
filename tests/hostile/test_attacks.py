"""No attack reaches anything outside of the attacker's own files and processes, and nobody waits.

To repair the attacker's pool takes longer than most attacks, so a few share one repair; who wants to know which of them
it was runs `make hostile HOSTILE_ARGS="--each"`.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.hostile.arena import Arena
from tests.hostile.attacks import ATTACKS, Attack, Place
from tests.hostile.measures import TOLERATED

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def arena() -> Iterator[Arena]:
    """One daemon for all attacks; what an attack has broken is repaired after it."""
    made = Arena(TOLERATED)
    yield made
    made.finish()


AT_ONCE = 3
TEMPLATES = [attack for attack in ATTACKS if attack.place is Place.TEMPLATE]
LOOSE = [attack for attack in ATTACKS if attack.repeat or attack.place is Place.SHELL]
"""They end or stop the pool's workers, or need none: what shares the time with them must not wait for a worker."""
STEADY = [attack for attack in ATTACKS if attack not in TEMPLATES and attack not in LOOSE]
GROUPS = [STEADY[at : at + AT_ONCE] for at in range(0, len(STEADY), AT_ONCE)]
# A template is imported at a reload, which takes seconds; only one can have the file that it imports.
GROUPS += [[template, *LOOSE[number :: len(TEMPLATES)]] for number, template in enumerate(TEMPLATES)]


@pytest.mark.parametrize("attacks", [pytest.param(group, id=" + ".join(one.name for one in group)) for group in GROUPS])
def test_attacks(arena: Arena, attacks: list[Attack]) -> None:
    assert arena.attack(*(attack.shortened() for attack in attacks)) == []
