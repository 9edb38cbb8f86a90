"""Finds the WSGI application of a directory, a file or a module, as `pyfpm serve` and `pyfpm init` name it."""

from __future__ import annotations

import os
import stat

from fpm.discover.source import find_assigned_text, find_asynchronous, find_callable, find_settings_module
from fpm.errors import EXIT_USAGE, FpmError
from fpm.frozen import dataclass

MANAGE = "manage.py"
LIKELY = ("wsgi.py", "app.py", "application.py", "main.py", "server.py")
"""Files of a directory that are looked at before its others."""
SOURCE_MAX = 1024 * 1024
"""Bytes of a source that is read."""
ENTRIES_MAX = 1000
"""Entries of a directory that are looked at."""


class NoApplication(FpmError):
    """There is nothing to serve, or too much to choose from."""

    exit_status = EXIT_USAGE


@dataclass(frozen=True, slots=True)
class Project:
    """A WSGI application and where it is.

    Attributes:
        app: the directive of the same name, `module:callable` or `file.py:callable`.
        directory: absolute; from there `app` is found.
        framework: as in fpm.discover.source.Callable.
        settings: Django's settings module, else "".
    """

    app: str
    directory: str
    framework: str = ""
    settings: str = ""


def find_project(target: str, directory: str) -> Project:
    """Find the application of a target.

    Args:
        target: a directory, the path of a `.py` file (also Django's manage.py), a module, or "" for the directory.
            `module:callable` is taken as it is.
        directory: absolute; where paths and modules begin.

    Raises:
        NoApplication: says what was looked for.
    """
    if ":" in target:
        return _describe(target, directory)
    path = os.path.join(directory, target)
    if os.path.isdir(path):
        return _of_directory(os.path.normpath(path), target or "this directory")
    if target.endswith(".py"):
        return _of_path(path, target, directory)
    return _of_module(target, directory)


def _describe(app: str, directory: str) -> Project:
    """Look for the framework of an application that is named."""
    where = app.rpartition(":")[0]
    if where.endswith(".py") and not os.path.isfile(os.path.join(directory, where)):
        raise NoApplication(f"there is no file {where}")
    files = [where] if where.endswith(".py") else _files_of(where)
    text = next((text for file in files if (text := read_source(os.path.join(directory, file)))), "")
    found = find_callable(text)
    framework = found.framework if found else ""
    settings = _settings(directory, text) if framework == "django" else ""
    return Project(app, directory, framework, settings)


def _of_directory(path: str, shown: str) -> Project:
    """Find the application of a directory: Django's by manage.py, else that of one of its files or packages."""
    if os.path.isfile(os.path.join(path, MANAGE)):
        return _of_manage(path)
    if os.path.isfile(os.path.join(path, "__init__.py")):
        inner = _of_package(*os.path.split(path))
        if inner is not None:
            return _outside(inner)
    names = _list(path)
    files = [name for name in LIKELY if name in names]
    first = next((project for name in files if (project := _of_file(path, name)) is not None), None)
    if first is not None:
        return first
    others = [name for name in names if name.endswith(".py") and not name.startswith(("test", "conftest", "setup"))]
    packages = [name for name in names if os.path.isfile(os.path.join(path, name, "__init__.py"))]
    found = [project for name in others if (project := _of_file(path, name)) is not None]
    found += [project for name in packages if (project := _of_package(path, name)) is not None]
    if len(found) == 1:
        return found[0]
    if found:
        apps = ", ".join(project.app for project in found[:5])
        raise NoApplication(f"{shown} has more than one application: {apps}. Name the one to serve")
    below = [name for name in names if os.path.isfile(os.path.join(path, name, MANAGE))]
    if len(below) == 1:
        return _of_manage(os.path.join(path, below[0]))
    if "src" in names and os.path.isdir(os.path.join(path, "src")):
        return _of_directory(os.path.join(path, "src"), shown)
    for name in [*files, *others]:
        maker = find_asynchronous(read_source(os.path.join(path, name)))
        if maker:
            raise NoApplication(f"{maker} of {os.path.join(path, name)} makes an ASGI application; this is for WSGI")
    raise NoApplication(
        f"found no application in {shown}: no manage.py, and no file with `application`, `app` or `create_app()`. "
        "Name it as MODULE:CALLABLE"
    )


def _of_manage(path: str) -> Project:
    """Return the application of a Django project by its settings: WSGI_APPLICATION, else the wsgi.py beside them."""
    settings = find_settings_module(read_source(os.path.join(path, MANAGE)))
    if not settings:
        raise NoApplication(
            f"{os.path.join(path, MANAGE)} does not set DJANGO_SETTINGS_MODULE. Name the application as MODULE:CALLABLE"
        )
    text = next((text for file in _files_of(settings) if (text := read_source(os.path.join(path, file)))), "")
    module, dot, name = find_assigned_text(text, "WSGI_APPLICATION").rpartition(".")
    if dot:
        return Project(f"{module}:{name}", path, "django", settings)
    package = settings.split(".")[0]
    if not read_source(os.path.join(path, package, "wsgi.py")):
        raise NoApplication(
            f"{os.path.join(path, MANAGE)} names the settings {settings}, but there is no {package}/wsgi.py and no "
            "WSGI_APPLICATION. Name the application as MODULE:CALLABLE"
        )
    return Project(f"{package}.wsgi:application", path, "django", settings)


def _of_path(path: str, shown: str, directory: str) -> Project:
    if not os.path.isfile(path):
        raise NoApplication(f"there is no file {shown}")
    place, name = os.path.split(os.path.normpath(path))
    if name == MANAGE:
        return _of_manage(place)
    found = _of_file(place, name)
    if found is None:
        raise NoApplication(
            f"{shown} has no `application`, no `app` and no `create_app()` without parameters. Name the callable: "
            f"{shown}:NAME"
        )
    return _outside(found)


def _outside(found: Project) -> Project:
    """Name a module of a package, which may import others of it, from outside of the package."""
    place, app = found.directory, found.app
    while os.path.isfile(os.path.join(place, "__init__.py")) and os.path.basename(place).isidentifier():
        place, package = os.path.split(place)
        app = f"{package}.{app}"
    settings = found.settings or (_settings(place, "") if found.framework == "django" else "")
    return Project(app, place, found.framework, settings)


def _of_module(module: str, directory: str) -> Project:
    texts = [(file, read_source(os.path.join(directory, file))) for file in _files_of(module)]
    if not any(text for _, text in texts):
        raise NoApplication(
            f"there is no {' and no '.join(file for file, _ in texts)} in {directory}. Name a file, a directory, a "
            "module or MODULE:CALLABLE"
        )
    for _, text in texts:
        found = find_callable(text)
        if found is not None:
            settings = _settings(directory, text) if found.framework == "django" else ""
            return Project(f"{module}:{found.name}", directory, found.framework, settings)
    inner = _of_package(directory, module.replace(".", "/"))
    if inner is not None:
        return inner
    raise NoApplication(
        f"module {module} has no `application`, no `app` and no `create_app()` without parameters. Name the callable: "
        f"{module}:NAME"
    )


def _of_package(directory: str, name: str) -> Project | None:
    """Find the application of a package: its own, else that of its wsgi.py and so on."""
    return _of_file(directory, f"{name}/__init__.py") or next(
        (found for file in LIKELY if (found := _of_file(directory, f"{name}/{file}")) is not None), None
    )


def _of_file(directory: str, name: str) -> Project | None:
    text = read_source(os.path.join(directory, name))
    found = find_callable(text)
    if found is None:
        return None
    module = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    where = module if all(part.isidentifier() for part in module.split(".")) else name
    settings = _settings(directory, text) if found.framework == "django" else ""
    return Project(f"{where}:{found.name}", directory, found.framework, settings)


def _settings(directory: str, text: str) -> str:
    return find_settings_module(text) or find_settings_module(read_source(os.path.join(directory, MANAGE)))


def _files_of(module: str) -> list[str]:
    path = module.replace(".", "/")
    return [f"{path}.py", f"{path}/__init__.py"]


def _list(path: str) -> list[str]:
    try:
        with os.scandir(path) as entries:
            return sorted(entry.name for entry, _ in zip(entries, range(ENTRIES_MAX), strict=False))
    except OSError as error:
        raise NoApplication(f"{path} cannot be read: {error.strerror}") from None


def read_source(path: str) -> str:
    """Read a Python source; "" for what is no regular file, cannot be read or is too large."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except (OSError, ValueError):
        return ""
    with open(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return ""
        data = file.read(SOURCE_MAX + 1)
    return data.decode(errors="replace") if len(data) <= SOURCE_MAX else ""
