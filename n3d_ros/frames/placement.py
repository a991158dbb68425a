"""Where boxes are put: the output frame, and upright boxes by gravity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from n3d_core.geometry.boxes import OrientedBox
from n3d_core.geometry.frame import Frame
from n3d_core.geometry.gravity import gravity_from_points
from n3d_core.geometry.upright_box import upright_box

# Frames that have z up by REP 105 and REP 120, with or without a prefix ("robot1/odom"). All others may be tilted: a
# camera's link is as the camera is, a tool's as the arm is.
LEVEL_FRAMES = ("map", "odom", "base_link", "base_footprint")


@dataclass(frozen=True)
class Placement:
    """Where boxes of the optical frame are put: the output frame, and what takes points there (None: nothing)."""

    frame_id: str
    rotation: NDArray[Any] | None = None
    translation: NDArray[Any] | None = None

    @property
    def gravity(self) -> NDArray[Any] | None:
        """Unit vector along gravity in the optical frame, where the output frame has z up by its name, else None."""
        if self.rotation is None or self.frame_id.rpartition("/")[2] not in LEVEL_FRAMES:
            return None
        return -np.asarray(self.rotation)[2]

    def place(self, box: OrientedBox) -> OrientedBox:
        """The box in the output frame."""
        if self.rotation is None or self.translation is None:
            return box
        return box.transformed(self.rotation, self.translation)


@dataclass(frozen=True)
class Refinement:
    """What makes upright boxes of the model's, from the points of the frame; without gravity they stay as they are."""

    points: NDArray[Any]
    gravity: NDArray[Any] | None

    @classmethod
    def of(cls, frame: Frame, gravity: NDArray[Any] | None, mode: str) -> Refinement | None:
        """None where parameter `refine` is off; gravity that is not known is that of the largest level plane."""
        if mode == "off":
            return None
        points = frame.points[frame.valid]
        return cls(points, gravity_from_points(points) if gravity is None else gravity)

    def refine(self, box: OrientedBox) -> OrientedBox:
        """The upright box of the same object (`n3d_core.geometry.upright_box`)."""
        return box if self.gravity is None else upright_box(box, self.points, self.gravity)
