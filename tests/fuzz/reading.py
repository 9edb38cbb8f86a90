"""Has the hot path read inputs; what it reads, plain Python reads alike."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from types import ModuleType

from tests.fuzz.inputs import Inputs
from tests.support.hot_server import make_server, read_plainly, without_input

MOUNTS = (None, None, None, "", "/a", "/shop")
COMPARE_EVERY = 100


class Reading:
    """Servers that read, and what came of it.

    Attributes:
        ours: inputs that were read here; the others are left to plain Python.
        compared: of those that were read here.
    """

    def __init__(self, random: Random, module: ModuleType, note: Callable[[bytes], None]) -> None:
        self._random = random
        self._inputs = Inputs(random)
        self._servers = [(mount, make_server(mount, module).read) for mount in MOUNTS]
        self._note = note
        self.done = self.ours = self.compared = 0

    def step(self) -> None:
        """Try one more input.

        Raises:
            AssertionError: plain Python reads it differently.
        """
        data = self._inputs.make()
        self._note(data)
        mount, read = self._servers[int(self._random.random() * len(self._servers))]
        found = read(data)
        self.done += 1
        if found is None:
            return
        self.ours += 1
        if self.ours % COMPARE_EVERY == 0:
            self.compared += 1
            compiled, plain = without_input(found), read_plainly(data, mount)
            assert compiled == plain, f"{data!r} at {mount} is {compiled}, and {plain} in plain Python"
