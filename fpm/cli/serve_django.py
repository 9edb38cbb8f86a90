"""What `pyfpm serve` has a pool run for a Django project: its application, and the files of django.contrib.staticfiles.

`manage.py runserver` does the same; in production the web server has these files from `collectstatic`. Pure.
"""

from __future__ import annotations

import re

FILE = "django_application.py"
NAME = "application"

_TEXT = """# Made by pyfpm serve.
from {module} import {first}

application = {name}

from django.apps import apps
from django.urls import get_resolver

get_resolver().url_patterns  # so that a mistake in them, or in a view, is found now, not by the first request

if apps.is_installed("django.contrib.staticfiles"):
    from django.contrib.staticfiles.handlers import StaticFilesHandler

    application = StaticFilesHandler(application)
"""
_FRAME = re.compile(r'^  File "(?P<file>[^"]*)", line \d+, in .*\n(?:    .*\n)*', re.MULTILINE)


def wrapper_text(app: str) -> str:
    """Return the source of a module whose `application` serves an `app` directive's `module:callable` and its files."""
    module, _, name = app.partition(":")
    return _TEXT.format(module=module, first=name.partition(".")[0], name=name)


def hide_wrapper(text: str, path: str, app: str) -> str:
    """Return a message or a traceback without the module of wrapper_text(), which is at `path`, for `app`."""
    without = _FRAME.sub(lambda found: "" if found["file"] == path else found[0], text)
    return without.replace(f"{path}:{NAME}", app)
