"""Views of Django and Flask with a template of 20 rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from bench.cases.pairs import Group, LoadCase
from bench.load import Load
from bench.peers import GTHREAD, GUNICORN, PLAIN, PYFPM, UWSGI, UWSGI_FASTCGI
from bench.servers import Setting

PEERS = (PYFPM, PLAIN, UWSGI_FASTCGI, UWSGI, GUNICORN, GTHREAD)


def of(application: str) -> Callable[[Setting, Sequence[LoadCase]], Setting]:
    """Another application for the setting."""
    return lambda setting, cases: replace(setting, application=application)


DJANGO = Group(
    [LoadCase("django", "A Django view with a template, 8 clients",
              Load(connections=8, seconds=0.4), PEERS)],
    prepare=of("django_app:application"),
)  # fmt: skip
FLASK = Group(
    [
        LoadCase(
            "flask", "A Flask view with a template, 8 clients", Load(connections=8, seconds=0.4), PEERS, usual=False
        )
    ],
    prepare=of("flask_app:application"),
)
