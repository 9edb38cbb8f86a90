"""From the `app` directive to the WSGI callable: `module:callable`, `path/to/file.py:callable`, `module:factory()`."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from types import ModuleType
from typing import Any

from fpm.protocol.application import names_file
from fpm.template.wsgi_check import why_no_application, why_no_factory


class ApplicationError(Exception):
    """The module was imported but does not hold what `app` names."""


def load_application(app: str) -> Callable[..., Any]:
    """Import the application; sys.path must be ready.

    Raises:
        ApplicationError: no such name in the module, or it is not callable.
        BaseException: whatever the application's own code raises.
    """
    target, _, expression = app.rpartition(":")
    if not target:
        target, expression = app, "application"
    module = _load_file(target) if names_file(target) else importlib.import_module(target)
    is_factory = expression.endswith("()")
    value: Any = module
    for name in expression.removesuffix("()").split("."):
        value = _attribute(value, name, app, module)
    if is_factory:
        if problem := why_no_factory(value, app):
            raise ApplicationError(f"app = {app}: {problem}")
        value = value()
    if problem := why_no_application(value, None if is_factory else app):
        raise ApplicationError(f"app = {app}: {'what it returns' if is_factory else 'it'} {problem}")
    application: Callable[..., Any] = value
    return application


def _attribute(value: Any, name: str, app: str, module: ModuleType) -> Any:
    try:
        return getattr(value, name)
    except AttributeError:
        names = sorted(key for key, found in vars(module).items() if callable(found) and not key.startswith("_"))
        have = ", ".join(names[:10]) or "nothing callable"
        # The file tells when a module of the library, say `site`, has been found in place of the application's.
        where = getattr(module, "__file__", None) or "built-in"
        raise ApplicationError(f"app = {app}: {module.__name__} ({where}) has no {name!r}; it has {have}") from None


def _load_file(path: str) -> ModuleType:
    path = os.path.abspath(path)
    name = os.path.basename(path).rpartition(".")[0]
    directory = os.path.dirname(path)
    if directory not in sys.path:
        sys.path.insert(0, directory)
    # A loader of its own: by its extension alone, .wsgi would be nothing that can be imported.
    spec = importlib.util.spec_from_file_location(name, path, loader=SourceFileLoader(name, path))
    if spec is None or spec.loader is None:
        raise ApplicationError(f"app: cannot load {path}")
    module = importlib.util.module_from_spec(spec)
    # Registered under its name, so that pickle and `import name` from elsewhere find the same module.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
