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
        Directive(
            "env_file",
            "path",
            None,
            "A file with more variables for the application, such as passwords, in the form of systemd's "
            "EnvironmentFile=: `NAME=VALUE` lines, with `export` or without, comments that begin with `#` or `;`, and "
            "values in single or double quotes, which may have several lines. Nothing is replaced in them. They take "
            "precedence over `env`. Each template reads it when it starts, so that a reload takes a changed file "
            "(`pyfpm reload --changed` notices it), outside of the `chroot`, and with the rights of the pool's user: "
            "mode 0640, owned by root, with the pool's group. A line that cannot be read makes the pool fail. The "
            "values are shown nowhere.",
            differs="PHP-FPM has no such directive.",
        ),
    ),
)

GROUPS = (ENVIRONMENT,)
