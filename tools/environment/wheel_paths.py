"""Repair of the ROS wheels' CMake files.

They name folders of the machine that built them. They also export the path of NumPy's headers, which CMake refuses if
it lies in the checkout, as that of its .venv does. A sourced distribution has its NumPy elsewhere, and needs no repair.
"""

from __future__ import annotations

import re
from pathlib import Path

PYTHON_INCLUDE = re.compile(r"/opt/python/[^/;\"]+/include/python[0-9.]+")
NUMPY_EXPORT = re.compile(r"(PUBLIC \$\{Python3_INCLUDE_DIRS\}) (\$\{Python3_NumPy_INCLUDE_DIRS\})")
NUMPY_INCLUDE = re.compile(r"/opt/python/[^;\"]+/numpy/_?core/include")


def repair(share: Path, python_include: str, numpy_include: str) -> int:
    """Point all CMake files under `share` at this machine's headers; return how many files were changed.

    NumPy's headers are needed to build the interfaces, and by nobody who links to them.
    """
    changed = 0
    for path in share.rglob("*.cmake"):
        before = path.read_text()
        after = PYTHON_INCLUDE.sub(lambda _: python_include, NUMPY_INCLUDE.sub(lambda _: numpy_include, before))
        after = NUMPY_EXPORT.sub(r"\1 $<BUILD_INTERFACE:\2>", after)
        if after != before:
            path.write_text(after)
            changed += 1
    return changed
