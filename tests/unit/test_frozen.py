"""fpm.frozen makes what the standard library's frozen dataclasses are, to whoever uses them."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from collections.abc import Callable
from dataclasses import field
from typing import Any

import pytest

from fpm import frozen

Decorator = Callable[..., Any]


def family(dataclass: Decorator) -> dict[str, Any]:
    """The same classes, made by one decorator or the other."""

    @dataclass(frozen=True, slots=True)
    class Point:
        """Two numbers."""

        x: int
        y: int = 0
        tags: list[str] = field(default_factory=list, hash=False)
        note: str = field(default="", compare=False, repr=False)
        made: str = field(default="by us", init=False)
        parts: list[int] = field(default_factory=lambda: [1], init=False, hash=False)

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Named:
        """Something with a name."""

        name: str
        rank: int = 1

    @dataclass(frozen=True, slots=True)
    class Member(Named):
        """Positional fields before those of the base."""

        place: str
        other: Named | None = None

        def __post_init__(self) -> None:
            if not self.place:
                raise ValueError("no place")

    @dataclass(frozen=True, slots=True)
    class Alone:
        """One field."""

        value: float

    @dataclass(frozen=True, slots=True)
    class Nothing:
        """None."""

    @dataclass(frozen=True, slots=True, eq=False)
    class Unique:
        """Equal to itself only."""

        value: int

    @dataclass(frozen=True, slots=True)
    class Own:
        """Has its own methods."""

        value: int

        def __repr__(self) -> str:
            return "mine"

        def __eq__(self, other: object) -> bool:
            return True

        def __hash__(self) -> int:
            return 7

    return {one.__name__: one for one in (Point, Named, Member, Alone, Nothing, Unique, Own)}


OURS, STANDARD = family(frozen.dataclass), family(dataclasses.dataclass)
MADE: list[Callable[[dict[str, Any]], Any]] = [
    lambda of: of["Point"](1),
    lambda of: of["Point"](1, 2, ["a"], "unseen"),
    lambda of: of["Point"](y=5, x=4),
    lambda of: of["Named"](name="a"),
    lambda of: of["Member"]("here", name="a", rank=3),
    lambda of: of["Member"]("here", of["Named"](name="b"), name="a"),
    lambda of: of["Alone"](1.5),
    lambda of: of["Nothing"](),
    lambda of: of["Own"](3),
]
WRONG: list[Callable[[dict[str, Any]], Any]] = [
    lambda of: of["Point"](),
    lambda of: of["Point"](1, made="else"),
    lambda of: of["Named"]("a"),
    lambda of: of["Member"]("here"),
    lambda of: of["Member"]("", name="a"),
    lambda of: of["Nothing"](1),
    lambda of: setattr(of["Point"](1), "x", 2),
    lambda of: delattr(of["Point"](1), "x"),
]


@pytest.mark.parametrize("make", MADE)
def test_values(make: Callable[[dict[str, Any]], Any]) -> None:
    ours, standard = make(OURS), make(STANDARD)
    assert repr(ours) == repr(standard)
    assert dataclasses.asdict(ours) == dataclasses.asdict(standard)
    assert ours == make(OURS)
    assert ours != standard or "mine" in repr(ours)
    assert hash(ours) == hash(standard)
    assert copy.copy(ours) == copy.deepcopy(ours) == ours
    assert repr(ours.__getstate__()) == repr(standard.__getstate__())
    assert not hasattr(ours, "__dict__")


@pytest.mark.parametrize("make", WRONG)
def test_mistakes(make: Callable[[dict[str, Any]], Any]) -> None:
    with pytest.raises((TypeError, ValueError, AttributeError)) as standard:
        make(STANDARD)
    with pytest.raises(type(standard.value)) as ours:
        make(OURS)
    if isinstance(standard.value, dataclasses.FrozenInstanceError):
        assert str(ours.value) == str(standard.value)


@pytest.mark.parametrize("name", sorted(OURS))
def test_classes(name: str) -> None:
    ours, standard = OURS[name], STANDARD[name]
    told = [(one.name, one.type, one.init, one.kw_only) for one in dataclasses.fields(ours)]
    assert told == [(one.name, one.type, one.init, one.kw_only) for one in dataclasses.fields(standard)]
    assert ours.__match_args__ == standard.__match_args__
    assert ours.__slots__ == standard.__slots__
    assert list(inspect.signature(ours).parameters) == list(inspect.signature(standard).parameters)
    assert ours.__init__.__annotations__ == standard.__init__.__annotations__


def test_what_is_not_compared_or_shared() -> None:
    point = OURS["Point"]
    assert point(1, note="a") == point(1, note="b")
    assert point(1, tags=["a"]) != point(1)
    assert point(1).tags is not point(1).tags
    assert dataclasses.replace(point(1, 2), y=3) == point(1, 3)
    assert OURS["Unique"](1) != OURS["Unique"](1)
    assert OURS["Named"](name="a") != OURS["Member"]("here", name="a")
    not_a_number = float("nan")
    assert OURS["Alone"](not_a_number) == OURS["Alone"](not_a_number), "the same object, as in a tuple"


@frozen.dataclass(frozen=True, slots=True)
class Sent:
    """Can be found by its name, which pickle needs."""

    value: int
    more: tuple[int, ...] = ()


def test_a_pickle() -> None:
    sent = Sent(1, (2, 3))
    assert pickle.loads(pickle.dumps(sent)) == sent


def test_who_looks_at_the_stack_sees_whose_code_it_is() -> None:
    """fpm.worker.interrupt tells the application's code from ours by the name of its module."""

    @frozen.dataclass(frozen=True, slots=True)
    class Point:
        x: int

    assert Point.__init__.__globals__["__name__"] == __name__
