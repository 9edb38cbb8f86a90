"""The layout of a pool's interpreter: its template is asked once, when the first stack is wanted, and not believed."""

from __future__ import annotations

from collections.abc import Callable

from fpm.events.base import Emit
from fpm.events.pool import StacksFromInside
from fpm.log.escape import escape
from fpm.master.loop.loop import Loop, Timer
from fpm.master.tracing.trace_target import LayoutDone
from fpm.protocol.messages import LayoutFailed, LayoutFound
from fpm.stacks.layout import Layout, LayoutError, parse_layout

PATIENCE = 16.0
"""Seconds for the template's answer: three tries of five, and a little."""
REASON_MAX = 500
"""Characters of a template's reason that are kept."""


class LayoutRequest:
    """Asks one template for its layout, keeps the answer, and tells it to those who wait."""

    def __init__(
        self,
        loop: Loop,
        emit: Emit,
        pool: str,
        ask: Callable[[], bool],
        patience: float = PATIENCE,
    ) -> None:
        """
        Args:
            ask: sends the template its question; False if that cannot be done.
            patience: seconds to wait for the answer.
        """
        self._patience = patience
        self._loop = loop
        self._emit = emit
        self._pool = pool
        self._ask = ask
        self._known: Layout | str | None = None
        self._waiting: list[LayoutDone] = []
        self._timer: Timer | None = None

    def want(self, done: LayoutDone) -> None:
        """Call `done` exactly once, at once or later."""
        if self._known is not None:
            done(self._known)
            return
        self._waiting.append(done)
        if self._timer is None:
            self._timer = self._loop.call_later(self._patience, self._give_up)
            if not self._ask():
                self._settle("its template takes no messages")

    def take(self, message: LayoutFound | LayoutFailed) -> None:
        """Take an answer of the template, which may not have been asked."""
        if isinstance(self._known, Layout):
            return
        if isinstance(message, LayoutFailed):
            reason = escape(message.error[:REASON_MAX])
            self._refuse(f"its Python's structures were not found: {reason}")
            return
        try:
            layout = parse_layout(message.layout)
        except LayoutError as error:
            self._refuse(f"its template sent no usable layout: {error}")
        else:
            self._settle(layout)

    def close(self, reason: str) -> None:
        """Tell those who wait that the template is gone."""
        if self._known is None:
            self._settle(reason)

    def _give_up(self) -> None:
        self._refuse(f"its template has not answered within {self._patience:g} s")

    def _refuse(self, reason: str) -> None:
        # Once for each template, which has found its reason, or not answered, once.
        if self._known is None:
            self._emit(StacksFromInside(reason, pool=self._pool))
            self._settle(reason)

    def _settle(self, known: Layout | str) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._known = known
        waiting, self._waiting = self._waiting, []
        for done in waiting:
            done(known)
