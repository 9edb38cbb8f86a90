"""What the processes of a pool share, generation by generation; it exists only once the pool has processes."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Collection, Mapping
from typing import Any

from fpm.master.listening.inherited import InheritedFds, take_inherited
from fpm.master.loop.loop import Loop, NamedTimers
from fpm.master.pool.board_counts import BoardCounts
from fpm.master.pool.pool_world import PoolWorld
from fpm.master.pool.saturation import WakeupFd
from fpm.scoreboard.memory import Scoreboard
from fpm.scoreboard.number import COUNT_MAX
from fpm.scoreboard.route_table import ENTRY
from fpm.scoreboard.statistics import read_statistics, sum_blocks
from fpm.system.descriptors import is_shut_down

SLOTS_AT_ONCE = 256
"""Slots whose statistics are read in one turn of the loop, 3 ms; those of a larger pool are read over several turns."""
PAUSE = 0.05
"""Seconds between these."""
REST = 10.0
"""Seconds until they are read once more, if nobody looks: who comes then finds no numbers of long ago."""
CARRIED_ROUTES = 800 * ENTRY.size
"""Bytes of tables of routes that are kept of scoreboards that are gone."""


class SharedResources:
    """The scoreboard, the eventfd with which workers wake the master, the parking socket; all close-on-exec."""

    def __init__(self, loop: Loop, board: Scoreboard, wake: int, park: tuple[socket.socket, socket.socket]) -> None:
        self.board = board
        self.counts = BoardCounts(board)
        self.has_ended = False
        """No worker writes to it any more; it is closed when all that they have counted has been read."""
        self.wake = wake
        self.wakeup = WakeupFd(loop, board.view, wake)
        self.park = park

    @classmethod
    def create(cls, loop: Loop, slots: int, former: SharedResources | None = None) -> SharedResources:
        """Make them.

        Args:
            former: what the generations before share; the parking socket stays the same, so that workers that leave
                can give their connections to those of the next generation.

        Raises:
            OSError: no descriptors or no memory left.
        """
        if former is None or former.is_spoiled:
            park = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            for end in park:
                end.setblocking(False)
        else:
            park = former.park[0].dup(), former.park[1].dup()
        return cls(loop, Scoreboard.create(slots), os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK), park)

    @property
    def is_spoiled(self) -> bool:
        """Has a process of the pool shut down the parking socket?"""
        return is_shut_down(self.park[0].fileno())

    def is_good_for(self, slots: int) -> bool:
        """Can workers that are started now use it: has it so many slots, and all that the present pyfpm has?"""
        return self.board.slots >= slots and self.board.is_whole and not self.is_spoiled

    def dump(self, kept: InheritedFds) -> dict[str, Any]:
        """Describe it for the next master."""
        return {
            "board": kept.keep(self.board.fd),
            "slots": self.board.slots,
            "wake": kept.keep(self.wake),
            "park": [kept.keep(end.fileno()) for end in self.park],
        }

    @classmethod
    def restore(cls, loop: Loop, state: Mapping[str, Any]) -> SharedResources:
        """Make the same from what `dump` has said."""
        board = Scoreboard(take_inherited(state["board"]), state["slots"], owns_fd=True)
        fds = [take_inherited(fd) for fd in state["park"]]
        take, put = (socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, fileno=fd) for fd in fds)
        for end in (take, put):
            end.setblocking(False)
        return cls(loop, board, take_inherited(state["wake"]), (take, put))

    def close(self) -> None:
        """Give everything back."""
        self.wakeup.close()
        self.board.close()
        os.close(self.wake)
        for end in self.park:
            end.close()


class PoolResources:
    """What the generations of one pool share; it has many methods, as it knows what has been counted there, too."""

    def __init__(self, loop: Loop, changed: Callable[[SharedResources], None]) -> None:
        """`changed`: called when the present generation has got another scoreboard."""
        self._loop = loop
        self._changed = changed
        self.current: SharedResources | None = None
        """The present generation's; None while the pool has never had a process."""
        self.others: list[SharedResources] = []
        """Of former generations, and of one that is being checked."""
        self._responder: SharedResources | None = None
        self._carried = b""  # what has been counted on scoreboards that are gone
        self._carried_unavailable = 0
        self._carried_routes = b""
        """The tables of routes of scoreboards that are gone, the last CARRIED_ROUTES bytes."""
        self._uncounted: list[SharedResources] = []
        """Whose scoreboards are still to be read in the present pass."""
        self._timers = NamedTimers(loop)
        self.world = PoolWorld()

    @property
    def board(self) -> Scoreboard | None:
        """The present scoreboard."""
        return self.current.board if self.current is not None else None

    def all(self) -> list[SharedResources]:
        """Every one that a worker may use, the present one's last."""
        return [*self.others, *([self.current] if self.current is not None else [])]

    def for_current(self, slots: int) -> SharedResources:
        """Provide the present generation with so many slots.

        Raises:
            OSError: no descriptors or no memory left.
        """
        if self.current is None or not self.current.is_good_for(slots):
            self.take(SharedResources.create(self._loop, slots, self.current or self._responder))
        assert self.current is not None
        return self.current

    def for_trial(self, slots: int) -> SharedResources:
        """Provide a generation that is to be checked: with the present one's, if that has so many slots.

        Raises:
            OSError: no descriptors or no memory left.
        """
        if self.current is not None and self.current.is_good_for(slots):
            return self.current
        shared = SharedResources.create(self._loop, slots, self.current or self._responder)
        self.others.append(shared)
        return shared

    def for_responder(self) -> SharedResources:
        """Provide the 503 responder, which has a scoreboard of its own.

        Its parking socket is the pool's, also if it comes before all workers: what it parks when it leaves is theirs.

        Raises:
            OSError: no descriptors or no memory left.
        """
        if self._responder is None:
            self._responder = SharedResources.create(self._loop, 1, self.current)
        return self._responder

    def park_for(self, shared: SharedResources) -> tuple[int, int]:
        """The parking socket; what the responder parks when it leaves is for the pool's workers."""
        take, put = (self.current or shared).park
        return take.fileno(), put.fileno()

    def take(self, shared: SharedResources) -> None:
        """Let this be the present generation's."""
        if shared is self.current:
            return
        if shared in self.others:
            self.others.remove(shared)
        if self.current is not None:
            self.others.append(self.current)
        self.current = shared
        self._changed(shared)

    def release(self, boards: Collection[Scoreboard]) -> None:
        """Close what only former generations have used; the scoreboards with workers on them are given."""
        ended = [one for one in self.others if not one.has_ended and all(one.board is not board for board in boards)]
        for shared in ended:
            shared.has_ended = True
            shared.counts.begin()
        if ended:
            self._uncounted = [*ended, *(one for one in self._uncounted if one not in ended)]
            self._count()

    def _bury(self, shared: SharedResources) -> None:
        """Keep what was counted on a scoreboard that has ended, all of which has been read."""
        self.others.remove(shared)
        self._carried = sum_blocks([self._carried, shared.counts.sum()])
        routes = self._carried_routes + b"".join(shared.board.copy_routes(CARRIED_ROUTES))
        self._carried_routes = routes[-CARRIED_ROUTES:]
        shared.close()

    # ---------------------------------------------------------------- what has been counted

    @property
    def is_counting(self) -> bool:
        """Tell whether there is more to be read before all that has been counted is known."""
        return bool(self._uncounted)

    def count_all(self) -> bytes:
        """Add up what the pool's processes have counted since the daemon's start; see sum_blocks().

        Of a pool with more than SLOTS_AT_ONCE workers it is what was known when each was last looked at, a moment ago.
        """
        elsewhere = self.count_elsewhere()
        return sum_blocks([elsewhere, *([] if self.current is None else [self.current.counts.sum()])])

    def count_elsewhere(self) -> bytes:
        """Add up all that is not on the present scoreboard; see `count_all`."""
        if not self.is_counting:
            self._begin_pass()
        return sum_blocks([self._carried, self._responses_503(), *(one.counts.sum() for one in self.others)])

    def count_whole(self) -> None:
        """Read everything at once: for what happens once, when the administrator changes something."""
        for shared in self.all():
            shared.counts.begin()
            shared.counts.go_on(shared.board.slots)

    def _begin_pass(self) -> None:
        self._uncounted = self.all()
        self._count()

    def _count(self) -> None:
        """Read as many slots as may be read in one turn; go on later, if that is not all."""
        left = SLOTS_AT_ONCE
        while self._uncounted and left > 0:
            shared = self._uncounted[0]
            left -= shared.counts.go_on(left)
            if shared.counts.is_complete:
                del self._uncounted[0]
                if shared.has_ended:
                    self._bury(shared)
        if self._uncounted:
            self._timers.set("count", PAUSE, self._count)
        elif any(one.counts.known_slots > SLOTS_AT_ONCE for one in self.all()):
            self._timers.set("count", REST, self._begin_pass)
        else:
            self._timers.cancel("count")

    def count_unavailable(self) -> int:
        """Count the responses of the 503 responders."""
        return min(self._carried_unavailable + read_statistics(self._responses_503()).classes[4], COUNT_MAX)

    def copy_routes(self, limit: int) -> bytes:
        """Copy the tables of routes (fpm.scoreboard.route_copy), the present ones first, with at most `limit` bytes."""
        copied = [self._carried_routes]
        for shared in reversed(self.all()):
            copied += shared.board.copy_routes(limit - sum(map(len, copied)))
        return b"".join(copied)

    def inherit(self, former: PoolResources) -> None:
        """Go on with what a pool has counted in whose place this one serves."""
        former.count_whole()
        self._carried = sum_blocks([self._carried, former.count_all()])
        self._carried_unavailable += former.count_unavailable()
        self._carried_routes += former.copy_routes(CARRIED_ROUTES - len(self._carried_routes))

    def _responses_503(self) -> bytes:
        return self._responder.board.sum_statistics() if self._responder is not None else b""

    def dump_statistics(self) -> dict[str, Any]:
        """Describe for the next master what is on no scoreboard that it gets."""
        carried = sum_blocks([self._carried, self._responses_503()])
        routes = self._carried_routes.hex()
        return {"carried": carried.hex(), "unavailable": self.count_unavailable(), "routes": routes}

    def restore_statistics(self, state: Mapping[str, Any]) -> None:
        """Go on where `dump_statistics` was, of a program that may have counted nothing."""
        self._carried = bytes.fromhex(state.get("carried", ""))
        self._carried_unavailable = state.get("unavailable", 0)
        self._carried_routes = bytes.fromhex(state.get("routes", ""))

    # ---------------------------------------------------------------- an upgrade of pyfpm, and the end

    def dump(self, kept: InheritedFds) -> list[dict[str, Any]]:
        """Describe all but the responder's, which does not outlive an upgrade."""
        return [shared.dump(kept) for shared in self.all()]

    def restore(self, states: list[dict[str, Any]]) -> None:
        """Go on where `dump` was."""
        restored = [SharedResources.restore(self._loop, state) for state in states]
        if restored:
            self.others = restored[:-1]
            self.current = restored[-1]
            self.count_whole()  # or a large pool would seem to have counted less than before
            self._changed(self.current)

    def close(self) -> None:
        """Give everything back."""
        self._timers.cancel_all()
        self.world.close()
        for shared in [*self.all(), *([self._responder] if self._responder is not None else [])]:
            shared.close()
