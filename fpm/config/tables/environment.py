"""Pool directives for where the processes begin: directory and variables."""

from __future__ import annotations

from fpm.config.tables.entry import Directive, DirectiveGroup

ENVIRONMENT = DirectiveGroup(
    "Pool: environment",
    "pool",
    (
        Directive(
            "chdir",
            "path",
            None,
            "Working directory of the pool's processes, an absolute path, inside the `chroot` if there is one.",
            default_note="`/` with `chroot`, else the directory in which pyfpm was started",
        ),
        Directive(
            "clear_env",
            "boolean",
            "yes",
            "Whether the environment of the daemon is hidden from the application. `env` is added in any case.",
        ),
        Directive(
            "env",
            "text",
            None,
            "A variable in the application's environment: `env[NAME] = value`. "
            "`env[NAME] = $OTHER` takes the value of OTHER from the daemon's environment; if it is not set there, it "
            "is empty, with a notice, as is `${OTHER}` in such a value. The kernel takes up to 128 KiB for a "
            "variable. "
            "USER and HOME are those of the pool's user unless set here.",
            array="key",
        ),
    ),
)

GROUPS = (ENVIRONMENT,)
