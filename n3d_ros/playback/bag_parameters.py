"""Parameters of the bag player."""

from __future__ import annotations

from dataclasses import dataclass

from n3d_ros.node.parameters import AT_START, CheckedParameters, parameter


@dataclass(frozen=True)
class BagParameters(CheckedParameters):
    """See the texts; docs/ros.md is made from them."""

    bag: str = parameter("", "Bag to play, a folder or a file; empty plays the one shipped with it.", when=AT_START)
    rate: float = parameter(1.0, "Speed, as a multiple of the recording's.", low=0.01, high=100.0, when=AT_START)
    loop: bool = parameter(True, "Begin again at the end; false stops there.")
    clock: bool = parameter(
        False, "Publish /clock and keep the recorded stamps; false stamps every message with now.", when=AT_START
    )
    color_topic: str = parameter("", "Colour topic in the bag; empty takes the first image in colour.", when=AT_START)
    depth_topic: str = parameter("", "Depth topic in the bag; empty takes the first depth image.", when=AT_START)
