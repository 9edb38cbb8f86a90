"""After the import, before the first fork: whether workers can be forked from it, and what else is to be said of it."""

from __future__ import annotations

import faulthandler
import gc
import socket
import sys
from typing import NoReturn

from fpm.launcher.launch import execute_template
from fpm.protocol.messages import PLAIN_REASON_MAX, Notice, pack
from fpm.protocol.spec import NO_PRELOAD, NO_WARMUP, TemplateSpec
from fpm.template.fork_safety import survey, survey_generators, survey_ports
from fpm.template.importing import WSGIApplication, watch
from fpm.template.own_children import end_children, own_children
from fpm.template.process_settings import Inherited
from fpm.template.warmup import warm_up
from fpm.worker import hot_path
from fpm.worker.process_end import run_handlers


def settle_import(
    spec: TemplateSpec, channel: socket.socket, inherited: Inherited, application: WSGIApplication, *, may_warm: bool
) -> None:
    """Make what the import has left fit to be forked from, and warm it up; tell the master what is to be known of it.

    With preload = auto, what is not safe to fork from is undone.

    Args:
        inherited: what to put back then.
        may_warm: False in a template that has found out that it must not.
    """
    reasons = survey() if spec.preload == "auto" else []
    if may_warm:
        _tell(channel, survey_ports())
    if reasons:
        _tell(
            channel,
            f"preload = auto: not safe to fork from, {'; '.join(reasons)}. Each worker imports the application itself. "
            "Start such things in a function registered with fpm.postfork, or set preload = yes or no to say so",
        )
        _begin_anew(spec, inherited, NO_PRELOAD)
    if may_warm and spec.preload_warmup:
        watch(spec, spec.spawned)
        warm_up(spec, channel, application)
        faulthandler.cancel_dump_traceback_later()
        if spec.preload == "auto" and (reasons := survey("preload.warmup")):
            _tell(
                channel,
                f"preload.warmup: not safe to fork from, {'; '.join(reasons)}. The application is imported again, "
                "without the requests. Let it close such things at the end of a request, or set preload = yes",
            )
            _begin_anew(spec, inherited, NO_WARMUP)
    _tell(channel, survey_generators())


def _begin_anew(spec: TemplateSpec, inherited: Inherited, argument: str) -> NoReturn:
    end_children(own_children())
    run_handlers()
    inherited.restore()
    # Only exec(2) gets rid of threads and of what C libraries keep.
    execute_template(spec, argument)


def settle_memory() -> None:
    """Make as much of the memory as possible stay shared with the workers."""
    let_go = getattr(sys.modules["fpm"].__loader__, "let_go", None)
    if let_go is not None:  # it is the bundle's importer, not an installed fpm's
        let_go()
    # Objects that exist now are never freed: the collector need not touch, and so copy, their pages in the workers.
    gc.collect()
    gc.freeze()


def _tell(channel: socket.socket, text: str) -> None:
    if text:
        channel.send(pack(Notice(text)))


def load_hot_path(spec: TemplateSpec) -> tuple[bool, str]:
    """Load the compiled part, if the pool wants it; returns whether it is here, and else what is to be said of that."""
    module, reason = hot_path.load(wanted=spec.worker.hotpath)
    return module is not None, reason[:PLAIN_REASON_MAX] if spec.worker.hotpath else ""
