"""Asks nginx for its configuration, and finds the user of the web server."""

from __future__ import annotations

import grp
import os
import pwd
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from fpm.config.local_system import group_name, user_name
from fpm.doctor.findings import Finding
from fpm.doctor.helpers import run_program
from fpm.doctor.nginx_text import Dump, read_dump
from fpm.doctor.socket_access import WebUser

NGINX_TIME = 20.0
_STAMP = re.compile(r"^(?:nginx: |\S+ \S+ (?=\[)(?:\[\w+\] )\d+#\d+: )")
"""What nginx writes before its sentences."""
SERVERS = ("nginx", "apache2", "httpd", "caddy", "lighttpd", "haproxy", "h2o")
"""Web servers, as the kernel names their processes."""
USUAL = ("www-data", "nginx", "http", "apache", "caddy")


def nginx_command(file: str | None) -> list[str]:
    """Return the command that runs nginx.

    Args:
        file: its configuration; None: its own default.
    """
    return ["nginx", *(("-c", os.path.abspath(file)) if file else ())]


def ask_nginx(file: str | None) -> tuple[Dump | None, list[Finding]]:
    """Have nginx print its configuration; None if it is not installed, or does not."""
    command = nginx_command(file)
    done = run_program([*command, "-T"], NGINX_TIME)
    if done is None:
        return None, []
    if done.returncode == 0:
        return read_dump(done.stdout), []
    words = "; ".join(_STAMP.sub("", line) for line in done.stderr.strip().splitlines()[-2:])
    if os.geteuid() != 0:
        text = (
            f"this user cannot ask nginx for its configuration ({words}). Run pyfpm doctor as root to have it checked"
        )
        return None, [Finding("nginx", "note", text)]
    test = shlex.join([*command, "-t"])
    return None, [
        Finding("nginx", "problem", f"nginx does not accept its own configuration: {words}", commands=(test,))
    ]


def find_web_user(given: str | None, dump: Dump | None) -> WebUser | None:
    """Find the user of the web server; None if nothing tells.

    Args:
        given: his name, from the command line.

    Raises:
        KeyError: there is no user with the given name.
    """
    if given is not None:
        return _by_name(given, "", "--web-user")
    if dump is not None and dump.user[0]:
        try:
            return _by_name(*dump.user, "user in nginx's configuration")
        except KeyError:
            pass  # nginx would not have accepted it; or it is another machine's
    running = next(_running(), None)
    if running is not None:
        return running
    for name in USUAL:
        try:
            return _by_name(name, "", "the usual name")
        except KeyError:
            continue
    return None


def _by_name(name: str, group: str, source: str) -> WebUser:
    entry = pwd.getpwnam(name)
    gid = grp.getgrnam(group).gr_gid if group else entry.pw_gid
    return WebUser(name, entry.pw_uid, group_name(gid), tuple({gid, *os.getgrouplist(name, gid)}), source)


def _running() -> Iterator[WebUser]:
    """Yield the users of running web servers' workers, with the groups that these really have."""
    for pid in sorted(int(name) for name in os.listdir("/proc") if name.isdigit()):
        try:
            if Path(f"/proc/{pid}/comm").read_text().strip() not in SERVERS:
                continue
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        except OSError:
            continue  # it has ended
        status = dict(line.split(":", 1) for line in lines if ":" in line)
        uid, gid = int(status["Uid"].split()[1]), int(status["Gid"].split()[1])
        if uid:
            gids = (gid, *map(int, status["Groups"].split()))
            yield WebUser(user_name(uid), uid, group_name(gid), gids, f"user of {status['Name'].strip()}, pid {pid}")
