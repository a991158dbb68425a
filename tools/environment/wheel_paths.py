"""Repair of the ROS wheels' CMake files, which name folders of the machine that built them."""

from __future__ import annotations

import re
from pathlib import Path

PYTHON_INCLUDE = re.compile(r"/opt/python/[^/;\"]+/include/python[0-9.]+")
NUMPY_INCLUDE = re.compile(r"/opt/python/[^;\"]+/numpy/_?core/include")


def repair(share: Path, python_include: str, numpy_include: str) -> int:
    """Point all CMake files under `share` at this machine's headers; return how many files were changed."""
    changed = 0
    for path in share.rglob("*.cmake"):
        before = path.read_text()
        after = PYTHON_INCLUDE.sub(lambda _: python_include, NUMPY_INCLUDE.sub(lambda _: numpy_include, before))
        if after != before:
            path.write_text(after)
            changed += 1
    return changed
