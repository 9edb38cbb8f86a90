"""mutants.toml keeps up with the tree: `make mutants` could not plant a fault whose text is gone or no longer alone."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.plant_mutants import ROOT, Mutant, read_mutants

MUTANTS = read_mutants()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_it_can_be_planted(mutant: Mutant) -> None:
    assert mutant.mistakes(ROOT) == []
    assert mutant.why
    for test in mutant.tests:
        file, _, name = test.partition("::")
        assert not name or f"def {name.partition('[')[0]}(" in (ROOT / file).read_text(), f"there is no {test}"


def test_names_are_unique() -> None:
    assert [name for name, count in Counter(mutant.name for mutant in MUTANTS).items() if count > 1] == []
