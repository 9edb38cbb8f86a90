"""Looks at a project and at this machine: sources, virtual environments, web servers, users. Executes nothing."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Iterator
from shutil import which

from fpm.discover.project import Project, find_project, read_source
from fpm.init.django import read_details
from fpm.init.project import Details, Found, Static
from fpm.init.servers import SERVERS, Place, WebServer

UNITS = ("/etc/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")
FRAMEWORKS = {"django": "Django project", "cherrypy": "CherryPy application", "": "WSGI application"}


def look_at_project(target: str, directory: str) -> Found:
    """Find the application of a project, and what else its sources tell.

    Args:
        target: as of fpm.discover.project.find_project; "" for whatever is there.
        directory: absolute.

    Raises:
        NoApplication: says what was looked for.
    """
    project = find_project(target, directory)
    what = FRAMEWORKS.get(project.framework, f"{project.framework.capitalize()} application")
    details = Details()
    if project.settings:
        details = read_details(
            project.directory, project.app, project.settings, lambda path: read_source(f"{project.directory}/{path}")
        )
    elif project.framework == "flask":
        details = Details(tuple(_static_of_flask(project)))
    return Found(what, project.app, project.directory, details)


def _static_of_flask(project: Project) -> Iterator[Static]:
    """Yield the directory `static` beside the application, which Flask serves by itself as /static/."""
    where = project.app.rpartition(":")[0]
    path = where if where.endswith(".py") else f"{where.replace('.', '/')}.py"
    if not os.path.exists(os.path.join(project.directory, path)):
        path = f"{path.removesuffix('.py')}/__init__.py"
    static = os.path.join(project.directory, os.path.dirname(path), "static")
    if os.path.isdir(static) and not os.path.islink(static):
        yield Static("/static/", static)


def find_server() -> str:
    """Return the first of the known web servers that is installed, "" if there is none."""
    return next((name for name, server in SERVERS.items() if is_installed(server)), "")


def is_installed(server: WebServer) -> bool:
    """Tell whether there is a web server's program, also outside of an ordinary user's PATH."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    return any(which(program, path=path) for program in server.program)


def find_place(server: WebServer) -> Place | None:
    """Return where the web server's sites are here; None if nothing is known."""
    return next((place for place in server.places if os.path.isdir(place.directory)), None)


def web_account(server: WebServer) -> tuple[str, str]:
    """Return user and group of a web server: the first of the usual names that there is here; "" if there is none."""
    for name in server.users:
        try:
            return name, grp.getgrgid(pwd.getpwnam(name).pw_gid).gr_name
        except KeyError:
            continue
    return "", ""


def has_user(name: str) -> bool:
    """Tell whether there is a user of this name."""
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def has_unit() -> bool:
    """Tell whether the unit pyfpm@ is installed."""
    return any(os.path.exists(f"{directory}/pyfpm@.service") for directory in UNITS)
