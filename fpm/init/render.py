"""Writes the files of a plan, from the templates that also make the samples in contrib/. Pure."""

from __future__ import annotations

import re
from importlib.resources import files

from jinja2 import Environment, FunctionLoader, StrictUndefined, Template

from fpm.config.addresses import parse_address
from fpm.config.model import UnixAddress
from fpm.init.plan import LOG_DIRECTORY, Plan
from fpm.init.servers import SERVERS, spell


def render_pool(plan: Plan) -> str:
    """Write the pool file."""
    address = parse_address(plan.listen)
    return _template("pool.conf").render(
        **_values(plan),
        listens_at_path=isinstance(address, UnixAddress),
        allowed_clients=_clients(str(address)),
        log_directory=LOG_DIRECTORY,
    )


def render_site(plan: Plan) -> str:
    """Write the site of the plan's web server."""
    return _template(SERVERS[plan.server].template).render(
        **_values(plan),
        address=spell(parse_address(plan.listen)),
        variable=re.sub(r"\W", "_", plan.name),
        host_pattern="|".join(_pattern(domain) for domain in plan.domains),
        url_pattern="|".join(re.escape(one.url) for one in plan.statics),
    )


def _values(plan: Plan) -> dict[str, object]:
    return {name: getattr(plan, name) for name in plan.__dataclass_fields__}


def _clients(address: str) -> str:
    return "::1" if address.startswith("[") else "127.0.0.1"


def _pattern(domain: str) -> str:
    """Return a regular expression for a domain, with *. for any name below it."""
    any_below = domain.startswith("*.")
    return (r"[^.]+\." if any_below else "") + re.escape(domain.removeprefix("*."))


def _read(name: str) -> str:
    return files("fpm.init").joinpath("templates", name).read_text()


def _template(name: str) -> Template:
    return _ENVIRONMENT.get_template(name)


_ENVIRONMENT = Environment(
    loader=FunctionLoader(_read),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
