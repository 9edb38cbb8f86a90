"""docs/lifecycles.md, drawn from the tables: `python -m tests.support.lifecycles` writes it."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from pathlib import Path

from fpm.master.pool.lifecycle_table import draw
from fpm.master.pool.pool_state import POOL_TABLE, PoolState
from fpm.master.pool.template_state import TEMPLATE_TABLE, TemplateState
from fpm.master.pool.worker_state import WorkerState
from fpm.master.pool.worker_table import WORKER_TABLE

PATH = Path(__file__).parents[2] / "docs/lifecycles.md"
HEAD = """\
# Lifecycles

What a pool, a template and a worker may become. An event goes into the table of `fpm/master/pool`, a new state and
actions come out; the owner of the process carries them out. A state answers every event; what is not listed does
nothing. This file is drawn from the tables by `make man`.
"""


def document() -> str:
    """The whole text."""
    return "\n".join(
        [
            HEAD,
            f"## A pool\n\n`pool_state.py`; the status shows {_names(one.word for one in PoolState)}.\n",
            draw(POOL_TABLE),
            f"## A template\n\n`template_state.py`; its purpose is a part of its state ({_states(TemplateState)}).\n",
            draw(TEMPLATE_TABLE),
            f"## A worker\n\n`worker_state.py` and `worker_table.py` ({_states(WorkerState)}).\n",
            draw(WORKER_TABLE),
        ]
    )


def _names(words: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(words))


def _states(states: type[Enum]) -> str:
    return f"{len(states)} states"


if __name__ == "__main__":
    PATH.write_text(document())
