"""Finds the package's files: in a checkout, or in the share folder of a ROS prefix."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from n3d_core.errors import ConfigError

_CHECKOUT = Path(__file__).resolve().parents[2]


def shipped(relative: str) -> Path:
    """The path of a shipped file or folder, such as `config/grounding.yaml`.

    Raises:
        ConfigError: if it is in neither place.
    """
    places = [_CHECKOUT]
    try:
        from ament_index_python.packages import PackageNotFoundError, get_package_share_directory

        places.append(Path(get_package_share_directory("n3d_ros")))
    except (ImportError, PackageNotFoundError):
        pass  # a checkout that is not built
    for place in places:
        if (place / relative).exists():
            return place / relative
    raise ConfigError(
        f"{relative} not found in {' or '.join(map(str, places))}: build the package, or run from its checkout"
    )


def demo_frames() -> Path:
    """The frames that ship with the package, each with its true boxes."""
    return shipped("demo/frames")


def dds_profile() -> dict[str, str]:
    """The environment variable that makes Fast DDS use the shipped shared-memory profile."""
    return {profile_variable(): str(shipped("config/fastdds_shm.xml"))}


def uses_dds_profile() -> bool:
    """Whether this process uses the shipped profile, which loses no images on this machine."""
    given = [os.environ.get(f"{vendor}_DEFAULT_PROFILES_FILE", "") for vendor in ("FASTRTPS", "FASTDDS")]
    return any(Path(path).name == "fastdds_shm.xml" for path in given)


def profile_variable() -> str:
    """The variable from which Fast DDS reads its profile; Kilted and later warn about the old name."""
    vendor = "FASTRTPS" if os.environ.get("ROS_DISTRO") == "jazzy" else "FASTDDS"
    return f"{vendor}_DEFAULT_PROFILES_FILE"


def how_to_install(missing: ModuleNotFoundError) -> str:
    """What to do about a module that this interpreter cannot import."""
    name = (missing.name or str(missing)).partition(".")[0]
    if name in ("rclpy", "sensor_msgs", "vision_msgs", "lifecycle_msgs"):
        return (
            f"{name} is not installed for {sys.executable}: source the ROS distribution (/opt/ros/…/setup.bash) or "
            "install its package, or run `make setup` in the package's folder"
        )
    return (
        f"{name} is not installed for {sys.executable}: run `make setup` in the package's folder, which puts torch and "
        "the rest into .venv, or name another interpreter (launch argument python:=, environment variable N3D_PYTHON)"
    )
