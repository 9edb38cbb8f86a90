"""The sample sites in contrib/, from the templates of `pyfpm init`; `python -m tests.support.sites` writes them."""

from __future__ import annotations

from pathlib import Path

from fpm.init.plan import Plan
from fpm.init.project import Static
from fpm.init.render import render_site
from fpm.init.servers import SERVERS

CONTRIB = Path(__file__).parents[2] / "contrib"


def samples() -> dict[Path, str]:
    """Texts by their files: for each web server a site, and one behind a proxy."""
    found = {}
    for name, server in SERVERS.items():
        for stem, proxies in (("shop", ()), ("shop-behind-proxy", ("10.0.0.0/8",))):
            plan = Plan(
                name="shop",
                what="Django project",
                app="shop.wsgi:application",
                directory="/srv/shop",
                user="shop",
                listen="/run/pyfpm/shop.sock",
                web_user=server.users[0],
                web_group=server.users[0],
                server=name,
                domains=("shop.example.com", "www.shop.example.com"),
                statics=(Static("/static/", "/srv/shop/static"), Static("/media/", "/srv/shop/media")),
                proxies=proxies,
            )
            found[CONTRIB / name / f"{stem}{Path(server.template).suffix}"] = render_site(plan)
    return found


if __name__ == "__main__":
    for path, text in samples().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
