"""The compiled part, as a pool loads it: from the bundle, under every Python here, and where that is not possible."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fpm.master.processes.bundle import pack_bundle, sealed_memfd
from fpm.scoreboard.writer import COMPILED_LAYOUT
from fpm.system.machine import machine_type
from fpm.worker import hot_path
from tests.support.interpreter import interpreters

PROBE = """
import ctypes, json, os, sys

names = {{"__name__": "boot"}}
exec(compile(os.pread({fd}, int(os.pread({fd}, 16, 0)), 16), "<boot>", "exec"), names)
names["install"]({fd})
descriptors, path = os.listdir("/proc/self/fd"), list(sys.path)

from fpm.worker.hot_path import load

module, reason = load()
again, _ = load()


def gets_ours():
    # Load another file from the same descriptor: dlopen(3) knows what it has loaded by the path.
    number = int(module.__spec__.origin.rpartition("/")[2])
    file = os.memfd_create("another")
    os.write(file, sys.meta_path[0].compiled[1].replace(b"PyInit__hotpath", b"PyInit__another"))
    if file != number:
        os.dup2(file, number)
    return hasattr(ctypes.CDLL(f"/proc/self/fd/{{number}}"), "PyInit__hotpath")


print(json.dumps({{
    "reason": reason,
    "layout": getattr(module, "LAYOUT", None),
    "same": again is module,
    "unwanted": load(wanted=False),
    "entries": [name for name in sys.modules if "hotpath" in name],
    "path": sys.path == path,
    "descriptors": os.listdir("/proc/self/fd") == descriptors,
    "confused": module is not None and gets_ours(),
}}))
"""

needs_binary = pytest.mark.skipif(
    hot_path.load()[0] is None, reason=f"the compiled part is not here: {hot_path.load()[1]}"
)


def load_in(python: str, compiled: tuple[str, bytes] | None = None) -> dict[str, Any]:
    fd = sealed_memfd("bundle", pack_bundle(compiled))
    try:
        command = [python, "-I", "-c", PROBE.format(fd=fd)]
        run = subprocess.run(command, pass_fds=[fd], capture_output=True, text=True, check=False, timeout=60)
    finally:
        os.close(fd)
    assert run.returncode == 0, run.stderr
    answer: dict[str, Any] = json.loads(run.stdout)
    return answer


def installed_binary() -> bytes:
    spec = importlib.util.find_spec("fpm._hotpath")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).read_bytes()


@needs_binary
@pytest.mark.parametrize("python", interpreters())
def test_every_python_takes_the_binary_of_the_bundle(python: str) -> None:
    assert load_in(python) == {
        "reason": "",
        "layout": list(COMPILED_LAYOUT),
        "same": True,
        "unwanted": [None, "hotpath = no"],
        "entries": [],
        "path": True,
        "descriptors": True,
        "confused": False,
    }


DAMAGES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "absent": (lambda binary: b"", "the installation has no compiled part"),
    "no ELF file": (lambda binary: b"\0" * 64 + binary[64:], "invalid ELF header"),
    "cut off": (lambda binary: binary[: len(binary) // 2], "damaged"),
    "cut off in the header": (lambda binary: binary[:20], "damaged"),
    "another C library": (lambda binary: binary.replace(b"PyModuleDef_Init", b"PyModuleDef_None"), "undefined symbol"),
    "no module": (lambda binary: binary.replace(b"PyInit__hotpath", b"PyInit__nothing"), "PyInit__hotpath"),
}


@needs_binary
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_binary_that_cannot_be_loaded_is_a_reason(damage: str) -> None:
    change, reason = DAMAGES[damage]
    answer = load_in(interpreters()[0], (machine_type(), change(installed_binary())))
    assert reason in answer["reason"]
    assert "/proc" not in answer["reason"]
    assert answer["layout"] is None
    assert answer["descriptors"]


@needs_binary
def test_a_binary_for_another_machine_is_not_tried() -> None:
    expected = f"the compiled part is for vax with glibc, this is {machine_type()}"
    assert load_in(interpreters()[0], ("vax with glibc", installed_binary()))["reason"] == expected
