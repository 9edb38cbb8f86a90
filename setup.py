"""The one thing that pyproject.toml cannot say without a warning: the compiled hot path, which is optional.

`pip install` builds it where a C compiler and Python.h are, and installs without it where they are not. It keeps to the
stable ABI of CPython 3.11, so that one binary serves under every later version.
"""

from __future__ import annotations

import sys
import sysconfig

from setuptools import Extension, setup

HOT_PATH = Extension(
    "fpm._hotpath",
    ["fpm/_hotpath.c"],
    # -g0: each pool has the whole file in its memory, and Debian's Python says -g.
    extra_compile_args=["-O3", "-g0", "-fvisibility=hidden", "-Wall", "-Wextra"],
    py_limited_api=True,
    optional=True,
)

# Another implementation has no such ABI, nor has a CPython without the GIL.
if sys.implementation.name == "cpython" and not sysconfig.get_config_var("Py_GIL_DISABLED"):
    setup(ext_modules=[HOT_PATH], options={"bdist_wheel": {"py_limited_api": "cp311"}})
else:
    setup()
