"""After the import, before the first fork: whether workers can be forked from it, and what else is to be said of it."""

from __future__ import annotations

import socket

from fpm.launcher.launch import execute_template
from fpm.protocol.messages import Notice, pack
from fpm.protocol.spec import NO_PRELOAD, TemplateSpec
from fpm.template.fork_safety import survey, survey_generators, survey_ports
from fpm.template.own_children import end_children, own_children
from fpm.template.process_settings import Inherited
from fpm.worker.process_end import run_handlers


def look_at_import(spec: TemplateSpec, channel: socket.socket, inherited: Inherited) -> None:
    """Tell the master what is to be known of the import; with preload = auto, undo it if it is not safe to fork from.

    Args:
        inherited: what to put back then.
    """
    _tell(channel, survey_ports())
    reasons = survey() if spec.preload == "auto" else []
    if reasons:
        _tell(
            channel,
            f"preload = auto: not safe to fork from, {'; '.join(reasons)}. Each worker imports the application itself. "
            "Start such things in a function registered with fpm.postfork, or set preload = yes or no to say so",
        )
        end_children(own_children())
        run_handlers()
        inherited.restore()
        # Only exec(2) gets rid of threads and of what C libraries keep.
        execute_template(spec, NO_PRELOAD)
    _tell(channel, survey_generators())


def _tell(channel: socket.socket, text: str) -> None:
    if text:
        channel.send(pack(Notice(text)))
