"""What `pyfpm init` is to make: the answers, checked, and the commands that are left to the administrator. Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection
from ipaddress import ip_network

from fpm.config.addresses import parse_address
from fpm.config.application_value import parse_application
from fpm.config.invalid_value import InvalidValue
from fpm.config.model import AbstractAddress, UnixAddress
from fpm.frozen import dataclass
from fpm.init.project import Static

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,30}")
"""A name that suits a pool, a file, a user and every web server."""
PATH = re.compile(r"/[\w./@+~-]*")
"""Paths that mean the same in every file, with or without quotes."""
DOMAIN = re.compile(r"(\*\.)?[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*")
URL = re.compile(r"/(?:[\w~-][\w.~-]*/)+")
LOG_DIRECTORY = "/var/log/pyfpm"
SHARED_USERS = frozenset(
    {"root", "www-data", "nginx", "apache", "http", "caddy", "haproxy", "lighttpd", "h2o", "nobody", "0"}
)
"""Users of web servers, and of nobody in particular: an application could read what belongs to others."""


@dataclass(frozen=True, slots=True)
class Plan:
    """All that the files are made of."""

    name: str
    what: str
    """The project in words."""
    app: str
    directory: str
    user: str
    listen: str
    web_user: str
    web_group: str
    venv: str = ""
    server: str = ""
    """A key of SERVERS; "" without a site."""
    domains: tuple[str, ...] = ()
    statics: tuple[Static, ...] = ()
    logs: bool = True
    """LOG_DIRECTORY is there."""
    proxies: tuple[str, ...] = ()
    """Networks of proxies in front of the web server."""


def check_name(name: str) -> str:
    """Return the name of the pool.

    Raises:
        InvalidValue: says what a name may be.
    """
    if name.lower() == "global":
        raise InvalidValue(f"'{name}' is the section of the daemon's own settings. Choose another name")
    if not NAME.fullmatch(name):
        raise InvalidValue(
            f"'{name}' is no name for a pool with a user and a site of its own. Use up to 31 letters, digits, _ and -, "
            "starting with a letter"
        )
    return name


def check_path(path: str, what: str) -> str:
    """Return an absolute path, normalised, that can be written into every file.

    Raises:
        InvalidValue: it has characters that some web server reads differently.
    """
    path = posixpath.normpath(path)
    if not PATH.fullmatch(path):
        raise InvalidValue(
            f"{what} '{path}': web servers read some of its characters differently. Use an absolute path of letters, "
            "digits and . _ - + ~ @ /"
        )
    return path


def check_app(app: str) -> str:
    """Return the application.

    Raises:
        InvalidValue: it is none that the directive takes.
    """
    if not re.fullmatch(r"[\w./+@~-]+:[\w.]+(\(\))?", parse_application(app)):
        raise InvalidValue(f"expected module:callable, path/to/file.py:callable or module:factory(), found '{app}'")
    return app


def check_user(user: str) -> str:
    """Return the pool's user.

    Raises:
        InvalidValue: the application would share it with others.
    """
    if user in SHARED_USERS:
        raise InvalidValue(
            f"'{user}' is no user for one application: it could read and write what belongs to others. Choose one of "
            "its own, which need not exist yet"
        )
    if not re.fullmatch(r"[a-z_][a-z0-9_-]{0,30}", user):
        raise InvalidValue(f"'{user}' is no name that useradd(8) takes. Use lower-case letters, digits, _ and -")
    return user


def check_listen(listen: str) -> str:
    """Return the address of the pool.

    Raises:
        InvalidValue: no web server could connect to it, or not each.
    """
    address = parse_address(listen)
    if isinstance(address, AbstractAddress):
        raise InvalidValue("an abstract socket has no owner, and most web servers cannot connect to it. Use a path")
    if isinstance(address, UnixAddress):
        return check_path(listen, "the socket")
    return listen


def check_domain(domain: str) -> str:
    """Return a domain of the site, in lower case.

    Raises:
        InvalidValue: it is none.
    """
    if not DOMAIN.fullmatch(domain) or len(domain) > 253:
        raise InvalidValue(
            f"'{domain}' is no domain. Write it as in shop.example.com, without http:// and without a port"
        )
    return domain.lower()


def parse_static(text: str) -> Static:
    """Parse /PATH=DIR.

    Raises:
        InvalidValue: says what was expected.
    """
    url, equals, directory = text.partition("=")
    url = f"/{url.strip('/')}/"
    if not equals or not directory.startswith("/") or not URL.fullmatch(url):
        raise InvalidValue(f"'{text}' is not /PATH=DIR, as in /static/=/srv/shop/static")
    return Static(url, check_path(directory, "the directory"))


def check_network(text: str) -> str:
    """Return an address or a network of proxies.

    Raises:
        InvalidValue: it is neither.
    """
    try:
        return str(ip_network(text)).removesuffix("/32").removesuffix("/128")
    except ValueError as error:
        raise InvalidValue(f"'{text}' is no address or network, as in 10.0.0.0/8: {error}") from None


def usable_statics(statics: Collection[Static]) -> tuple[tuple[Static, ...], list[str]]:
    """Return the static files that were found and can be written into a site, and notes about the others."""
    good: list[Static] = []
    notes: list[str] = []
    for one in statics:
        try:
            good.append(parse_static(f"{one.url}={one.directory}"))
        except InvalidValue as refusal:
            notes.append(f"the files of {one.url} are left out of the site: {refusal}")
    return tuple(good), notes
