"""The rules for the answers of `pyfpm init`, the files that it writes, and the commands that it prints."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fpm.config.invalid_value import InvalidValue
from fpm.init import plan as rules
from fpm.init.files import InitError, refuse_existing
from fpm.init.outcome import Facts, list_steps
from fpm.init.plan import Plan
from fpm.init.project import Details, Static
from fpm.init.render import render_pool, render_site
from fpm.init.servers import SERVERS
from tests.support.sites import samples

PLAN = Plan(
    name="shop",
    what="Django project",
    app="shop.wsgi:application",
    directory="/srv/shop",
    user="shop",
    listen="/run/pyfpm/shop.sock",
    web_user="www-data",
    web_group="www-data",
    domains=("shop.example.com",),
)
INJECTIONS = ["x\nuser = root", "x; root", "x{", 'x"', "x'", "x $y", "x\\", "x\t", "", " "]


@pytest.mark.parametrize(
    ("check", "prefix"),
    [
        (rules.check_name, ""),
        (rules.check_app, "a:"),
        (rules.check_user, ""),
        (rules.check_domain, ""),
        (rules.check_network, ""),
        (rules.parse_static, "/s/=/srv/"),
        (rules.parse_static, "/"),
    ],
)
@pytest.mark.parametrize("text", INJECTIONS)
def test_nothing_can_be_written_that_means_something_else(
    check: Callable[[str], object], prefix: str, text: str
) -> None:
    if (check, prefix, text.strip()) == (rules.parse_static, "/s/=/srv/", "") and text == "":
        return  # the directory itself
    with pytest.raises(InvalidValue):
        check(prefix + text)


@pytest.mark.parametrize("text", ["/srv/x y", "/srv/a;b", "/srv/$x", "/srv/x\ny", "srv/x", "/srv/{x}"])
def test_paths_that_a_web_server_would_read_differently(text: str) -> None:
    with pytest.raises(InvalidValue, match="read some of its characters differently"):
        rules.check_path(text, "the directory")


@pytest.mark.parametrize("user", ["root", "www-data", "nginx", "nobody", "caddy"])
def test_no_pool_shares_its_user(user: str) -> None:
    with pytest.raises(InvalidValue, match="no user for one application"):
        rules.check_user(user)


def test_what_is_taken() -> None:
    assert rules.check_name("shop-2") == "shop-2"
    assert rules.check_domain("*.Example.com") == "*.example.com"
    assert rules.check_listen("127.0.0.1:9000") == "127.0.0.1:9000"
    assert rules.check_network("10.0.0.0/8") == "10.0.0.0/8"
    assert rules.check_network("192.0.2.1") == "192.0.2.1"
    assert rules.parse_static("static=/srv/shop/static/") == Static("/static/", "/srv/shop/static")
    with pytest.raises(InvalidValue):
        rules.check_listen("@shop")
    with pytest.raises(InvalidValue):
        rules.check_name("global")


def test_the_samples_in_contrib_are_what_init_writes() -> None:
    """`make man` writes them."""
    assert {path: path.read_text() for path in samples()} == samples()
    assert len(samples()) == 2 * len(SERVERS)


def test_a_pool_at_a_port() -> None:
    text = render_pool(replace(PLAN, listen="127.0.0.1:9000", venv="/srv/shop/venv"))
    assert "\nlisten = 127.0.0.1:9000\n" in text
    assert "\nlisten.allowed_clients = 127.0.0.1\n" in text
    assert "listen.group" not in text
    assert "\nvenv = /srv/shop/venv\n" in text


def test_a_machine_without_a_web_server() -> None:
    assert "\n;listen.group = www-data\n" in render_pool(replace(PLAN, web_user="", web_group=""))


@pytest.mark.parametrize(
    ("server", "words"),
    [
        ("nginx", "fastcgi_pass 127.0.0.1:9000;"),
        ("apache", 'ProxyPass "/" "fcgi://127.0.0.1:9000/"'),
        ("caddy", "reverse_proxy 127.0.0.1:9000 {"),
        ("lighttpd", '"host" => "127.0.0.1", "port" => 9000'),
        ("h2o", '{host: "127.0.0.1", port: 9000}'),
        ("haproxy", "server pool 127.0.0.1:9000 proto fcgi"),
    ],
)
@pytest.mark.parametrize("listen", ["127.0.0.1:9000", "9000", "0.0.0.0:9000"])
def test_a_site_in_front_of_a_port(server: str, words: str, listen: str) -> None:
    assert words in render_site(replace(PLAN, server=server, listen=listen))


def test_the_host_of_lighttpd() -> None:
    text = render_site(replace(PLAN, server="lighttpd", domains=("*.example.com", "x.test")))
    (pattern,) = re.findall(r'\$HTTP\["host"\] =~ "(.*)"', text)
    assert re.search(pattern, "a.example.com:8080")
    assert re.search(pattern, "x.test")
    assert not re.search(pattern, "a.b.example.com")
    assert not re.search(pattern, "xxtest")


def test_the_steps_that_are_left() -> None:
    static = (Static("/static/", "/srv/shop/static"), Static("/media/", "/srv/shop/media"))
    details = Details(static, collects_static=True, migrates=True)
    plan = replace(PLAN, server="apache", statics=static, venv="/srv/shop/venv", proxies=("10.0.0.0/8",))
    facts = Facts(has_user=False, is_running=True, pyfpm="pyfpm", place=SERVERS["apache"].places[0])
    commands = [command for step in list_steps(plan, details, facts) for command in step.commands]
    assert commands == [
        "useradd --system --user-group --no-create-home --home-dir /srv/shop --shell /usr/sbin/nologin shop",
        "install -d -o shop -g shop /srv/shop/static",
        "install -d -o shop -g shop /srv/shop/media",
        "runuser -u shop -- /srv/shop/venv/bin/python /srv/shop/manage.py collectstatic --noinput",
        "runuser -u shop -- /srv/shop/venv/bin/python /srv/shop/manage.py migrate",
        "pyfpm test",
        "pyfpm doctor shop",
        "pyfpm reload shop",
        "a2enmod proxy_fcgi headers remoteip",
        "a2ensite shop",
        "apache2ctl configtest && systemctl restart apache2",
    ]
    facts = Facts(has_user=True, is_running=False, pyfpm="pyfpm -c x", is_set_up=False)
    commands = [command for step in list_steps(PLAN, Details(), facts) for command in step.commands]
    facts = replace(facts, unit_file="/etc/pyfpm/pools.d/shop.conf", is_set_up=True)
    with_unit = [command for step in list_steps(PLAN, Details(), facts) for command in step.commands]
    assert with_unit == [
        "pyfpm -c /etc/pyfpm/pools.d/shop.conf test",
        "pyfpm -c /etc/pyfpm/pools.d/shop.conf doctor shop",
        "systemctl enable --now pyfpm@shop.socket",
        "systemctl enable --now pyfpm@shop",
    ]
    caddy = list_steps(replace(PLAN, web_group="caddy"), Details(), facts)
    assert [command for step in caddy for command in step.commands] == [*with_unit[:2], with_unit[3]]
    assert commands == [
        "pyfpm setup",
        "pyfpm -c x test",
        "pyfpm -c x doctor shop",
        "systemctl enable --now pyfpm-pool@shop.socket pyfpm",
    ]
    other_group = list_steps(replace(PLAN, web_group="caddy"), Details(), replace(facts, unit_file=""))
    assert other_group[-1].commands == ("systemctl enable --now pyfpm",)


@pytest.mark.parametrize("has_sqlite", [True, False])
def test_the_directory_of_an_sqlite_database_belongs_to_the_pools_user(has_sqlite: bool) -> None:
    details = Details(migrates=True, sqlite="/srv/shop/data/db.sqlite3")
    facts = Facts(has_user=True, is_running=True, pyfpm="pyfpm", has_sqlite=has_sqlite)
    assert list(list_steps(PLAN, details, facts)[0].commands) == [
        "install -d -o shop -g shop /srv/shop/data",
        *(["chown -h shop:shop /srv/shop/data/db.sqlite3"] if has_sqlite else []),
        "runuser -u shop -- python3 /srv/shop/manage.py migrate",
    ]


@pytest.mark.parametrize(("names", "pronoun"), [(["a"], "it"), (["a", "b"], "them")])
def test_files_that_exist_are_named_together(tmp_path: Path, names: list[str], pronoun: str) -> None:
    paths = [tmp_path / name for name in names]
    for path in paths:
        path.touch()
    with pytest.raises(InitError) as refused:
        refuse_existing({str(path): "text" for path in (*paths, tmp_path / "missing")})
    verb = "exists" if len(names) == 1 else "exist"
    expected = (
        f"{' and '.join(map(str, paths))} {verb} already. Look at {pronoun}, and add --force to overwrite {pronoun}, "
    )
    assert str(refused.value).startswith(expected)
