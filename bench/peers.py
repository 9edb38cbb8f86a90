"""The table of servers that are compared, and how each is started with the same application and number of workers.

Each has the settings that its manual advises for this use, no access log, and a Unix socket behind one nginx.
"""

from __future__ import annotations

import signal
from collections.abc import Callable

from bench import tools
from bench.servers import IS_ROOT, Pyfpm, Server, Setting, listening, pool_text, start, start_master

NO_STATISTICS = "request_statistics = no"
BACKLOG = 1024
"""Connections that may wait, for those servers whose default is too small for 500 at once."""

PYFPM, PLAIN = "pyfpm", "pyfpm plain"
UNCOUNTED, PLAIN_UNCOUNTED = "pyfpm uncounted", "pyfpm plain uncounted"
"""Both without `request_statistics`."""
UWSGI, UWSGI_FASTCGI = "uWSGI", "uWSGI FastCGI"
GUNICORN, GTHREAD = "Gunicorn sync", "Gunicorn gthread"
PRELOAD, CHEAPER = "Gunicorn --preload", "uWSGI --cheaper"
PHP, FLUP, FLOOR = "PHP-FPM", "flup6", "C floor"


def start_pyfpm(setting: Setting, *, name: str = PYFPM, hotpath: str = "yes") -> Server:
    """A static pool, unless the setting says otherwise."""
    place = setting.place(name)
    of_pm = [] if any(line.startswith("pm =") for line in setting.settings) else ["pm = static"]
    settings = [
        *of_pm,
        f"pm.max_children = {setting.workers}",
        f"hotpath = {hotpath}",
        f"env[BENCH_FILES] = {setting.directory}",
    ]
    process, command = start_master(place, pool_text("pyfpm", setting, settings, directory=place))
    return Pyfpm(name, process, place / "pyfpm.sock", command=command)


def start_plain(setting: Setting) -> Server:
    """Without the compiled hot path."""
    return start_pyfpm(setting, name=PLAIN, hotpath="no")


def start_uncounted(setting: Setting) -> Server:
    """Without counts of routes."""
    return start_pyfpm(setting.having(NO_STATISTICS), name=UNCOUNTED)


def start_plain_uncounted(setting: Setting) -> Server:
    """Without either."""
    return start_pyfpm(setting.having(NO_STATISTICS), name=PLAIN_UNCOUNTED, hotpath="no")


def start_uwsgi(
    setting: Setting, *options: str, name: str = UWSGI, option: str = "uwsgi-socket", need_app: bool = True
) -> Server:
    """uWSGI over its own protocol."""
    place = setting.place(name)
    path = place / "socket"
    command = [*tools.uwsgi(), f"--{option}", path, "--chmod-socket=666", "--master", "--listen", str(BACKLOG)]
    command += ["--processes", str(setting.workers), "--chdir", setting.code, "--wsgi", setting.application]
    command += ["--disable-logging", *(["--need-app"] if need_app else []), *options]
    process = start(command, place)
    protocol = "fastcgi" if option == "fastcgi-socket" else "uwsgi"
    # uWSGI takes no PATH_INFO from SCRIPT_NAME, and nginx's stock fastcgi_params have none; hello needs none.
    has_routes = protocol == "fastcgi" and setting.application != "hello:application"
    parameters = 'fastcgi_param PATH_INFO $uri; fastcgi_param SCRIPT_NAME "";' if has_routes else ""
    server = Server(name, process, path, protocol, parameters, stop_signal=signal.SIGINT)
    return listening(server, 1 if "--cheaper" in options else setting.workers)


def start_uwsgi_fastcgi(setting: Setting) -> Server:
    """uWSGI over FastCGI."""
    return start_uwsgi(setting, name=UWSGI_FASTCGI, option="fastcgi-socket")


def start_gunicorn(setting: Setting, *options: str, name: str = GUNICORN) -> Server:
    """Gunicorn's sync worker, by HTTP."""
    place = setting.place(name)
    path = place / "socket"
    command = [tools.venv() / "gunicorn", "--bind", f"unix:{path}", "--workers", str(setting.workers)]
    command += ["--chdir", setting.code, "--umask", "0", "--log-level", "warning", *options, setting.application]
    return listening(Server(name, start(command, place), path, "http"), setting.workers)


def start_gthread(setting: Setting) -> Server:
    """Its threaded worker, which keeps connections."""
    return start_gunicorn(setting, "--worker-class", "gthread", "--threads", "4", name=GTHREAD)


def start_gunicorn_preload(setting: Setting) -> Server:
    """The application is imported before the workers are forked."""
    return start_gunicorn(setting, "--preload", name=PRELOAD)


def start_uwsgi_cheaper(setting: Setting) -> Server:
    """It begins with two workers and adds more by itself."""
    return start_uwsgi(setting, "--cheaper", "2", name=CHEAPER)


def start_php(setting: Setting) -> Server:
    """PHP-FPM with a static pool; the script does what the application does."""
    program, place = tools.php_fpm(), setting.place(PHP)
    path = place / "socket"
    of_pm = [] if any(line.startswith("pm =") for line in setting.settings) else ["pm = static"]
    lines = ["[global]", "daemonize = no", f"error_log = {place}/error.log", "[php]", f"listen = {path}"]
    lines += ["listen.mode = 0666", *of_pm, f"pm.max_children = {setting.workers}", *setting.settings]
    lines += ["user = root"] if IS_ROOT else []
    (place / "php-fpm.conf").write_text("\n".join(lines) + "\n")
    command = [program, "-F", "-y", place / "php-fpm.conf", *(["-R"] if IS_ROOT else [])]
    parameters = f"fastcgi_param SCRIPT_FILENAME {tools.APPS}/hello.php;"
    server = Server(PHP, start(command, place), path, parameters=parameters)
    return listening(server, setting.workers if of_pm else 0)


def start_flup(setting: Setting) -> Server:
    """flup6's prefork server."""
    place = setting.place(FLUP)
    path = place / "socket"
    command = [tools.venv() / "python", tools.APPS / "flup_server.py", path, str(setting.workers)]
    server = listening(Server(FLUP, start(command, place), path), setting.workers)
    path.chmod(0o666)
    return server


def start_floor(setting: Setting) -> Server:
    """A responder in C that only moves bytes."""
    place = setting.place(FLOOR)
    command = [tools.compiled("floor"), place / "socket", str(setting.workers)]
    return listening(Server(FLOOR, start(command, place), place / "socket"), setting.workers)


Starter = Callable[[Setting], Server]
PEERS: dict[str, Starter] = {
    PYFPM: start_pyfpm,
    PLAIN: start_plain,
    UNCOUNTED: start_uncounted,
    PLAIN_UNCOUNTED: start_plain_uncounted,
    UWSGI_FASTCGI: start_uwsgi_fastcgi,
    UWSGI: start_uwsgi,
    GUNICORN: start_gunicorn,
    GTHREAD: start_gthread,
    PRELOAD: start_gunicorn_preload,
    CHEAPER: start_uwsgi_cheaper,
    PHP: start_php,
    FLUP: start_flup,
    FLOOR: start_floor,
}
