"""The documented samples pools.d/www.conf and contrib/pyfpm.conf, generated from the table of directives. Pure."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator

from fpm.config.directives import GROUPS
from fpm.config.tables.entry import Directive, DirectiveGroup

_WIDTH = 78
_SWITCH = re.compile(r"`(auto|yes|no)`")

_ACTIVE = {
    "app": "wsgiref.simple_server:demo_app",
    "user": "$pool",
    "listen": "/run/pyfpm/$pool.sock",
    "listen.owner": "www-data",
    "listen.group": "www-data",
    "pm": "dynamic",
    "pm.max_children": "5",
    "pm.start_servers": "2",
    "pm.min_spare_servers": "1",
    "pm.max_spare_servers": "3",
}
"""What the sample pool sets: an application of the standard library, so that it runs unchanged."""

EXAMPLES = {
    "pid": "/run/pyfpm/pyfpm.pid",
    "control": "/run/pyfpm/control.sock",
    "status_listen": "/run/pyfpm/status.sock",
    "status_listen.owner": "root",
    "status_listen.group": "www-data",
    "status_listen.hosts": "web1.example.com",
    "error_log": "/var/log/pyfpm/error.log",
    "process.priority": "-5",
    "python": "/usr/bin/python3",
    "venv": "/srv/$pool/venv",
    "pythonpath": "src:lib",
    "group": "$pool",
    "supplementary_groups": "none",
    "umask": "027",
    "cpu_affinity": "0-3,6",
    "io_priority": "best-effort 7",
    "oom_score_adjust": "500",
    "cgroup.memory_max": "1G",
    "cgroup.memory_high": "800M",
    "cgroup.cpu_max": "150%",
    "cgroup.cpu_weight": "100",
    "cgroup.pids_max": "500",
    "cgroup.io_weight": "100",
    "prefix": "/srv/$pool",
    "listen.acl_users": "nginx, apache",
    "listen.acl_groups": "web",
    "listen.allowed_clients": "127.0.0.1, 10.0.0.0/8",
    "pm.max_requests_jitter": "50",
    "pm.status_path": "/status",
    "pm.status_listen": "/run/pyfpm/$pool.status.sock",
    "ping.path": "/ping",
    "access.log": "/var/log/pyfpm/$pool.access.log",
    "access.suppress_path": "/ping",
    "slowlog": "/var/log/pyfpm/$pool.slow.log",
    "chdir": "/srv/$pool",
    "env": "$PATH",
    "chroot": "/srv/jail/$pool",
    "rootfs": "/srv/rootfs/$pool",
    "namespaces": "mount ipc",
    "landlock": "read /srv/$pool write /srv/$pool/media",
    "apparmor_profile": "pyfpm-$pool",
    "selinux_context": "system_u:system_r:httpd_t:s0",
}
"""Values to show for directives without a default."""

_EXAMPLE_KEYS = {"env": "PATH"}


def pool_sample() -> str:
    """Return the text of pools.d/www.conf."""
    lines = _comment(
        "A pool of workers that runs one Python application. Copy this file, change the name in the brackets, and "
        "set app, user and listen. Lines that begin with ';' are comments; directives in them show the default or an "
        "example. See pyfpm.conf(5) for all details. Check with: pyfpm test"
    )
    lines += ["", *_comment("The name of the pool. $pool stands for it below."), "[www]"]
    for group in GROUPS:
        if group.scope == "pool":
            lines += _group(group)
    return "\n".join(lines) + "\n"


def main_sample() -> str:
    """Return the text of contrib/pyfpm.conf."""
    lines = _comment(
        "The main configuration file of pyfpm, to be installed as /etc/pyfpm/pyfpm.conf. Lines that begin with ';' "
        "are comments; directives in them show the default or an example. See pyfpm.conf(5) for all details. Check "
        "with: pyfpm test"
    )
    lines += ["", "[global]"]
    for group in GROUPS:
        if group.scope == "global":
            lines += _group(group)
    lines += ["", "", *_comment("Pools, one in each file. A relative path is relative to the directory of this file.")]
    return "\n".join([*lines, "include = pools.d/*.conf"]) + "\n"


def _group(group: DirectiveGroup) -> Iterator[str]:
    title = group.title.removeprefix("Pool: ")
    yield from ("", "", f"; ---- {title} {'-' * (_WIDTH - 8 - len(title))}")
    for directive in group.directives:
        yield ""
        yield from _directive(directive)


def _directive(directive: Directive) -> Iterator[str]:
    note = f" Default: {directive.default_note.rstrip('.')}." if directive.default_note else ""
    yield from _comment(_SWITCH.sub(r'"\1"', f"{directive.help}{note}").replace("`", ""))
    if directive.name in _ACTIVE:
        yield f"{directive.name} = {_ACTIVE[directive.name]}"
        return
    key = {"": "", "list": "[]", "key": f"[{_EXAMPLE_KEYS.get(directive.name, 'NAME')}]"}[directive.array]
    value = EXAMPLES.get(directive.name, directive.default or "")
    yield f";{directive.name}{key} = {_quoted(value)}"


def _quoted(value: str) -> str:
    return '"' + value.replace('"', '\\"') + '"' if re.search(r'[";#]', value) else value


def _comment(text: str) -> list[str]:
    return [f"; {line}" for line in textwrap.wrap(text, _WIDTH - 2, break_on_hyphens=False, break_long_words=False)]
