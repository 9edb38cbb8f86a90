"""The compiled part, as a pool loads it: from the bundle, under every Python here, and where that is not possible."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from fpm.master.processes.bundle import pack_bundle, sealed_memfd
from fpm.scoreboard.writer import COMPILED_LAYOUT
from fpm.system.machine import machine_type
from fpm.worker import hot_path
from tests.support.interpreter import interpreters

Bundle = dict[str, Any]
PROBE = """
import base64, ctypes, json, os, sys

bundle = json.loads(os.pread({fd}, os.fstat({fd}).st_size, 0))
names = {{"__name__": "boot"}}
exec(compile(bundle["boot"], "<boot>", "exec"), names)
names["install"]({fd})
descriptors, path = os.listdir("/proc/self/fd"), list(sys.path)

from fpm.worker.hot_path import load

module, reason = load()
again, _ = load()


def gets_ours():
    # Load another file from the same descriptor: dlopen(3) knows what it has loaded by the path.
    number = int(module.__spec__.origin.rpartition("/")[2])
    file = os.memfd_create("another")
    os.write(file, base64.b64decode(bundle["compiled"][1]).replace(b"PyInit__hotpath", b"PyInit__another"))
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


@pytest.fixture(scope="module")
def bundle() -> bytes:
    return pack_bundle()


def load_in(python: str, bundle: Bundle) -> dict[str, Any]:
    fd = sealed_memfd("bundle", json.dumps(bundle).encode())
    try:
        command = [python, "-I", "-c", PROBE.format(fd=fd)]
        run = subprocess.run(command, pass_fds=[fd], capture_output=True, text=True, check=False, timeout=60)
    finally:
        os.close(fd)
    assert run.returncode == 0, run.stderr
    answer: dict[str, Any] = json.loads(run.stdout)
    return answer


@needs_binary
@pytest.mark.parametrize("python", interpreters())
def test_every_python_takes_the_binary_of_the_bundle(python: str, bundle: bytes) -> None:
    assert load_in(python, json.loads(bundle)) == {
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
def test_a_binary_that_cannot_be_loaded_is_a_reason(damage: str, bundle: bytes) -> None:
    change, reason = DAMAGES[damage]
    changed = json.loads(bundle)
    machine, binary = changed["compiled"]
    changed["compiled"] = [machine, base64.b64encode(change(base64.b64decode(binary))).decode()]
    answer = load_in(interpreters()[0], changed)
    assert reason in answer["reason"]
    assert "/proc" not in answer["reason"]
    assert answer["layout"] is None
    assert answer["descriptors"]


@needs_binary
def test_a_binary_for_another_machine_is_not_tried(bundle: bytes) -> None:
    changed = json.loads(bundle)
    changed["compiled"][0] = "vax with glibc"
    expected = f"the compiled part is for vax with glibc, this is {machine_type()}"
    assert load_in(interpreters()[0], changed)["reason"] == expected
