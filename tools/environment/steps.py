"""The steps that make `.venv`, each with a key over all that its result depends on."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from ledger import Step
from ros_source import RosSource
from venv_work import OWN_COPIES, VenvWork

BUILT = (
    "package.xml",
    "CMakeLists.txt",
    "msg",
    "srv",
    "action",
    *map("tools/{}".format, OWN_COPIES),
    "tools/node.sh.in",
)
LINKED = ("config", "demo", "launch", "models", "rviz", "sros2")  # installed as links: only the names matter


def plan(root: Path, source: RosSource) -> list[Step]:
    """The steps that make `root`/.venv for `source`, in the order in which they build on each other."""
    work = VenvWork(root, source)
    here = Path(__file__).parent
    origin = "from PyPI" if source.kind == "wheels" else "as sourced"
    return [
        Step(
            "virtual environment",
            f"virtual environment on Python {source.version}; ROS 2 {source.distro} {origin}",
            _digest(json.dumps([str(root), source.as_dict()])),
            work.make,
            fragile=True,
        ),
        Step(
            "packages",
            f"{work.locked_packages()} packages from {work.locks[-1].name}",
            _digest(work.locked()),
            work.install_packages,
            fragile=True,
        ),
        Step("torch", work.torch, _digest(work.torch), work.install_torch, fragile=True),
        Step(
            "interfaces",
            "ROS interfaces (colcon build)",
            _digest(*_names(root, LINKED), *_texts(root, BUILT)),
            work.build_interfaces,
        ),
        Step(
            "n3d",
            "the command n3d",
            _digest(*_texts(root, ("pyproject.toml", "setup.py")), *_texts(here, ("activation.py", "venv_work.py"))),
            work.install_checkout,
        ),
    ]


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _files(root: Path, entries: tuple[str, ...]) -> list[Path]:
    found = [path for entry in entries for path in (root / entry, *(root / entry).rglob("*")) if path.is_file()]
    return sorted(path for path in found if path.suffix != ".pyc")


def _names(root: Path, entries: tuple[str, ...]) -> list[str]:
    return [str(path.relative_to(root)) for path in _files(root, entries)]


def _texts(root: Path, entries: tuple[str, ...]) -> list[str]:
    return [f"{path.relative_to(root)}\n{path.read_text()}" for path in _files(root, entries)]
