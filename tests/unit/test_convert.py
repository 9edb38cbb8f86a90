"""`pyfpm convert`, the pure part: files of other servers become pool files that our own check accepts."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fpm.config.directives import DIRECTIVES, unknown
from fpm.config.load import load
from fpm.config.model import Config, PoolConfig
from fpm.convert.convert import Converted, Source, convert_file, guess
from fpm.convert.hint import hint
from fpm.convert.option import NOT_CARRIED, plain
from fpm.convert.page import quote
from fpm.convert.read_uwsgi import read_uwsgi
from fpm.convert.words import PEERS
from fpm.errors import ConfigError
from tests.support.configuration import Files
from tests.support.effort import grows_in_proportion

KNOWN = {scope: frozenset(table) for scope, table in DIRECTIVES.items()}


def convert(
    text: str, file: str = "shop.ini", kind: str = "", name: str = "", group: str = "nogroup", where: str = "/srv/site"
) -> Converted:
    path = f"{where}/{file}"
    return convert_file(
        Source(file=file, path=path, text=text, kind=kind, name=name, cores=2, known=KNOWN, web_group=group)
    )


class Converter:
    """Converts, and reads the result as a configuration."""

    def __init__(self, directory: Path) -> None:
        self._files = Files(directory)

    def config(self, text: str, file: str = "shop.ini", kind: str = "") -> Config:
        return self._files.load(convert(text, file, kind).text)

    def pool(self, text: str, file: str = "shop.ini", kind: str = "") -> PoolConfig:
        (pool,) = self.config(text, file, kind).pools
        return pool


@pytest.fixture
def converter(tmp_path: Path) -> Converter:
    return Converter(tmp_path)


UWSGI = """\
[uwsgi]
project = shop
base = /tmp
set = venv=%(base)/venv
; a comment
chdir = %(base)
module = %(project).wsgi:application
master = true
processes = %k
harakiri = 30
socket = /tmp/%n.sock
chmod-socket = 660
vacuum
max-requests = 5000
max-requests-delta=50
reload-on-rss = 256
limit-as = 1024
env = DJANGO_SETTINGS_MODULE=shop.settings
env = SECRET=a'b"c;d#e
env = PERCENT=100%
static-map = /static=/srv/static
worker-reload-mercy = 20
foo-bar = 1
harakiri = 40
chroot = @(/var/log/name)
[other]
processes = 99
"""


def test_uwsgi(converter: Converter) -> None:
    pool = converter.pool(UWSGI)
    assert (pool.name, pool.app, pool.chdir) == ("shop", "shop.wsgi:application", "/tmp")
    assert (pool.pm, pool.pm_max_children, pool.pm_max_requests, pool.pm_max_requests_jitter) == ("static", 2, 5000, 50)
    assert (str(pool.listen), pool.listen_mode, pool.pm_max_memory) == ("/tmp/shop.sock", 0o660, 256 << 20)
    assert (pool.request_terminate_timeout, pool.rlimit_as) == (40.0, 1 << 30)
    assert dict(pool.env) == {"DJANGO_SETTINGS_MODULE": "shop.settings", "SECRET": "a'b\"c;d#e", "PERCENT": "100%"}
    text = convert(UWSGI).text
    for part in (
        "; shop.ini:9: processes = 2 (from %k)",
        "; shop.ini:10: harakiri (request_terminate_timeout = 30s)\n;     line 24 replaces it",
        "; shop.ini:8: master = true\n;     there is always a master",
        "; shop.ini:13: vacuum = true",
        ";process_control_timeout = 20s",
        "; shop.ini:2: project = shop\n;     a variable of the file",
        "; shop.ini:23: foo-bar = 1\n;     pyfpm does not know this option of uWSGI",
        ";     the content of another file is not read",
    ):
        assert part in text, part


def test_a_section_of_uwsgi_takes_in_another_one() -> None:
    common = "[common]\nharakiri = 30\nini = :uwsgi\nini = :more\n[more]\numask = 022\n"
    text = convert(f"[uwsgi]\nmodule = a\nini = :common\nini = :none\n{common}").text
    for part in (
        "; shop.ini:6: harakiri",
        "; shop.ini:10: umask",
        "; shop.ini:4: ini = :none",
        "; shop.ini:7: ini = :uwsgi",
    ):
        assert part in text, part
    text = convert(
        "[uwsgi]\n"
        + "ini = :a\n" * 20
        + "".join(f"[{one}]\n" + f"ini = :{two}\n" * 20 for one, two in zip("abcdef", "bcdefg", strict=True))
        + "[g]\nx=1\n"
    ).text
    assert text.count("x = 1") == 20_000, "there is an end to it"


def test_percent_signs_of_uwsgi() -> None:
    text = convert('[uwsgi]\nmodule = a\nenv = X=%%n%n%%\nlog-format = %(addr) "%(uri)"\n').text
    assert "\nenv[X] = %nshop%\n" in text
    assert ";     access.format has placeholders of its own" in text
    assert 'log-format = %(addr) "%(uri)"' in text


def test_a_remark_behind_a_number_of_uwsgi_is_none(converter: Converter) -> None:
    text = "[uwsgi]\nmodule = a\nsocket = /tmp/a.sock\nprocesses = 12   ; at most\nharakiri = 60\t# seconds\n"
    pool = converter.pool(f"{text}vacuum = true ; sockets\nenv = A=1 ; 2\n")
    assert (pool.pm_max_children, pool.request_terminate_timeout, dict(pool.env)) == (12, 60.0, {"A": "1 ; 2"})


def test_lists_of_uwsgi_in_yaml() -> None:
    text = "uwsgi:\n  env:\n    - A=1\n    - 'B=x: y'\n  module: a\n  - umask: 022\n"
    assert [(one.line, one.name, one.value) for one in read_uwsgi(text, "/a", 2, lambda name: True)] == [
        (3, "env", "A=1"),
        (4, "env", "B=x: y"),
        (5, "module", "a"),
        (6, "umask", "022"),
    ]


def test_every_line_is_somewhere() -> None:
    text = convert(UWSGI).text
    options = [number for number, line in enumerate(UWSGI.splitlines()[:25], 1) if line and line[0] not in "[;"]
    assert [number for number in options if f"; shop.ini:{number}: " not in text] == []


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("processes = 4\nthreads = 2", ("dynamic", 8, 4, 1, 4)),
        ("workers = 8\ncheaper = 2", ("dynamic", 8, 2, 2, 4)),
        ("workers = 8\ncheaper = 2\ncheaper-initial = 6", ("dynamic", 8, 6, 2, 6)),
        ("workers = 3\ncheaper = 9", ("dynamic", 3, 3, 3, 3)),
        ("workers = 3\nidle = 60", ("ondemand", 3, 0, 0, 0)),
        ("workers = 0", ("static", 1, 1, 0, 0)),
        ("", ("static", 1, 1, 0, 0)),
    ],
)
def test_how_many_workers(converter: Converter, lines: str, expected: tuple[object, ...]) -> None:
    pool = converter.pool(f"[uwsgi]\nmodule = a\nsocket = /tmp/a.sock\n{lines}\n")
    found = (pool.pm, pool.pm_max_children, pool.pm_start_servers, pool.pm_min_spare_servers, pool.pm_max_spare_servers)
    assert found == expected


@pytest.mark.parametrize(
    ("text", "app", "script_name"),
    [
        ("module = a.b\ncallable = app", "a.b:app", None),
        ("wsgi = a.b:make()", "a.b:make()", None),
        ("wsgi-file = /srv/a.py\ncallable = x", "/srv/a.py:x", None),
        ("wsgi-file = a.wsgi", "/srv/site/a.wsgi:application", None),
        ("mount = /shop=/srv/shop.py\nmanage-script-name = true", "/srv/shop.py:application", "/shop"),
    ],
)
def test_where_the_application_is(converter: Converter, text: str, app: str, script_name: str | None) -> None:
    pool = converter.pool(f"[uwsgi]\nsocket = /tmp/a.sock\n{text}\n")
    assert (pool.app, pool.script_name) == (app, script_name)


@pytest.mark.parametrize("line", ["wsgi-file = app.py", "module = a\nvenv = venv", "module = a\npp = /srv/a\npp = .."])
def test_the_directory_of_relative_paths_is_to_complete(line: str) -> None:
    (section,) = convert(f"[uwsgi]\n{line}\n").sections
    assert section.directives["chdir"].value == "/srv/site"
    assert "is it this directory?" in section.to_complete["chdir"]
    for known in (f"{line}\nchdir = /srv/shop", "wsgi-file = /srv/app.py\nvenv = /srv/venv\npp = /a", "module = a"):
        (section,) = convert(f"[uwsgi]\n{known}\n").sections
        assert "chdir" not in section.to_complete, known


def test_a_factory_with_arguments_is_to_complete() -> None:
    found = convert("[uwsgi]\nmodule = a:make('x')\n")
    assert "; TO COMPLETE: write the module and the callable" in found.text
    assert "a factory takes no arguments here" in found.text


@pytest.mark.parametrize(
    "text",
    [
        "<uwsgi>\n<module>a.b</module>\n<processes>3</processes>\n<master/>\n<socket>/tmp/a.sock</socket>\n</uwsgi>\n",
        '{"uwsgi": {\n"module": "a.b", "processes": 3, "master": true,\n"socket": ["/tmp/a.sock"]}}\n',
        "uwsgi:\n  module: a.b\n  processes: 3  # three\n  master: true\n  socket: '/tmp/a.sock'\n",
    ],
)
def test_uwsgi_in_xml_json_and_yaml(converter: Converter, text: str) -> None:
    pool = converter.pool(text, "shop.conf")
    assert (pool.app, pool.pm_max_children, str(pool.listen)) == ("a.b:application", 3, "/tmp/a.sock")
    assert "master = true" in convert(text, "shop.conf").text


GUNICORN = """\
import multiprocessing
import os
from somewhere import *

name = "shop"
bind = [f"unix:/tmp/{name}.sock", "0.0.0.0:8000"]
workers = multiprocessing.cpu_count() * 2 + 1
timeout: int = 60
graceful_timeout = 20
umask = 0o007
raw_env = ["A=1", "B=x y"]
loglevel = os.environ.get("LEVEL", "info")
if os.environ.get("DEBUG"):
    reload = True
    max_requests = 3
def post_fork(server, worker):
    os.system("touch /tmp/never")
wsgi_app = "shop.wsgi:app"
_x = open("/etc/passwd").read()
certfile = open("/etc/passwd").read()
max_requests_jitter = 10
max_requests_jitter += 5
preload_app = False
accesslog = "-"
"""


def test_gunicorn(converter: Converter) -> None:
    pool = converter.pool(GUNICORN, "gunicorn.conf.py")
    assert (pool.name, pool.app, str(pool.listen)) == ("shop", "shop.wsgi:app", "/tmp/shop.sock")
    assert (pool.pm, pool.pm_max_children, pool.request_terminate_timeout) == ("static", 5, 60.0)
    assert (pool.umask, dict(pool.env), pool.pm_max_requests_jitter) == (0o7, {"A": "1", "B": "x y"}, 15)
    assert pool.access_log == "/dev/stderr"
    text = convert(GUNICORN, "gunicorn.conf.py").text
    for part in (
        "workers = 5 (this machine has 2 CPUs)",
        "accesslog (the journal where a unit runs pyfpm; after pyfpm start it goes to that terminal: name a file)",
        "0.0.0.0:8000 a pool has one listening address, here /tmp/shop.sock",
        ";log_level = notice",
        "; gunicorn.conf.py:14: reload = ...\n;     pyfpm reload POOL",
        "; gunicorn.conf.py:15: max_requests = ...\n;     it is set under a condition",
        "; gunicorn.conf.py:16: post_fork",
        "; gunicorn.conf.py:20: certfile = open('/etc/passwd').read()\n;     the web server has the certificate",
        "preload_app = False\n;     off is the default",
    ):
        assert part in text, part


@pytest.mark.parametrize(
    "expression",
    ["'x' * 10**9", "9 ** 9 ** 9", "[0] * 99999", "'%999999999d' % 1", "1 / 0", "b'x'", "1e300 * 1e300", "int('x')"],
)
def test_no_expression_costs_anything(expression: str) -> None:
    assert "only running the file tells" in convert(f"workers = {expression}\n", "gunicorn.conf.py").text


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("BASE = Path(__file__).resolve().parent\nchdir = str(BASE.parent)", "/srv"),
        ("chdir = Path(__file__).parent / 'code'", "/srv/site/code"),
        ("import os\nchdir = os.path.dirname(os.path.abspath(__file__))", "/srv/site"),
        ("from os.path import *\nchdir = join(dirname(__file__), 'code')", "/srv/site/code"),
        ("umask, chdir = 7, '/srv/code'", "/srv/code"),
        ("chdir = str(BASE)", None),
        ("chdir = Path('x' * 9) / 1", None),
        ("umask, chdir = 7,", None),
        ("chdir = (7).parent", None),
    ],
)
def test_paths_of_gunicorn_are_worked_out(lines: str, expected: str | None) -> None:
    text = convert(f"wsgi_app = 'shop.wsgi'\n{lines}\n", "gunicorn.conf.py").text
    assert re.findall(r"^chdir = (.*)$", text, re.MULTILINE) == ([expected] if expected else [])
    assert "[shop]\n" in text or expected, "what is no directory gives no name"


def test_the_first_address_that_a_pool_can_have_is_taken() -> None:
    text = convert("bind = ['0.0.0.0:80', 'unix:/srv/a.sock', '127.0.0.1:80']\n", "gunicorn.conf.py").text
    assert "\nlisten = /srv/a.sock\n" in text
    assert "0.0.0.0:80 is a port for the whole network" in text
    assert "127.0.0.1:80 a pool has one listening address, here /srv/a.sock" in text


@pytest.mark.parametrize(
    "text",
    [
        "gunicorn -w4 --bind=unix:/tmp/a.sock --preload --env A='x y' shop.wsgi --timeout 60\n",
        "web: /v/bin/gunicorn shop.wsgi --workers 4 -b unix:/tmp/a.sock -e 'A=x y' \\\n   --timeout=60 --preload\n",
        "[Unit]\nDescription=gunicorn daemon\n[Service]\n# gunicorn was here\nUser=shop\n"
        "Environment='A=x y'\nEnvironmentFile=-/etc/shop\n"
        "ExecStart=/v/bin/gunicorn --workers 4 \\\n"
        "  -b unix:/tmp/a.sock --preload -t 60 shop.wsgi\n",
        "[program:gunicorn shop]\ncommand=/v/bin/gunicorn shop.wsgi -w 4 -b unix:/tmp/a.sock --preload -t 60\n"
        'directory=/tmp\nuser=shop\nenvironment=A="x y"\n',
    ],
)
def test_a_command_line_of_gunicorn(converter: Converter, text: str) -> None:
    pool = converter.pool(text, "shop.service")
    assert (pool.app, pool.pm_max_children, str(pool.listen)) == ("shop.wsgi:application", 4, "/tmp/a.sock")
    assert (pool.preload, dict(pool.env), pool.request_terminate_timeout) == ("yes", {"A": "x y"}, 60.0)
    assert pool.env_file == ("/etc/shop" if "[Service]" in text else None)
    assert (pool.python == "/v/bin/python") == ("/v/bin/gunicorn" in text)
    assert pool.chdir == ("/tmp" if "[program:" in text else None)


@pytest.mark.parametrize(
    ("line", "venv"),
    [
        ("command = '/srv/shop/venv/bin/gunicorn'", "/srv/shop/venv"),
        ("command = '/usr/bin/gunicorn'", ""),
        ("command = 'gunicorn'", ""),
        ("command = 1 / 0", ""),
    ],
)
def test_the_command_of_gunicorn_tells_its_environment(line: str, venv: str) -> None:
    text = convert(f"wsgi_app = 'a:b'\n{line}\n", "gunicorn.conf.py").text
    assert re.findall(r"^venv = (.*)$", text, re.MULTILINE) == ([venv] if venv else [])
    assert "gunicorn.conf.py:2: command" in text


def test_variables_of_supervisord_are_separated_by_commas() -> None:
    text = convert('[program:x]\ncommand=gunicorn a:b\nenvironment=A="x,y",B=z%%\n', "shop.conf").text
    assert "\nenv[A] = x,y\n" in text
    assert "\nenv[B] = z%\n" in text


SCRIPT = """\
#!/bin/bash
NAME="shop"   # a title
DIR=/tmp
SOCKET=$DIR/a.sock
WORKERS=3
[ -n "$BIG" ] && WORKERS=30
if [ -n "$BIG" ]; then
    TIMEOUT=90
fi
RUNDIR=$(dirname $SOCKET)
echo "Starting $NAME as `whoami`; gunicorn"
cd $DIR/sub/..
source venv/bin/activate
export DJANGO_SETTINGS_MODULE=$NAME.settings  B='x y'
export PATH=/x:$PATH
exec ../bin/gunicorn ${NAME}.wsgi:application \\
  --name $NAME --workers $WORKERS \\
  --threads ${THREADS:-2} --timeout $TIMEOUT \\
  --bind=unix:$SOCKET
WORKERS=7
"""


def test_variables_of_a_script_of_gunicorn_are_replaced(converter: Converter) -> None:
    text = convert(SCRIPT, "start.sh").text
    for part in (
        "\napp = shop.wsgi:application\n",
        "\nvenv = /tmp/venv\n",
        "\nchdir = /tmp\n",
        "\nlisten = /tmp/a.sock\n",
        "\npm.max_children = 6\n",
        "the environment variable THREADS may say otherwise",
        "\nenv[DJANGO_SETTINGS_MODULE] = shop.settings\n",
        "\nenv[B] = x y\n",
        "; start.sh:15: raw_env = PATH=/x:$PATH\n;     a variable of the shell",
        "timeout = $TIMEOUT\n;     a variable of the shell",
    ):
        assert part in text, (part, text)


@pytest.mark.parametrize(
    "command", ['CMD ["gunicorn", "-b", "0.0.0.0:80", "-w", "3", "shop.wsgi"]', "CMD gunicorn -w 3 shop.wsgi"]
)
def test_gunicorn_in_a_dockerfile(converter: Converter, command: str) -> None:
    text = f"FROM python\nWORKDIR /tmp\nENV A=1 B=2\nENV C x y\nUSER nobody:nogroup\nRUN pip install x\n{command}\n"
    pool = converter.pool(text, "Dockerfile")
    assert (pool.app, pool.pm_max_children, pool.chdir) == ("shop.wsgi:application", 3, "/tmp")
    assert (pool.name, dict(pool.env)) == ("shop", {"A": "1", "B": "2", "C": "x y"})
    assert "\nuser = nobody\n" in convert(text, "Dockerfile").text


UNIT = """\
{ "listeners": {"*:80": {"pass": "applications/shop"}},
  "applications": {
   "shop": {"type": "python 3.11", "path": ["/srv/shop", "/srv/lib"], "module": "wsgi",
     "callable": "app", "processes": {"max": 10, "spare": 0, "idle_timeout": 20},
     "limits": {"timeout": 10, "requests": 1000}, "environment": {"A": "1", "B": "$x"}},
   "two": {"type":"python", "processes": 3, "targets": {
      "a": {"module": "a"},
      "b": {"module": "b", "callable": "create", "factory": true}}},
   "p": {"type": "php"}
  }}
"""


def test_unit(converter: Converter) -> None:
    pools = {pool.name: pool for pool in converter.config(UNIT, "unit.json").pools}
    assert list(pools) == ["shop", "two-a", "two-b"]
    shop = pools["shop"]
    assert (shop.app, shop.pythonpath, dict(shop.env)) == ("wsgi:app", ("/srv/shop", "/srv/lib"), {"A": "1", "B": "$x"})
    assert (shop.pm, shop.pm_max_children, shop.pm_process_idle_timeout) == ("ondemand", 10, 20.0)
    assert (shop.request_terminate_timeout, shop.pm_max_requests) == (10.0, 1000)
    assert [(pools[name].app, pools[name].pm_max_children) for name in ("two-a", "two-b")] == [
        ("a:application", 3),
        ("b:create()", 3),
    ]
    text = convert(UNIT, "unit.json").text
    assert "; unit.json:1: listeners.*:80 = applications/shop" in text
    assert "; unit.json:8: factory" in text
    assert "; unit.json:9: applications.p = php" in text


APACHE = """\
<VirtualHost *:80>
    # WSGIDaemonProcess old
    WSGIDaemonProcess shop processes=2 threads=15 python-path="/srv/shop:/srv/lib" \\
        display-name=%{GROUP} lang='de_DE.UTF-8' request-timeout=60
    WSGIProcessGroup shop
    WSGIScriptAlias /shop /srv/shop/shop.wsgi
    WSGIPassAuthorization On
    DocumentRoot /var/www
</VirtualHost>
WSGIPythonHome /opt/python
WSGIScriptAlias /wiki "/srv/my wiki/wiki.wsgi" process-group=wiki
WSGIDaemonProcess wiki threads=1 python-home=/srv/wiki/venv
"""


def test_mod_wsgi(converter: Converter) -> None:
    pools = {pool.name: pool for pool in converter.config(APACHE, "site.conf").pools}
    shop, wiki = pools["shop"], pools["wiki"]
    assert (shop.app, shop.script_name, shop.pm_max_children) == ("/srv/shop/shop.wsgi:application", "/shop", 30)
    assert (shop.pythonpath, dict(shop.env)) == (("/srv/shop", "/srv/lib"), {"LANG": "de_DE.UTF-8"})
    assert (wiki.app, wiki.script_name, wiki.pm_max_children) == ("/srv/my wiki/wiki.wsgi:application", "/wiki", 1)
    text = convert(APACHE, "site.conf").text
    assert (shop.python, wiki.python) == ("/opt/python/bin/python", "/srv/wiki/venv/bin/python")
    for line in (3, 5, 6, 7, 10, 11, 12):
        assert f"; site.conf:{line}: " in text, line
    assert "; site.conf:3: display-name = %{GROUP}" in text
    assert "; site.conf:7: WSGIPassAuthorization = On\n;     Apache: CGIPassAuth On" in text


PHP = """\
[global]
log_level = warning
pid = /run/php/php8.2-fpm.pid
include = /etc/php/fpm.d/*.conf
[www]
user = nobody
listen = 127.0.0.1:9000
pm = dynamic
pm.max_children = 5
pm.start_servers = 2
pm.min_spare_servers = 1
pm.max_spare_servers = 3
access.format = "%R - %u %t"
php_admin_value[memory_limit] = 32M
env[X] = "a;b" ; a comment
access.suppress_path[] = /ping
access.suppress_path[] = /health
security.limit_extensions = .php
nonsense
"""


def test_php_fpm(converter: Converter) -> None:
    config = converter.config(PHP, "www.conf")
    (pool,) = config.pools
    assert (config.global_.log_level, pool.name, pool.pm_max_spare_servers) == ("warning", "www", 3)
    assert (dict(pool.env), pool.access_format) == ({"X": "a;b"}, "%R - %u %t")
    assert (list(pool.access_suppress_path), config.global_.pid) == (["/ping", "/health"], None)
    text = convert(PHP, "www.conf").text
    assert "; TO COMPLETE: write the module and the callable of the application" in text
    for line in (3, 4, 14, 16, 17, 18, 19):
        assert f"; www.conf:{line}: " in text


@pytest.mark.parametrize(
    ("file", "text", "kind"),
    [
        ("a.ini", UWSGI, "uwsgi"),
        ("a", '{"uwsgi": {}}', "uwsgi"),
        ("gunicorn.conf.py", GUNICORN, "gunicorn"),
        ("conf", "bind = ':80'\n", "gunicorn"),
        ("Procfile", "web: gunicorn a:b\n", "gunicorn"),
        ("a", UNIT, "unit"),
        ("a", APACHE, "mod_wsgi"),
        ("a", PHP, "php-fpm"),
        ("a", "hello\n", ""),
        ("a", "", ""),
    ],
)
def test_whose_file_it_is(file: str, text: str, kind: str) -> None:
    assert guess(file, text) == kind


@pytest.mark.parametrize("piece", ["\n", " ", "[", "pm", "WSGI\n"])
def test_no_text_takes_long_to_guess(piece: str) -> None:
    """A pattern that tries again at each of the lines would take minutes."""

    def look(size: int) -> None:
        assert guess("a", piece * size) == ""
        assert hint("a", piece * size) is None

    assert grows_in_proportion(look, 5000, 100_000)


@pytest.mark.parametrize(
    ("file", "text", "kind", "sentence"),
    [
        ("a", "hello", "", "a: cannot tell whose configuration this is. Say it with --from uwsgi, gunicorn"),
        ("a.py", "bind = (\n", "", "a.py:1: this is not Python"),
        ("a.json", "{", "unit", "a.json: this is not a configuration of NGINX Unit"),
        ("a.json", "{}", "unit", "a.json: no application was found"),
        ("a.json", '{"x": 1}', "uwsgi", "a.json: this is not a configuration of uWSGI: it has no member uwsgi"),
        ("a.ini", "[other]\nmodule = x\n", "uwsgi", "a.ini: this is not a configuration of uWSGI: it sets nothing"),
        ("a.json", "[" * 5000 + "]" * 5000, "unit", "a.json: "),
    ],
)
def test_what_is_no_configuration(file: str, text: str, kind: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as refused:
        convert(text, file, kind)
    assert str(refused.value).startswith(sentence)


def test_a_name_for_several_pools(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--name x: the file has 3 pools: shop, two-a, two-b"):
        convert(UNIT, "unit.json", name="x")
    with pytest.raises(ConfigError, match=r"--name a b: no name of a pool"):
        convert(UWSGI, name="a b")
    assert "[x]" in convert(PHP, "www.conf", name="x").text


@pytest.mark.parametrize("kind", list(PEERS))
@settings(max_examples=50)
@given(text=st.text(max_size=200))
def test_any_text_is_a_pool_or_an_error(kind: str, text: str) -> None:
    try:
        found = convert(text, "a.conf", kind).text
    except ConfigError as refused:
        found = f"; {refused}"
    assert [line for line in found.splitlines() if line and line[0] not in ";[" and " = " not in line] == []


@pytest.mark.parametrize("kind", list(PEERS))
def test_the_tables_name_directives_and_say_why(kind: str) -> None:
    table = PEERS[kind]
    names = [plain(name) for option in table.options for name in (option.name, *option.also)]
    assert [name for name in names if names.count(name) > 1] == []
    for option in table.options:
        scope = DIRECTIVES["global" if option.is_global else "pool"]
        assert not option.ours or option.ours in scope, option.name
        assert option.ours or option.how in NOT_CARRIED, option.name
        assert option.note or option.how not in NOT_CARRIED, option.name


@given(st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1))
def test_a_value_survives_its_quotes(value: str) -> None:
    if "'" in value and "$" in value:
        return  # what reads it would replace variables; a draft refuses it
    from fpm.config.source import number_lines, read_value

    numbered = number_lines(f"x = {quote(value)}")
    assert numbered.complaints == []
    written = re.fullmatch(r'1:x = "(.*)"', numbered.lines[0])
    assert written
    assert read_value('"' + written[1] + '"')[0] == value


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("harakiri", "30", "is an option of uWSGI. Write request_terminate_timeout = 30s"),
        ("workers", "4", "is an option of uWSGI and Gunicorn. Write pm = static and pm.max_children = 4"),
        (
            "processes",
            "4",
            "is an option of uWSGI, NGINX Unit and mod_wsgi. Write pm = static and pm.max_children = 4",
        ),
        (
            "chown-socket",
            "shop:www-data",
            "is an option of uWSGI. Write listen.owner = shop and listen.group = www-data",
        ),
        ("chown-socket", ":web", "is an option of uWSGI. Write listen.group = web"),
        ("chown-socket", "", "is an option of uWSGI. Write listen.owner = OWNER and listen.group = GROUP"),
        ("bind", "unix:/run/x.sock", "is an option of Gunicorn. Write listen = /run/x.sock"),
        ("bind", "0.0.0.0:8000", "is an option of Gunicorn. Write listen = /run/pyfpm/NAME.sock"),
        ("virtualenv", "/v", "is an option of uWSGI. Write venv = /v"),
        ("reload-on-rss", "256", "is an option of uWSGI. Write pm.max_memory = 256M"),
        ("wsgi_file", "/a.py", "is an option of uWSGI. Write app = /a.py:application"),
        ("master", "true", "is an option of uWSGI. Remove the line: there is always a master"),
        ("uid", "shop", "is an option of uWSGI. Write user = shop"),
        ("chmod-socket", "660", "is an option of uWSGI. Write listen.mode = 0660"),
        ("max-requests", "", "is an option of uWSGI and Gunicorn. Write pm.max_requests = 1000"),
        ("graceful_timeout", "9", "is an option of Gunicorn and mod_wsgi. Write process_control_timeout = 9s in [g"),
        (
            "home",
            "/v",
            "is an option of uWSGI and NGINX Unit. Write venv = /v; it is an option of mod_wsgi. Write chdir",
        ),
        ("pm.max_childrn", "4", "unknown directive. Did you mean 'pm.max_children'?"),
    ],
)
def test_their_words_in_our_files(name: str, text: str, sentence: str) -> None:
    found = unknown("pool", name, text)
    assert found.startswith(sentence)
    assert found.count("Write pm = static") <= 1


@pytest.mark.parametrize(
    ("file", "text", "title"),
    [
        ("uwsgi.ini", UWSGI, "uWSGI"),
        ("unit.json", UNIT, "NGINX Unit"),
        ("site.conf", APACHE, "mod_wsgi"),
        ("gunicorn.conf.py", GUNICORN, "Gunicorn"),
        ("shop.service", "[Unit]\n[Service]\nExecStart=/v/bin/gunicorn a:b\n", "Gunicorn"),
        ("main.conf", "[www]\napp = a:b\nlisten = 9000\nworkers = 4\n", ""),
        ("main.conf", "[www]\nworkers = 4\nbind = :80\n", ""),
        ("main.conf", "[uwsgi]\napp = a:b\nlisten = 9000\nprocesses = 4\n", ""),
        ("main.conf", "[global]\nworkers = 4\n", ""),
        ("main.conf", PHP, ""),
    ],
)
def test_a_whole_file_of_another_server_gets_a_hint(tmp_path: Path, file: str, text: str, title: str) -> None:
    path = tmp_path / file
    path.write_text(text)
    main = tmp_path / "pyfpm.conf"
    main.write_text(f"include = {path}\n")
    for read in (path, main):
        with pytest.raises(ConfigError) as refused:
            load(str(read), environ={}, is_root=True)
        sentence = f"{path} looks like a configuration of {title}. `pyfpm convert {path}` prints a pool file of it."
        assert [line for line in refused.value.complaints if " looks like " in line] == ([sentence] if title else [])


def test_the_command_of_a_hint_can_be_copied() -> None:
    assert "`pyfpm convert '/srv/my shop/uwsgi.ini'` prints" in str(hint("/srv/my shop/uwsgi.ini", UWSGI))


def test_their_words_with_file_and_line(tmp_path: Path) -> None:
    (complaint,) = Files(tmp_path).complaints(
        "[www]\napp = a:b\nlisten = 9000\npm = static\npm.max_children = 1\nharakiri = 30\n"
    )
    assert complaint.startswith("main.conf:6: [www] harakiri: is an option of uWSGI. Write request_terminate_timeout")


def test_what_running_the_file_has_set() -> None:
    source = Source(
        "g.py", "/srv/shop/g.py", "", "gunicorn", "shop", 2, KNOWN, "web", {"workers": 3, "wsgi_app": "a:b"}
    )
    found = convert_file(source)
    assert json.dumps([one.name for one in found.sections]) == '["shop"]'
    assert "pm.max_children = 3" in found.text


@pytest.mark.parametrize(
    ("lines", "listen"),
    [
        ("socket = /run/uwsgi/shop.sock", "/run/pyfpm/shop.sock"),
        ("socket = /var/run/shop.sock", "/run/pyfpm/shop.sock"),
        ("socket = shop.sock", "/run/pyfpm/shop.sock"),
        ("", "/run/pyfpm/shop.sock"),
        ("socket = /run/pyfpm/other.sock", "/run/pyfpm/other.sock"),
        ("socket = /srv/shop/a.sock", "/srv/shop/a.sock"),
        ("socket = 127.0.0.1:3031", "127.0.0.1:3031"),
    ],
)
def test_the_socket_is_where_it_can_be_after_a_reboot(lines: str, listen: str) -> None:
    text = convert(f"[uwsgi]\nmodule = shop\n{lines}\n").text
    assert f"\nlisten = {listen}\n" in text
    old = lines.rpartition(" ")[2]
    is_moved = f"; instead of {old}: " in text or f"; instead of ./{old}: " in text
    assert is_moved == bool(old and old != listen)


def test_the_socket_of_php_fpm_is_moved_too() -> None:
    text = convert('[www]\nlisten = "/run/php/$pool.sock"\nuser = a\n', "www.conf", "php-fpm").text
    assert "\nlisten = /run/pyfpm/www.sock\n" in text
    assert "; instead of /run/php/$pool.sock: /run is empty after a boot" in text
    assert "the web server's line becomes fastcgi_pass unix:/run/pyfpm/www.sock\n; www.conf:2: listen\n" in text


@pytest.mark.parametrize(
    ("lines", "group", "written"),
    [
        ("", "nginx", "; the web server's group, which may connect\nlisten.group = nginx\n"),
        ("", "", "; TO COMPLETE: no web server's user was found"),
        ("chmod-socket = 660", "nginx", "listen.group = nginx\n"),
        ("chmod-socket = 666", "nginx", ""),
        ("chown-socket = a:b", "nginx", "listen.group = b\n"),
        ("chown-socket = a", "nginx", ""),
        ("socket = 127.0.0.1:9000", "nginx", ""),
    ],
)
def test_the_web_server_may_connect(lines: str, group: str, written: str) -> None:
    text = convert(f"[uwsgi]\nmodule = shop\n{lines}\n", group=group).text
    assert written in text
    assert ("\nlisten.group = " in text) == bool(written)


@pytest.mark.parametrize(
    ("directory", "file", "text", "name"),
    [
        ("/etc/uwsgi/apps-enabled", "shop.ini", "[uwsgi]\nproject = other\n", "shop"),
        ("/etc", "uwsgi.ini", "[uwsgi]\nproject = shop\nchdir = /srv/%(project)\n", "shop"),
        ("/etc", "uwsgi.ini", "[uwsgi]\nset-placeholder = project=shop\n", "shop"),
        ("/etc", "uwsgi.ini", "[uwsgi]\nprocname-prefix = shop-\n", "shop"),
        ("/etc", "uwsgi.ini", "[uwsgi]\nmodule = a.wsgi\nchdir = /srv/shop/\n", "shop"),
        ("/etc/uwsgi", "uwsgi.ini", "[uwsgi]\nmodule = shop.wsgi\nchdir = /srv/app\n", "shop"),
        ("/etc/uwsgi/apps-enabled", "app.ini", "[uwsgi]\nmodule = wsgi\n", "app"),
        ("/srv/shop", "uwsgi.ini", "[uwsgi]\nmodule = wsgi\n", "shop"),
        ("/srv/shop/conf", "gunicorn.conf.py", "proc_name = 'store'\nwsgi_app = 'a.wsgi'\n", "store"),
        ("/etc/systemd/system", "gunicorn.service", "[Service]\nExecStart=/v/gunicorn shop.wsgi:app\n", "shop"),
    ],
)
def test_the_pool_has_a_name_that_says_something(directory: str, file: str, text: str, name: str) -> None:
    assert f"\n[{name}]\n" in convert(text, file, where=directory).text
