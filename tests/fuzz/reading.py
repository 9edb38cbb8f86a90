"""Has the hot path read inputs; what it reads, plain Python reads alike."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from types import ModuleType

from fpm.scoreboard.route_table import ROUTES_SIZE, RouteTable
from tests.fuzz.inputs import Inputs
from tests.support.hot_server import make_server, read_plainly, without_input

MOUNTS = (None, None, None, "", "/a", "/shop")
COMPARE_EVERY = 100
COUNT_EVERY = 10


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
        self._tables = bytearray(ROUTES_SIZE), bytearray(ROUTES_SIZE)
        self._plain = RouteTable(memoryview(self._tables[0]), 0)
        self._compiled = module.Routes(memoryview(self._tables[1]), 0)
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
        if self.done % COUNT_EVERY == 0:
            self._count(data)
        if found is None:
            return
        self.ours += 1
        if self.ours % COMPARE_EVERY == 0:
            self.compared += 1
            compiled, plain = without_input(found), read_plainly(data, mount)
            assert compiled == plain, f"{data!r} at {mount} is {compiled}, and {plain} in plain Python"

    def _count(self, data: bytes) -> None:
        """Count it as if some part of it were a path, in a table of either side.

        Raises:
            AssertionError: plain Python counts it differently.
        """
        path = data[self._random.randrange(len(data) + 1) :].decode("latin-1")
        duration = self._random.getrandbits(self._random.randrange(40))
        for table in (self._plain, self._compiled):
            table.count(path, duration, duration // 2, len(path) % 2 == 0, self.done % 3 and self.done)
        if self.done % 100 == 0:
            assert self._tables[0] == self._tables[1], (
                f"{path!r}, or one before, is counted differently in plain Python"
            )
