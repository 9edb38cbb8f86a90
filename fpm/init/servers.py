"""The web servers for which there are sites: where files belong, who they run as, how addresses are spelt. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from fpm.config.model import ListenAddress, UnixAddress
from fpm.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """A directory of a distribution for sites."""

    directory: str
    """It is used if it exists."""
    file: str
    """Name of a site's file; {name} is the pool."""
    steps: tuple[str, ...]
    """Commands that put the site into service; {name} as above, {modules} what `WebServer.modules` says."""


@dataclass(frozen=True, slots=True)
class WebServer:
    """One web server."""

    title: str
    template: str
    """File in templates/, and also the last part of the site's name where there is no place for it."""
    program: tuple[str, ...]
    users: tuple[str, ...]
    """Usual names of its user, which is also that of its group."""
    places: tuple[Place, ...]
    proxy_modules: tuple[str, ...] = ()
    """What a site behind a proxy needs in addition."""


_NGINX = "nginx -t && systemctl reload nginx"
_CADDY = "caddy validate --adapter caddyfile --config /etc/caddy/Caddyfile && systemctl reload caddy"
_HAPROXY_OPTIONS = (
    """echo 'EXTRAOPTS="-S /run/haproxy-master.sock -f /etc/haproxy/{name}.cfg"' >> /etc/default/haproxy"""
)
_HAPROXY = "haproxy -c -f /etc/haproxy/haproxy.cfg -f /etc/haproxy/{name}.cfg && systemctl restart haproxy"

SERVERS: Mapping[str, WebServer] = {
    "nginx": WebServer(
        "nginx",
        "nginx.conf",
        ("nginx",),
        ("www-data", "nginx", "http"),
        (
            Place(
                "/etc/nginx/sites-available",
                "{name}",
                ("ln -s ../sites-available/{name} /etc/nginx/sites-enabled/{name}", _NGINX),
            ),
            Place("/etc/nginx/conf.d", "{name}.conf", (_NGINX,)),
        ),
    ),
    "apache": WebServer(
        "Apache",
        "apache.conf",
        ("apache2", "httpd"),
        ("www-data", "apache", "http"),
        (
            Place(
                "/etc/apache2/sites-available",
                "{name}.conf",
                (
                    "a2enmod proxy_fcgi headers{modules}",
                    "a2ensite {name}",
                    "apache2ctl configtest && systemctl restart apache2",
                ),
            ),
            Place("/etc/httpd/conf.d", "{name}.conf", ("apachectl configtest && systemctl reload httpd",)),
        ),
        (" remoteip",),
    ),
    "caddy": WebServer(
        "Caddy",
        "caddy.conf",
        ("caddy",),
        ("caddy", "www-data"),
        (Place("/etc/caddy", "{name}.caddy", ("echo 'import {name}.caddy' >> /etc/caddy/Caddyfile", _CADDY)),),
    ),
    "lighttpd": WebServer(
        "lighttpd",
        "lighttpd.conf",
        ("lighttpd",),
        ("www-data", "lighttpd", "http"),
        (
            Place(
                "/etc/lighttpd/conf-available",
                "90-{name}.conf",
                (
                    "lighttpd-enable-mod {name}",
                    "lighttpd -tt -f /etc/lighttpd/lighttpd.conf && systemctl restart lighttpd",
                ),
            ),
        ),
    ),
    "h2o": WebServer(
        "h2o",
        "h2o.conf",
        ("h2o",),
        ("debian-h2o", "h2o", "www-data"),
        (
            Place(
                "/etc/h2o",
                "{name}.conf",
                (
                    "h2o -t -c /etc/h2o/{name}.conf",
                    "cp --backup=numbered /etc/h2o/{name}.conf /etc/h2o/h2o.conf && systemctl restart h2o",
                ),
            ),
        ),
    ),
    "haproxy": WebServer(
        "HAProxy",
        "haproxy.cfg",
        ("haproxy",),
        ("haproxy", "www-data"),
        (
            Place(
                "/etc/haproxy",
                "{name}.cfg",
                (
                    _HAPROXY_OPTIONS,
                    _HAPROXY,
                ),
            ),
        ),
    ),
}
"""By the values of --server."""


def spell(address: ListenAddress) -> dict[str, str]:
    """Spell the address of a pool as each web server does."""
    if isinstance(address, UnixAddress):
        path = address.path
        return {
            "nginx": f"unix:{path}",
            "apache": f"unix:{path}|fcgi://localhost",
            "caddy": f"unix/{path}",
            "lighttpd": f'"socket" => "{path}"',
            "h2o": f'{{port: "{path}", type: unix}}',
            "haproxy": f"unix@{path}",
        }
    host, colon, port = str(address).rpartition(":")
    host = host if colon and host not in ("", "0.0.0.0", "[::]") else "127.0.0.1"
    both = f"{host}:{port}"
    return {
        "nginx": both,
        "apache": f"fcgi://{both}",
        "caddy": both,
        "lighttpd": f'"host" => "{host.strip("[]")}", "port" => {port}',
        "h2o": f'{{host: "{host.strip("[]")}", port: {port}}}',
        "haproxy": both,
    }
