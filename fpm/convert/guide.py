"""docs/coming-from.md: a table for each server, from the same rows as the conversion. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from fpm.convert.option import Option, Peer
from fpm.convert.words import PEERS

HEAD = """# Coming from another server

<!-- Made by python -m fpm.config.manual from the tables in fpm/convert; change those instead. -->

`pyfpm convert FILE` reads the configuration of another server and prints a pool file:

```console
$ pyfpm convert /etc/uwsgi/apps-enabled/shop.ini --output /etc/pyfpm/pools.d/shop.conf
$ pyfpm convert gunicorn.conf.py --name shop
$ pyfpm convert /etc/systemd/system/shop.service
$ pyfpm convert /etc/php/8.2/fpm/pool.d/www.conf
$ pyfpm convert unit.json
$ pyfpm convert /etc/apache2/sites-enabled/shop.conf
```

Each option of the file becomes a directive, below a comment with its line, or a comment that says why not: nothing is
dropped silently. `TO COMPLETE` marks what the file does not say but a pool must have, such as its user. A
configuration file of Gunicorn is read as data: literals, simple arithmetic, paths from `__file__` and
`multiprocessing.cpu_count()`. What only running it can tell is a comment; `--execute` runs it, with your rights. Of a
unit for systemd, a program of supervisord, a script of the shell or a Dockerfile that calls gunicorn, the user, the
directory, the environment and the virtual environment are taken as well, and the variables of a script are replaced.

A socket in `/run/uwsgi` or `/run/php` becomes `/run/pyfpm/shop.sock`, and `listen.group` is the web server's group of
this machine, unless the file names somebody.

Three things are always different:

- The web server speaks FastCGI to pyfpm: `fastcgi_pass` takes the place of `uwsgi_pass` or `proxy_pass`. Static
  files, TLS, headers and routing are a matter of its site ([web servers](web-servers.md)).
- A worker serves one request at a time. Threads are converted to workers; these share the memory of their template.
- Each pool has a user of its own, and its socket is made by the master.

Then `pyfpm test` checks the file, `pyfpm test --import shop` also imports the application, and `pyfpm reload --changed`
starts the pool. `pyfpm config shop` shows every value with the line that it comes from.

The same words are understood in pyfpm's own files: `harakiri = 30` is answered with the directive to write.
"""

TEXTS = {
    "uwsgi": """\
In the web server, `include uwsgi_params; uwsgi_pass ...` becomes `include fastcgi_params; fastcgi_pass ...`. What
you are used to:

- The Emperor's directory of vassals is `/etc/pyfpm/pools.d`; touching a file does nothing: `pyfpm reload --changed`.
- `touch-reload`, `--reload` and chain reloading are `pyfpm reload shop`, which checks the new code before it
  replaces anything.
- `harakiri` is `request_terminate_timeout`, with the stack in the log; `cheaper` is `pm = dynamic`; `uwsgitop` is
  `pyfpm top`.
- Spooler, cron, cache, mules and routing have no counterpart: a job queue, systemd timers, Redis and nginx do that.

Options of the `[uwsgi]` section, and of those that it takes in by `ini = :SECTION`; `%n`, `%d`, `%(name)` and `set` are
replaced.""",
    "gunicorn": """\
In the web server, `proxy_pass http://...` and its `proxy_set_header` lines become `include fastcgi_params;
fastcgi_pass ...`;
scheme, host and client address are passed by themselves. What you are used to:

- One systemd unit for each site becomes one pool file for each, below one daemon.
- `kill -HUP` is `pyfpm reload shop`. Broken code does not stop anything.
- `preload_app` is the default (`preload = auto`), and new code is loaded by each reload all the same.
- `timeout` for threads and coroutines watches the worker only; `request_terminate_timeout` counts for every request.
- `worker_class = uvicorn...` is ASGI, which pyfpm does not have ([limits](limits.md)).

Settings of `gunicorn.conf.py`; on the command line `--max-requests` is `max_requests`.""",
    "php-fpm": """\
The pool file, signals, log lines and status page are the same, and php-fpm's flags work. New are `app` and `venv`,
what a reload checks
first, and that a pool whose application is broken answers 503 while the others go on. Take the monitoring as it is;
only the
address changes ([monitoring](monitoring.md)). `SCRIPT_FILENAME` is not needed: the pool knows its application, and
nginx's
`location / { include fastcgi_params; fastcgi_pass ...; }` takes the place of `location ~ \\.php$`.

Directives have the same names and meanings, and need no table; these are not for Python:""",
    "unit": """\
Unit was archived by its authors in October 2025. A web server takes over `listeners`, `routes`, static files and
certificates; `pyfpm init`
writes its site. The control API becomes files and commands: `pyfpm reload --changed` applies what has changed, as a
whole or not at all, and
`pyfpm status --format json` is `/status`. `processes: {max, spare, idle_timeout}` becomes `pm = ondemand` or
`dynamic`.

Members of an application of type python. A target becomes a pool of its own.""",
    "mod_wsgi": """\
Apache stays, and passes requests on by mod_proxy_fcgi; `pyfpm init --server apache` writes the site. Each daemon
process group becomes a pool,
with any Python version. `touch wsgi.py` becomes `pyfpm reload shop`, and Apache need not be restarted for new code.
`mod_wsgi.RequestTimeout` is
`fpm.RequestTimeout` (`request_interrupt = yes`).

Directives, and options of `WSGIDaemonProcess`.""",
}


def guide() -> str:
    """Return the text of docs/coming-from.md."""
    return HEAD + "".join("\n".join(["", *_table(peer)]) + "\n" for peer in PEERS.values())


def _table(peer: Peer) -> Iterator[str]:
    yield from (f"## {peer.title}", "", TEXTS[peer.key], "")
    yield from (f"| {peer.title} | pyfpm | |", "| --- | --- | --- |")
    for option in peer.options:
        names = ", ".join(f"`{name}`" for name in (option.name, *option.also) if len(name) > 1)
        yield f"| {names} | {_ours(option)} | {_cell(option.note)} |"


def _ours(option: Option) -> str:
    if not option.ours:
        return "-"
    return f"`{option.ours}`{' in `[global]`' if option.is_global else ''}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
