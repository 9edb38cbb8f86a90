"""What serves the requests of each generation of a pool: the compiled hot path or plain Python. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from fpm.protocol.messages import TemplateReady
from fpm.scoreboard.hot_path import HotPath


@dataclass(slots=True)
class HotPaths:
    """Those of one pool, as its templates have said."""

    _known: dict[int, HotPath] = field(default_factory=dict)

    def of(self, generation: int, former: int) -> int:
        """Return what is known of a generation; `former` if nothing is."""
        return self._known.get(generation, former)

    def note(self, generation: int, message: TemplateReady) -> str:
        """Take what a template says; returns why plain Python serves unasked, once for each generation, or ""."""
        is_new = generation not in self._known
        self._known[generation] = HotPath.COMPILED if message.compiled else HotPath.PYTHON
        return message.plain_reason if is_new else ""

    def forget_before(self, generation: int) -> None:
        """Another generation serves."""
        self._known = {one: path for one, path in self._known.items() if one >= generation}
