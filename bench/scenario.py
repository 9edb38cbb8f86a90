"""What every case needs: how much of it is wanted, a directory, and a word about its goal."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from bench.load import Load
from bench.results import Result


@dataclass(frozen=True)
class Options:
    """How thoroughly to measure.

    Attributes:
        rounds: pairs of each case; fewer in those that take long.
        stretch: times as long as usual that each load lasts.
        pools: in the case of many pools.
    """

    rounds: int = 6
    workers: int = 4
    stretch: float = 1.0
    pools: int = 1000

    def at_most(self, short: int, full: int) -> int:
        """Rounds of a case that takes long: this many in the short run, and in the full one."""
        return min(self.rounds, short if self.stretch == 1.0 else full)

    def scaled(self, load: Load) -> Load:
        """The same load for a longer or shorter time."""
        return replace(load, seconds=load.seconds * self.stretch)


class Case(Protocol):
    """What is known of every case: `usual` ones are part of the short run."""

    @property
    def name(self) -> str: ...

    @property
    def usual(self) -> bool: ...


class Group(Protocol):
    """Cases that are measured together."""

    @property
    def cases(self) -> Sequence[Case]: ...

    def run(self, chosen: Sequence[str], options: Options) -> Iterator[Result]:
        """Measure the chosen ones."""
        ...


@dataclass(frozen=True)
class Named:
    """A case of which no more is to be said."""

    name: str
    usual: bool = True


@dataclass(frozen=True)
class Alone:
    """A case that starts its own servers, and is its own group."""

    name: str
    measure: Callable[[Options], Result]
    usual: bool = True

    @property
    def cases(self) -> Sequence[Case]:
        """Itself."""
        return [self]

    def run(self, chosen: Sequence[str], options: Options) -> Iterator[Result]:
        """Measure it, if it is among the chosen."""
        if self.name in chosen:
            yield self.measure(options)


@contextmanager
def scratch() -> Iterator[Path]:
    """A temporary directory; servers may write logs there."""
    directory = Path(tempfile.mkdtemp(prefix="pyfpm-bench-"))
    directory.chmod(0o755)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def goal(text: str, met: bool) -> bool:
    """Print whether a goal of the project is met."""
    print(f"  goal: {text}: {'met' if met else 'NOT MET'}")
    return met
