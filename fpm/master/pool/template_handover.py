"""Templates in an upgrade of pyfpm: described by the former master, made again by the next."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from fpm.config.model import PoolConfig
from fpm.master.listening.inherited import InheritedFds, take_inherited
from fpm.master.loop.channel import PoolChannel
from fpm.master.loop.fair_reader import Share
from fpm.master.pool.template_process import STREAMS, TemplateKeeper, TemplateProcess
from fpm.master.pool.template_state import TemplateState
from fpm.master.processes.self_dump_fd import SelfDumpFd
from fpm.master.services import Services
from fpm.protocol.spec import unpack_spec

SAME = ("pid", "started", "preload", "directory", "python", "has_entered")
"""Attributes that are handed over as they are."""


def dump_template(template: TemplateProcess, kept: InheritedFds) -> dict[str, Any]:
    """Describe it for the next master, be it gone already: its workers name it."""
    is_gone = template.state is TemplateState.GONE
    return {
        **{name: getattr(template, name) for name in SAME},
        "state": template.state.name,
        "spec": asdict(template.spec),
        "channel": -1 if is_gone else kept.keep(template.channel.fd),
        "outputs": [] if is_gone else [kept.keep(output.fd) for output in template.outputs],
        "own_stack": [-1 if is_gone else kept.keep(template.own_stack.fd), template.own_stack.listens],
    }


def restore_template(
    services: Services, config: PoolConfig, share: Share, keeper: TemplateKeeper, state: Mapping[str, Any]
) -> TemplateProcess:
    """Make the same from what `dump_template` has said."""
    spec = unpack_spec(json.dumps(state["spec"]).encode())
    where = TemplateState[state["state"]]
    own_stack = SelfDumpFd.restore(*state["own_stack"])
    is_gone = where is TemplateState.GONE
    channel = PoolChannel(None if is_gone else take_inherited(state["channel"]))
    template = TemplateProcess(services, config, spec, share, keeper, where, channel, own_stack)
    for name in SAME:
        setattr(template, name, state.get(name, getattr(template, name)))
    if is_gone:
        template.close()
        return template
    streams = zip(STREAMS, state["outputs"], strict=False)
    template.outputs = [template.output(stream, take_inherited(fd)) for stream, fd in streams if fd >= 0]
    template.watch()
    return template
