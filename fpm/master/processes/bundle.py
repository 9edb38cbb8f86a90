"""The pool side of fpm as one piece of memory: sources (and code, for the same Python) in a sealed memfd.

Processes of a pool import `fpm` from it. So nothing of the master's site-packages is on their path, a chroot needs no
copy of fpm, the pool's user needs no access to the installation, and a `pip install --upgrade` of pyfpm while they run
cannot mix two versions.
"""

from __future__ import annotations

import importlib.util
import io
import json
import marshal
import os
import pkgutil
import zipfile
from collections.abc import Mapping
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

from fpm.protocol.spec import BUNDLE_NUMBER
from fpm.system.machine import machine_type
from fpm.system.memfd import write_sealed

POOL_PACKAGES = (
    "fpm.events",
    "fpm.fastcgi",
    "fpm.kernel",
    "fpm.launcher",
    "fpm.launcher.jail",
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
    "fpm.log.access_json",
    "fpm.log.access_record",
    "fpm.log.escape",
    "fpm.log.times",
    "fpm.manager",
    "fpm.stacks",
    "fpm.stacks.layout",
    "fpm.stacks.trace",
    "fpm.status",
    "fpm.status.exceptions",
    "fpm.status.figures",
    "fpm.status.model",
    "fpm.status.overview",
    "fpm.status.past",
    "fpm.status.past.recent",
    "fpm.status.pages",
    "fpm.system",
    "fpm.system.descriptors",
    "fpm.system.io_priority",
    "fpm.system.keyring",
    "fpm.system.listen_queue",
    "fpm.system.machine",
    "fpm.system.memfd",
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


def pack_bundle(compiled: tuple[str, bytes] | None = None) -> bytes:
    """Pack the modules of the installation.

    Its beginning and its end say where the rest is, in BUNDLE_NUMBER digits each: the length of the source that
    follows, which installs the importer (fpm.launcher.boot), and the length of the JSON before. Between them are the
    pieces, which a process reads one by one when it needs them, and so keeps none in memory.

    Args:
        compiled: what the compiled part is for and its binary, in the place of the installation's.

    Returns:
        Of the JSON, "compiled" says what that is for, "magic" is the bytecode's magic number, and "modules" maps a name
        to [is package, file, place of the source, place of the marshalled code]. "children" is the place of a file for
        sys.path of other Pythons, "binary" of the compiled part, empty if there is none. A place is [start, length].
    """
    modules: dict[str, list[Any]] = {}
    sources = {}
    pieces = _Pieces()
    for name in pool_module_names():
        spec = importlib.util.find_spec(name)
        if spec is None or not isinstance(spec.loader, SourceFileLoader) or spec.origin is None:
            raise ImportError(f"{name} has no source file; pyfpm needs an ordinary installation of itself")
        sources[name] = str(spec.loader.get_source(name))
        if name == "fpm.launcher.boot":
            pieces.begin(sources[name].encode())
        code = marshal.dumps(spec.loader.get_code(name))
        is_package = spec.submodule_search_locations is not None
        modules[name] = [is_package, spec.origin, sources[name].encode(), code]
    for entry in modules.values():
        entry[2:] = map(pieces.add, entry[2:])
    machine, binary = compiled or (machine_type(), _read_compiled())
    index = {
        "children": pieces.add(_pack_for_children(modules, sources)),
        "compiled": machine,
        "binary": pieces.add(binary),
        "magic": importlib.util.MAGIC_NUMBER.hex(),
        "modules": modules,
    }
    return pieces.end(json.dumps(index).encode())


class _Pieces:
    """A bundle that is being written."""

    def __init__(self) -> None:
        self._data = bytearray()

    def begin(self, boot: bytes) -> None:
        """Write the beginning."""
        self._data += _number(boot) + boot

    def add(self, piece: bytes) -> list[int]:
        """Append it; returns its place."""
        start = len(self._data)
        self._data += piece
        return [start, len(piece)]

    def end(self, index: bytes) -> bytes:
        """Return the whole."""
        return bytes(self._data + index + _number(index))


def _number(piece: bytes) -> bytes:
    return b"%0*d" % (BUNDLE_NUMBER, len(piece))


def _read_compiled() -> bytes:
    spec = importlib.util.find_spec("fpm._hotpath")
    if spec is None or spec.origin is None:
        return b""
    return Path(spec.origin).read_bytes()


def _pack_for_children(modules: Mapping[str, list[Any]], sources: Mapping[str, str]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:  # not compressed: a Python may lack zlib
        archive.writestr(zipfile.ZipInfo("fpm/__init__.py"), CHILD_STUB)
        for name in CHILD_MODULES:
            path = name.replace(".", "/") + ("/__init__.py" if modules[name][0] else ".py")
            archive.writestr(zipfile.ZipInfo(f"bundled/{path}"), sources[name])
    return file.getvalue()


def sealed_memfd(name: str, data: bytes) -> int:
    """Create a read-only anonymous file: memfd_create(2) with every seal, so that no process of a pool can change it.

    Returns:
        The descriptor, close-on-exec.
    """
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    write_sealed(fd, data)
    return fd
