"""Where the pool that is written listens, and who may connect: a socket that is there after a reboot. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from fpm.convert.given import Carried

DIRECTORY = "/run/pyfpm"
_EMPTIED = re.compile(r"/(?:var/)?run/")
"""Directories that are empty after a reboot: what another service makes there, it makes for itself."""
_KEPT = re.compile(r"/(?:var/)?run/pyfpm/[^/]+")
_SAYS_WHO = frozenset({"listen.group", "listen.owner", "listen.acl_users", "listen.acl_groups"})
MOVED = "instead of {}: {}; the web server's line becomes fastcgi_pass unix:{}"
EMPTIED = "/run is empty after a boot, and only /run/pyfpm is made for pyfpm"
RELATIVE = "it is relative to another directory here"
GROUP = "the web server's group, which may connect"
USUAL_GROUP = "www-data"
NO_GROUP = "no web server's user was found on this machine; name the group of the one that connects to the socket"


def settle(name: str, directives: Mapping[str, Carried], web_group: str) -> tuple[dict[str, Carried], dict[str, str]]:
    """Return `listen` and `listen.group` as they are to be, and what is to complete.

    Args:
        name: of the pool.
        directives: as they come from the other server; nothing may be said of the address.
        web_group: the web server's group on this machine; "" if there is none.
    """
    listen = directives.get("listen", Carried(f"{DIRECTORY}/{name}.sock", ()))
    found = {"listen": _moved(name, listen)}
    mode = directives.get("listen.mode", Carried("0660", ())).value
    is_open = re.fullmatch(r"0?[0-7]{2}[2367]", mode) is not None
    if not _is_path(found["listen"].value) or is_open or _SAYS_WHO & directives.keys():
        return found, {}
    comment = GROUP if web_group else ""
    found["listen.group"] = Carried(web_group or USUAL_GROUP, (), comment=comment)
    return found, {} if web_group else {"listen.group": NO_GROUP}


def _moved(name: str, listen: Carried) -> Carried:
    """Return the address, in our own directory if its own is not there for us."""
    path = listen.value.strip("'\"") if listen.raw else listen.value
    is_relative = path.startswith("./") or (_is_path(path) and not path.startswith("/"))
    if _KEPT.fullmatch(path) or not (_EMPTIED.match(path) or is_relative):
        return listen
    own = f"{DIRECTORY}/{name}.sock"
    comment = MOVED.format(path, RELATIVE if is_relative else EMPTIED, own)
    origins = [(line, option, "") for line, option, _ in listen.origins]
    return Carried(own, tuple(origins), comment=comment)


def _is_path(address: str) -> bool:
    return "/" in address.strip("'\"") and not address.startswith("@")
