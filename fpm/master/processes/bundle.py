"""The pool side of fpm as one piece of memory: sources (and code, for the same Python) in a sealed memfd.

Processes of a pool import `fpm` from it. So nothing of the master's site-packages is on their path, a chroot needs no
copy of fpm, the pool's user needs no access to the installation, and a `pip install --upgrade` of pyfpm while they run
cannot mix two versions.
"""

from __future__ import annotations

import base64
import importlib.util
import io
import json
import marshal
import os
import pkgutil
import zipfile
from collections.abc import Mapping
from fcntl import F_ADD_SEALS, F_SEAL_GROW, F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_WRITE, fcntl
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

from fpm.system.machine import machine_type

POOL_PACKAGES = (
    "fpm.events",
    "fpm.fastcgi",
    "fpm.launcher",
    "fpm.paths",
    "fpm.protocol",
    "fpm.scoreboard",
    "fpm.stacks.calibration",
    "fpm.stacks.reading",
    "fpm.template",
    "fpm.worker",
    "fpm.wsgi",
)
"""Packages that run in pools as a whole."""
POOL_MODULES = (
    "fpm",
    "fpm.errors",
    "fpm.flup_server",
    "fpm.flup_server.arguments",
    "fpm.flup_server.server",
    "fpm.frozen",
    "fpm.library",
    "fpm.log",
    "fpm.log.access",
    "fpm.log.escape",
    "fpm.log.times",
    "fpm.manager",
    "fpm.stacks",
    "fpm.stacks.layout",
    "fpm.stacks.trace",
    "fpm.status",
    "fpm.status.figures",
    "fpm.status.model",
    "fpm.status.overview",
    "fpm.status.pages",
    "fpm.system",
    "fpm.system.descriptors",
    "fpm.system.keyring",
    "fpm.system.listen_queue",
    "fpm.system.machine",
    "fpm.system.prctl",
    "fpm.system.proc_stat",
    "fpm.system.proctitle",
)
"""Single modules in addition."""
CHILD_MODULES = (
    "fpm",
    "fpm.errors",
    "fpm.events",
    "fpm.events.base",
    "fpm.flup_server",
    "fpm.flup_server.arguments",
    "fpm.flup_server.server",
    "fpm.frozen",
    "fpm.library",
    "fpm.manager",
)
"""What `import fpm` needs in Pythons that an application starts, see fpm.template.child_library."""
CHILD_STUB = '''"""fpm in a Python that an application has started: that which is installed for it, else this one."""

import importlib.machinery
import sys


def _find():
    here = __file__.rpartition("/fpm/")[0]
    path = [entry for entry in sys.path if entry != here] + [here + "/bundled"]
    return importlib.machinery.PathFinder.find_spec("fpm", path)


__spec__ = _find()
__file__, __loader__, __path__ = __spec__.origin, __spec__.loader, __spec__.submodule_search_locations
__loader__.exec_module(sys.modules[__name__])
'''


def pool_module_names() -> list[str]:
    """Return the full names of all modules for pools."""
    names = list(POOL_MODULES)
    for package in POOL_PACKAGES:
        spec = importlib.util.find_spec(package)
        locations = spec.submodule_search_locations if spec else None
        names.append(package)
        names.extend(f"{package}.{module.name}" for module in pkgutil.iter_modules(locations) if not module.ispkg)
    return names


def pack_bundle() -> bytes:
    """Pack the modules of the installation.

    Returns:
        JSON: "boot" is the source that installs the importer; "children" a file for sys.path of other Pythons, in
        base64; "compiled" what the compiled part is for and its binary in base64, "" if there is none; "magic" the
        bytecode's magic number; "modules" maps a name to [is package, file, source, marshalled code in base64].
    """
    modules = {}
    for name in pool_module_names():
        spec = importlib.util.find_spec(name)
        if spec is None or not isinstance(spec.loader, SourceFileLoader) or spec.origin is None:
            raise ImportError(f"{name} has no source file; pyfpm needs an ordinary installation of itself")
        code = base64.b64encode(marshal.dumps(spec.loader.get_code(name))).decode()
        is_package = spec.submodule_search_locations is not None
        modules[name] = [is_package, spec.origin, spec.loader.get_source(name), code]
    bundle = {
        "boot": modules["fpm.launcher.boot"][2],
        "children": base64.b64encode(_pack_for_children(modules)).decode(),
        "compiled": [machine_type(), base64.b64encode(_read_compiled()).decode()],
        "magic": importlib.util.MAGIC_NUMBER.hex(),
        "modules": modules,
    }
    return json.dumps(bundle).encode()


def _read_compiled() -> bytes:
    spec = importlib.util.find_spec("fpm._hotpath")
    if spec is None or spec.origin is None:
        return b""
    return Path(spec.origin).read_bytes()


def _pack_for_children(modules: Mapping[str, list[Any]]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:  # not compressed: a Python may lack zlib
        archive.writestr(zipfile.ZipInfo("fpm/__init__.py"), CHILD_STUB)
        for name in CHILD_MODULES:
            is_package, _, source, _ = modules[name]
            path = name.replace(".", "/") + ("/__init__.py" if is_package else ".py")
            archive.writestr(zipfile.ZipInfo(f"bundled/{path}"), source)
    return file.getvalue()


def sealed_memfd(name: str, data: bytes) -> int:
    """Create a read-only anonymous file: memfd_create(2) with every seal, so that no process of a pool can change it.

    Returns:
        The descriptor, close-on-exec.
    """
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with open(fd, "wb", closefd=False) as file:
        file.write(data)
    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL)
    return fd
