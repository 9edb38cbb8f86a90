"""Makes the templates and 503 responders of one pool, or goes on with those that an upgrade keeps."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fpm.config.model import PoolConfig
from fpm.master.loop.fair_reader import Share
from fpm.master.pool.shared_resources import PoolResources, SharedResources
from fpm.master.pool.specs import template_spec, unavailable_settings, unavailable_spec, worker_settings
from fpm.master.pool.template_handover import restore_template
from fpm.master.pool.template_process import TemplateKeeper, TemplateProcess
from fpm.master.pool.template_state import TemplateState
from fpm.master.services import Services
from fpm.protocol.spec import FD_LISTEN, FD_PARK_PUT, FD_PARK_TAKE, FD_SCOREBOARD, FD_WAKE, TemplateSpec
from fpm.stacks.rights import must_become_its_user, needs_named_tracer
from fpm.system.listening import Listener


class TemplateFactory:
    """Executes templates with what the processes of the pool share."""

    def __init__(self, services: Services, listener: Listener, share: Share, resources: PoolResources) -> None:
        self.services = services
        self._listener = listener
        self._share = share
        self._resources = resources

    def make(
        self, config: PoolConfig, shared: SharedResources, state: TemplateState, generation: int, keeper: TemplateKeeper
    ) -> TemplateProcess:
        """Execute one.

        Args:
            state: the initial state, which says what it is for.

        Raises:
            OSError: it cannot be executed, or there are no descriptors or processes left.
        """
        spec = self._spec(config, shared, state, generation)
        template = TemplateProcess(self.services, config, spec, self._share, keeper, state)
        take, put = self._resources.park_for(shared)
        listen = self._listener.socket.fileno()
        try:
            template.spawn(
                {
                    FD_SCOREBOARD: shared.board.fd,
                    FD_WAKE: shared.wake,
                    FD_PARK_TAKE: take,
                    FD_PARK_PUT: put,
                    FD_LISTEN: listen,
                    **({} if state.is_responder else self._resources.world.descriptors(config)),
                }
            )
        except OSError:
            template.close()
            raise
        return template

    def restore(self, config: PoolConfig, state: Mapping[str, Any], keeper: TemplateKeeper) -> TemplateProcess:
        """Go on with one that the former pyfpm has made."""
        return restore_template(self.services, config, self._share, keeper, state)

    def _spec(self, config: PoolConfig, shared: SharedResources, state: TemplateState, generation: int) -> TemplateSpec:
        limit, slots = self.services.settings.log_limit, shared.board.slots
        if state.is_responder:
            settings = unavailable_settings(config, log_limit=limit)
        else:
            settings = worker_settings(config, log_limit=limit, slots=slots)
        spec = template_spec(
            config,
            generation=generation,
            worker=settings,
            original_rlimit_files=self.services.original_rlimit_files,
            priority=self.services.settings.process_priority,
            inherited=self.services.environ,
            now=self.services.loop.now,
            # Looked at anew each time: who changes kernel.yama.ptrace_scope then needs no more than a reload.
            ptracer=os.getpid() if needs_named_tracer() else 0,
            dumpable=must_become_its_user(),
        )
        group = self.services.cgroups.directory_of(config)
        spec = replace(spec, listen_is_ours=self._listener.is_ours, cgroup_directory=group)
        return unavailable_spec(spec) if state.is_responder else spec
