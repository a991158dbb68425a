"""The shape of a box in RViz: its edges, and a label above it; for messages that are made with ROS or without."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from n3d_core.display.draw import EDGES, AnyBox, caption
from n3d_core.geometry.boxes import CORNERS

Direction = tuple[float, float, float]
OPTICAL_UP: Direction = (0.0, -1.0, 0.0)
"""Up in optical frames (REP 103)."""
BODY_UP: Direction = (0.0, 0.0, 1.0)
"""Up in all other frames."""


@dataclass(frozen=True)
class Label:
    """A text that faces the viewer.

    Attributes:
        place: its middle, in the frame of the box.
        height: of a capital letter, metres.
        space: width of a space, metres; RViz reads it from `scale.x`, where 0 means that of a letter of 1 m.
    """

    text: str
    place: tuple[float, float, float]
    height: float
    space: float


def edge_points(box: AnyBox) -> list[list[float]]:
    """24 points [x, y, z], two for each edge, from the box's centre along its own axes."""
    corners = CORNERS * np.asarray(box.size)
    return [corner for edge in EDGES for corner in corners[list(edge)].tolist()]


def edge_width(box: AnyBox) -> float:
    """Width of the edges, metres."""
    return float(np.clip(min(box.size) * 0.04, 0.002, 0.02))


def label_of(box: AnyBox, up: Direction = OPTICAL_UP) -> Label:
    """Label, score and extents in two lines above the box."""
    above: NDArray[np.float64] = np.asarray(up)
    height = float(np.clip(max(box.size) * 0.15, 0.02, 0.2))
    top = float((box.corners() @ above).max() - np.asarray(box.center) @ above)
    x, y, z = (np.asarray(box.center) + (top + 1.5 * height) * above).tolist()  # two lines and half a line of gap
    title, _, extents = caption(box).rpartition("  ")
    return Label(f"{title}\n{extents}", (x, y, z), height, height / 2)
