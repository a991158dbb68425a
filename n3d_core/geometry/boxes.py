"""3D boxes in the camera's optical frame, their overlap and their projection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from n3d_core.geometry.camera import Camera

Vector = tuple[float, float, float]

CORNERS = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
"""Of the unit box [8, 3]; the bits of a corner's number are its sides along x, y and z."""


@dataclass(frozen=True)
class Box3D:
    """An axis-aligned box in the optical frame (x right, y down, z forward), in metres.

    Attributes:
        label: what the box was called in the model's reply.
        center: its centre.
        size: full extents along x (width), y (height) and z (length).
        score: probability that the box is right, 0..1; 1 where nothing is known (ground truth).
        covariance: row-major 3x3 covariance of the centre in square metres, or None where unknown.
        saturated: names of fields at an end of their scale, so that the true value may lie beyond it.
    """

    label: str
    center: Vector
    size: Vector
    score: float = 1.0
    covariance: tuple[float, ...] | None = None
    saturated: tuple[str, ...] = ()

    @property
    def low(self) -> NDArray[np.float64]:
        """The corner with the smallest coordinates, [3]."""
        return np.asarray(self.center) - np.asarray(self.size) / 2

    @property
    def high(self) -> NDArray[np.float64]:
        """The corner with the largest coordinates, [3]."""
        return np.asarray(self.center) + np.asarray(self.size) / 2

    @property
    def volume(self) -> float:
        """Cubic metres."""
        return float(np.prod(self.size))

    def corners(self) -> NDArray[np.float64]:
        """The eight corners [8, 3]."""
        return np.asarray(self.center) + CORNERS * np.asarray(self.size)

    def image_box(self, camera: Camera) -> tuple[float, float, float, float] | None:
        """Hull (left, top, right, bottom) in pixels of the corners in front, not clipped; None if all are behind."""
        pixels = camera.project(self.corners())
        if np.isnan(pixels).all():
            return None
        left, top = np.nanmin(pixels, axis=0)
        right, bottom = np.nanmax(pixels, axis=0)
        return float(left), float(top), float(right), float(bottom)


def iou_3d(a: Box3D, b: Box3D) -> float:
    """Exact intersection over union of two axis-aligned boxes, 0..1; 0 if both are empty."""
    overlap = np.minimum(a.high, b.high) - np.maximum(a.low, b.low)
    inter = float(np.prod(np.clip(overlap, 0, None)))
    union = a.volume + b.volume - inter
    return inter / union if union > 0 else 0.0


def pairwise_iou_3d(a: list[Box3D], b: list[Box3D]) -> NDArray[np.float64]:
    """IoU of each of `a` with each of `b`: [len(a), len(b)]."""
    out: NDArray[Any] = np.zeros((len(a), len(b)))
    for i, first in enumerate(a):
        for j, second in enumerate(b):
            out[i, j] = iou_3d(first, second)
    return out
