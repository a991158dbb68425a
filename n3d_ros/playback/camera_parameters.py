"""Parameters of the camera node."""

from __future__ import annotations

from dataclasses import dataclass

from n3d_ros.node.parameters import AT_START, CheckedParameters, parameter


@dataclass(frozen=True)
class CameraParameters(CheckedParameters):
    """See the texts; docs/ros.md is made from them."""

    folder: str = parameter("", "Frame folder to play; empty plays the frames shipped with the package.", when=AT_START)
    rate: float = parameter(30.0, "Frames a second.", low=0.1, high=240.0)
    loop: bool = parameter(True, "Begin again after the last frame; false stays on it.")
    hold: float = parameter(
        0.0,
        "Seconds for which each frame of the folder is repeated before the next; 0 shows each once.",
        low=0.0,
        high=3600.0,
    )
    frame: int = parameter(-1, "Number of the one frame to show; -1 plays all.", low=-1, high=1_000_000)
    frame_id: str = parameter("camera_color_optical_frame", "Optical frame in the headers.", when=AT_START)
    depth_encoding: str = parameter(
        "16UC1", "16UC1: millimetres, 0 invalid; 32FC1: metres, NaN invalid.", choices=("16UC1", "32FC1"), when=AT_START
    )
