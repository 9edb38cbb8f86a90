"""The first code of a launcher and of a template: make `import fpm` work from the bundle, then go on.

It is executed by `python -c` (fpm.protocol.spec.BOOT_COMMAND) before fpm can be imported, so it imports nothing of fpm
at the top. The first argument names the module to go on with: fpm.protocol.spec.LAUNCHER or TEMPLATE.

The modules of fpm get the system's functions as they are now, before any code of the application: a monkey patch of
gevent, a clock that a test library has stopped, or a replaced os.write() does not reach what fpm does in its processes.
"""

from __future__ import annotations

import builtins
import importlib
import importlib.machinery
import importlib.util
import json
import marshal
import mmap
import sys
from types import CodeType, ModuleType
from typing import Any

BUNDLE = 5
"""Same as fpm.protocol.spec.FD_BUNDLE."""
NUMBER = 16
"""Same as fpm.protocol.spec.BUNDLE_NUMBER."""
SYSTEM = ("_socket", "datetime", "fcntl", "os", "resource", "select", "signal", "socket")
"""Modules of which fpm has its own copy."""


def own_builtins() -> dict[str, Any]:
    """Make the built-in names for fpm's modules; their `import` finds the copies in place of the modules in SYSTEM."""
    copies = {name: _copy_module(name) for name in SYSTEM} | {"time": _second_time()}

    def import_own(name: str, *how: Any, **how_named: Any) -> ModuleType:
        return copies.get(name) or builtins_import(name, *how, **how_named)

    builtins_import = builtins.__import__
    return {**vars(builtins), "__import__": import_own}


def _copy_module(name: str) -> ModuleType:
    copy = ModuleType(name)
    vars(copy).update(vars(importlib.import_module(name)))
    return copy


def _second_time() -> ModuleType:
    """Make the module `time` once more: who stops clocks looks through all modules for the functions of the first."""
    spec = importlib.machinery.BuiltinImporter.find_spec("time")
    if spec is None or spec.loader is None:
        return _copy_module("time")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class BundleImporter:
    """Finds and loads `fpm` and its modules from the bundle, see fpm.master.processes.bundle.pack_bundle.

    It has what importlib.abc asks of a finder and loader, but none of its bases: with these would come tempfile, bz2
    and thirty other modules, which a launcher does not need, and which cost it 17 ms.

    Args:
        bundle: mapped, not read: its pages are those of the master's memfd, the same for all pools.
    """

    def __init__(self, bundle: mmap.mmap) -> None:
        self._bundle = bundle
        end = len(bundle) - NUMBER
        index = json.loads(bundle[end - int(bundle[end:]) : end])
        self._modules: dict[str, list[Any]] = index["modules"]
        self._same_bytecode = index["magic"] == importlib.util.MAGIC_NUMBER.hex()
        self._builtins = own_builtins()
        self._children, self._binary = index["children"], index["binary"]
        self._machine = str(index["compiled"])

    def let_go(self) -> None:
        """Let the kernel take back the pages that have been read; what is wanted later is read again."""
        self._bundle.madvise(mmap.MADV_DONTNEED)

    def _read(self, place: list[int]) -> bytes:
        start, length = place
        return self._bundle[start : start + length]

    @property
    def compiled(self) -> tuple[str, bytes]:
        """What the compiled part is for, and its binary; b"" if the installation has none."""
        return self._machine, self._read(self._binary)

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        entry = self._modules.get(fullname)
        if entry is None:
            return None
        loader: Any = self
        spec = importlib.machinery.ModuleSpec(fullname, loader, origin=entry[1], is_package=entry[0])
        spec.has_location = True
        return spec

    def is_package(self, fullname: str) -> bool:
        return bool(self._modules[fullname][0])

    def get_source(self, fullname: str) -> str | None:
        entry = self._modules.get(fullname)
        return None if entry is None else self._read(entry[2]).decode()

    def get_code(self, fullname: str) -> CodeType | None:
        _, origin, source, code = self._modules[fullname]
        if self._same_bytecode:
            loaded = marshal.loads(self._read(code))
            if isinstance(loaded, CodeType):
                return loaded
        made: CodeType = compile(self._read(source), origin, "exec", dont_inherit=True)
        return made

    def read_children(self) -> bytes:
        """Return the file for sys.path of other Pythons, the only one beside the modules."""
        return self._read(self._children)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        """Leave the making of a module to Python."""

    def exec_module(self, module: ModuleType) -> None:
        code = self.get_code(module.__name__)
        if code is None:
            raise ImportError(f"no code for {module.__name__}")
        module.__dict__["__builtins__"] = self._builtins
        exec(code, module.__dict__)


def install(fd: int = BUNDLE) -> None:
    """Put the importer before all others."""
    # Private: kernels before 6.7 refuse to share what is sealed against writing, even with those who only read.
    bundle = mmap.mmap(fd, 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
    sys.meta_path.insert(0, BundleImporter(bundle))


def main() -> None:
    """Install the importer and run main() of the module that the first argument names."""
    install()
    importlib.import_module(sys.argv[1]).main()


if __name__ == "__main__":
    main()
