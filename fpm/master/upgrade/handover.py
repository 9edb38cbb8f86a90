"""What one master hands to the next across exec(2): the running pools as JSON, and descriptors that stay open.

Rules of the file. It describes and restores; it decides nothing. A template that is not ready and a 503 responder are
not handed over as such: they are old templates that must go, and the new master begins with its own. Times are
monotonic and hold across exec.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields, replace
from typing import Any

from fpm.config.model import PoolConfig
from fpm.errors import StartError
from fpm.events.pool import TemplateKilled
from fpm.master.listening.inherited import InheritedFds, dump_listener, take_inherited
from fpm.master.loop.loop import Loop
from fpm.master.loop.output import OutputReader
from fpm.master.pool.child import Child
from fpm.master.pool.shared_resources import Shared
from fpm.master.pool.supervisor import PoolSupervisor
from fpm.master.pool.template_events import Failure
from fpm.master.pool.template_process import TemplateProcess, TemplateState
from fpm.master.processes.bundle import sealed_memfd
from fpm.scoreboard.layout import SLOT_SIZE
from fpm.scoreboard.memory import Scoreboard
from fpm.status.overview import SlowRequest, read_death

VERSION = 3
"""Raised when the description changes in a way that an older or newer program cannot read."""
VARIABLE = "PYFPM_HANDOVER"
"""The environment variable that names the descriptor of the description."""
PINNED = ("chdir", "app", "python", "pythonpath")


def pack(state: Mapping[str, Any]) -> int:
    """The description in a sealed memfd; the caller closes it."""
    return sealed_memfd("pyfpm-handover", json.dumps({"version": VERSION, "slot_size": SLOT_SIZE, **state}).encode())


def unpack(fd: int) -> dict[str, Any]:
    """The description behind a descriptor.

    Raises:
        StartError: it is not one that this program understands.
    """
    try:
        state = json.loads(os.pread(fd, os.fstat(fd).st_size, 0))
    except (OSError, ValueError) as error:
        raise StartError(f"the state handed over by the old master cannot be read: {error}") from error
    if not isinstance(state, dict) or state.get("version") != VERSION:
        found = state.get("version") if isinstance(state, dict) else None
        raise StartError(
            f"the old master hands over state of version {found}, expected {VERSION}; restart pyfpm instead"
        )
    if state.get("slot_size") != SLOT_SIZE:
        raise StartError(
            f"the running workers use {state.get('slot_size')} bytes each of their pool's scoreboard, "
            f"and those of this version {SLOT_SIZE}, so they cannot share it; restart pyfpm instead"
        )
    return state


def describe_pool(pool: PoolSupervisor, kept: InheritedFds) -> dict[str, Any]:
    """One pool with all its processes."""
    templates = pool.templates
    boards = [*templates.old_shared, *([templates.shared] if templates.shared else [])]
    present = templates.present
    ready = present is not None and present.state is TemplateState.READY
    return {
        "name": pool.config.name,
        "listener": dump_listener(pool.listener, kept),
        "access_log": None if pool.workers.access_log is None else kept.keep(pool.workers.access_log),
        "values": asdict(pool.record.values),
        "deaths": [asdict(death) for death in pool.record.deaths],
        "slow": [asdict(request) for request in pool.record.slow],
        "generation": templates.generation,
        "last_generation": templates.last_generation,
        "pinned": {name: getattr(templates.pinned, name) for name in PINNED},
        "failure": None if templates.failure is None else asdict(templates.failure),
        "boards": [_describe_shared(shared, kept) for shared in boards],
        "templates": [_describe_template(one, kept) for one in _templates_of(pool)],
        "present": present.pid if present is not None and ready else 0,
        "children": [_describe_child(child, boards, kept) for child in pool.workers.children],
    }


def restore_pool(pool: PoolSupervisor, state: Mapping[str, Any]) -> None:
    """Go on with a pool that has just been made for its handed-over listener."""
    templates = pool.templates
    pool.settled = True
    values = pool.record.values
    for name in {one.name for one in fields(values)} & set(state["values"]):  # an older program has fewer
        setattr(values, name, state["values"][name])
    pool.record.take_config(pool.config)
    pool.record.deaths.extend(read_death(death) for death in state.get("deaths", []))
    pool.record.slow.extend(SlowRequest(**request) for request in state.get("slow", []))
    templates.generation = state["generation"]
    templates.last_generation = state["last_generation"]
    templates.pinned = _pinned(pool.config, state["pinned"])
    templates.failure = None if state["failure"] is None else Failure(**state["failure"])
    pool.slow_log.change(pool.config)
    pool.workers.access_log = None if state["access_log"] is None else take_inherited(state["access_log"])
    boards = [_restore_shared(pool.services.loop, one) for one in state["boards"]]
    if boards:
        templates.old_shared, templates.shared = boards[:-1], boards[-1]
        templates.events.on_shared(boards[-1])
    by_pid = {one["pid"]: _restore_template(pool, one) for one in state["templates"]}
    templates.present = by_pid.get(state["present"])
    templates.old = [
        template
        for template in by_pid.values()
        if template is not templates.present and template.state is not TemplateState.GONE
    ]
    for child in state["children"]:
        template = by_pid.get(child["template"])
        if template is not None:  # it is kept as long as it has workers
            pool.workers.restore(template, boards[child["board"]].board, child)
    _send_away_old(pool, templates.old, state["templates"])


def _templates_of(pool: PoolSupervisor) -> list[TemplateProcess]:
    """Every template, and those that have ended and left workers behind."""
    found = pool.templates.all()
    return [*found, *{child.template: None for child in pool.workers.children if child.template not in found}]


def _describe_template(template: TemplateProcess, kept: InheritedFds) -> dict[str, Any]:
    gone = template.state is TemplateState.GONE
    return {
        "pid": template.pid,
        "gone": gone,
        "channel": -1 if gone else kept.keep(template.channel.fd),
        "outputs": [] if gone else _describe_outputs(template.outputs, kept),
        "spec": asdict(template.spec),
        "ready": template.state is TemplateState.READY,
        "started": template.started,
        "preload": template.preload,
        "directory": template.directory,
        "own_stack": [-1 if gone else kept.keep(template.own_stack.fd), template.own_stack.listens],
    }


def _describe_outputs(outputs: Iterable[OutputReader], kept: InheritedFds) -> list[int]:
    return [kept.keep(output.fd) for output in outputs]


def _restore_template(pool: PoolSupervisor, state: dict[str, Any]) -> TemplateProcess:
    for fd in (state["channel"], *state["outputs"]):
        take_inherited(fd)
    return pool.templates.adopt(state)


def _send_away_old(pool: PoolSupervisor, old: Iterable[TemplateProcess], states: Iterable[Mapping[str, Any]]) -> None:
    ready = {state["pid"]: state["ready"] for state in states}
    for template in old:
        if ready[template.pid] or template.spec.mode == "unavailable":
            template.quit()  # once more does no harm
        else:
            pool.emit(TemplateKilled("upgrade", pool=pool.config.name, pid=template.pid))
            template.kill()


def _describe_shared(shared: Shared, kept: InheritedFds) -> dict[str, Any]:
    return {
        "board": kept.keep(shared.board.fd),
        "slots": shared.board.slots,
        "wake": kept.keep(shared.wake),
        "park": [kept.keep(end.fileno()) for end in shared.park],
    }


def _restore_shared(loop: Loop, state: Mapping[str, Any]) -> Shared:
    board = Scoreboard(take_inherited(state["board"]), state["slots"], owns_fd=True)
    take, put = (
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, fileno=take_inherited(fd)) for fd in state["park"]
    )
    for end in (take, put):
        end.setblocking(False)
    return Shared(loop, board, take_inherited(state["wake"]), (take, put))


def _describe_child(child: Child, boards: list[Shared], kept: InheritedFds) -> dict[str, Any]:
    board = next(index for index, shared in enumerate(boards) if shared.board is child.board)
    return {"board": board, **child.dump(kept)}


def _pinned(config: PoolConfig, values: Mapping[str, Any]) -> PoolConfig:
    return replace(config, **{**values, "pythonpath": tuple(values["pythonpath"])})
