"""Places boxes: transforms them to the output frame and makes them upright by gravity."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from n3d_core.geometry.boxes import OrientedBox
from n3d_core.geometry.frame import Frame
from n3d_core.geometry.upright_box import gravity_from_points, upright_box

# Frames that have z up by REP 105 and REP 120, with or without a prefix ("robot1/odom"). All others may be tilted with
# the camera or the arm that they belong to.
LEVEL_FRAMES = ("map", "odom", "base_link", "base_footprint")
_OPTICAL_LINKS = ("rgb_camera_link", "depth_camera_link")
_VERTICAL = math.cos(math.radians(1.0))


@dataclass(frozen=True)
class Placement:
    """The output frame, and the transform from the optical frame to it (None: they are the same)."""

    frame_id: str
    rotation: NDArray[Any] | None = None
    translation: NDArray[Any] | None = None

    @property
    def gravity(self) -> NDArray[Any] | None:
        """Unit vector along gravity in the optical frame, if the output frame's name says z is up; else None."""
        if self.rotation is None or self.frame_id.rpartition("/")[2] not in LEVEL_FRAMES:
            return None
        return -np.asarray(self.rotation)[2]

    def place(self, box: OrientedBox) -> OrientedBox:
        """The box in the output frame; an upright one has only a yaw there, and its height is `size[2]`."""
        if self.rotation is None or self.translation is None:
            return box
        return standing(box.transformed(self.rotation, self.translation))

    def place_point(self, point: Sequence[float]) -> tuple[float, float, float]:
        """Transforms a point from the optical frame to the output frame."""
        if self.rotation is None or self.translation is None:
            x, y, z = point
        else:
            x, y, z = np.asarray(self.rotation) @ np.asarray(point) + np.asarray(self.translation)
        return float(x), float(y), float(z)


def frame_doubts(frame_id: str) -> list[str]:
    """Why boxes in the frame of an image may end up in the wrong place; empty if nothing speaks for it.

    REP 103: images are in an optical frame. Simulators often name the camera's link, whose x axis points forward.
    Gazebo's default is the sensor's scoped name, `model/link/sensor`. Azure Kinect's links are optical frames.
    """
    if not frame_id:
        return ["images have no frame_id, so neither TF nor RViz can place the boxes: set it in the driver"]
    name = frame_id.rpartition("/")[2]
    is_scoped = frame_id.count("/") > 1 or "::" in frame_id
    is_link = name.endswith(("link", "_frame")) and not name.endswith(_OPTICAL_LINKS)
    if "optical" in frame_id or not (is_scoped or is_link):
        return []
    return [
        f"images are in frame {frame_id!r}, whose name suggests x forward; boxes have z forward, so TF would "
        "rotate them: configure the driver to use an optical frame (Gazebo: <optical_frame_id>)"
    ]


def standing(box: OrientedBox) -> OrientedBox:
    """The same box, described with its own z axis up, if one of its axes is along z; else `box` itself."""
    axes = box.rotation
    up = int(np.argmax(np.abs(axes[2])))
    if abs(axes[2, up]) < _VERTICAL:
        return box
    first, second = (axis for axis in range(3) if axis != up)
    yaw = math.remainder(math.atan2(axes[1, first], axes[0, first]), math.pi)  # half a turn changes nothing
    return replace(
        box,
        size=(box.size[first], box.size[second], box.size[up]),
        quaternion=(0.0, 0.0, math.sin(yaw / 2), math.cos(yaw / 2)),
    )


@dataclass(frozen=True)
class Refinement:
    """Makes the model's boxes upright, using the frame's points; without gravity they stay unchanged."""

    points: NDArray[Any]
    gravity: NDArray[Any] | None

    @classmethod
    def of(cls, frame: Frame, gravity: NDArray[Any] | None, mode: str) -> Refinement | None:
        """None unless the parameter `refine` is "depth"; unknown gravity is estimated from the largest level plane."""
        if mode != "depth":
            return None
        points = frame.points[frame.valid]
        return cls(points, gravity_from_points(points) if gravity is None else gravity)

    def refine(self, box: OrientedBox) -> OrientedBox:
        """The upright box of the same object (`n3d_core.geometry.upright_box`)."""
        return box if self.gravity is None else upright_box(box, self.points, self.gravity)
