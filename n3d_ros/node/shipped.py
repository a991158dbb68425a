"""Where the files that come with the package are: in a checkout, or in the share folder of a ROS prefix."""

from __future__ import annotations

from pathlib import Path

from n3d_core.errors import ConfigError

_CHECKOUT = Path(__file__).resolve().parents[2]


def shipped(relative: str) -> Path:
    """The path of a shipped file or folder, as `config/grounding.yaml`.

    Raises:
        ConfigError: if it is in neither place.
    """
    places = [_CHECKOUT]
    try:
        from ament_index_python.packages import PackageNotFoundError, get_package_share_directory

        places.append(Path(get_package_share_directory("n3d_ros")))
    except (ImportError, PackageNotFoundError):
        pass  # a checkout that has not been built
    for place in places:
        if (place / relative).exists():
            return place / relative
    raise ConfigError(
        f"{relative} is not in {' nor in '.join(map(str, places))}: build the package, or run from its checkout"
    )


def demo_frames() -> Path:
    """The frames that ship with the package, each with its true boxes."""
    return shipped("demo/frames")
