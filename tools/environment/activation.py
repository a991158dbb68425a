"""Lets the interpreter of this `.venv` find ROS 2 and the built interfaces without sourcing anything.

The set-up copies this file into the .venv's site-packages, where a `.pth` line calls `activate` as Python starts.
Sourced paths stay ahead of those recorded here. Importing this module does nothing.
"""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

MARK = "N3D_ROS_ENVIRONMENT"
PATHS = ("AMENT_PREFIX_PATH", "LD_LIBRARY_PATH")


def completed(environ: Mapping[str, str], recorded: dict) -> dict[str, str]:
    """The variables of `environ` that must change to find the recorded ROS 2, with their new values."""
    changes = {}
    for name in PATHS:
        present = [entry for entry in environ.get(name, "").split(os.pathsep) if entry]
        missing = [entry for entry in recorded[name] if entry not in present]
        if missing:
            changes[name] = os.pathsep.join(present + missing)
    for name, value in recorded["defaults"].items():
        if not environ.get(name):
            changes[name] = value
    return changes


def foreign(environ: Mapping[str, str], recorded: dict) -> str | None:
    """The folder of a ROS 2 that PYTHONPATH puts before the recorded one; None if there is none."""
    entries = [entry for entry in environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    others = [entry for entry in entries if Path(entry, "rclpy").is_dir() and entry not in recorded["modules"]]
    return others[0] if others else None


@functools.cache  # with --system-site-packages Python reads the `.pth` twice
def activate() -> None:
    """Complete this process's environment; restart the interpreter if the dynamic loader needs the change."""
    recorded = json.loads(Path(__file__).with_suffix(".json").read_text())
    other = foreign(os.environ, recorded)
    if other is not None:
        (sys.stderr or sys.__stdout__).write(
            f"{sys.prefix} was set up for another ROS 2 than the one that is sourced ({other}): run `make setup` in "
            "this shell to set it up again, or use a shell where nothing is sourced\n"
        )
        return
    changes = completed(os.environ, recorded)
    os.environ.update(changes)
    if "LD_LIBRARY_PATH" in changes:  # read by the loader once, when a process starts
        if sys.stderr is not None:  # it may be closed
            sys.stderr.flush()
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
