"""3D boxes: axis-aligned in the optical frame, or oriented in any frame; their overlap and their projection."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from n3d_core.geometry.camera import Camera

Vector = tuple[float, float, float]
Quaternion = tuple[float, float, float, float]

CORNERS = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
"""Corners of the unit box [8, 3]; the bits of a corner's index are its sides along x, y and z."""


@dataclass(frozen=True)
class Box3D:
    """An axis-aligned box in the optical frame (x right, y down, z forward), in metres.

    Attributes:
        label: the class in the model's reply.
        center: its centre.
        size: full extents along x (width), y (height) and z (length).
        score: probability that the box is right, 0..1; 1 if unknown (ground truth).
        covariance: row-major 3x3 covariance of the centre in square metres, or None if unknown.
        saturated: names of fields at an end of their scale; the true value may be beyond it.
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


@dataclass(frozen=True)
class OrientedBox:
    """A box in metres whose own axes are rotated by `quaternion` relative to its frame.

    Attributes:
        label, center, size, score, covariance: as in `Box3D`; `size` is along the box's own axes.
        quaternion: (x, y, z, w), unit length.
    """

    label: str
    center: Vector
    size: Vector
    score: float = 1.0
    covariance: tuple[float, ...] | None = None
    quaternion: Quaternion = (0.0, 0.0, 0.0, 1.0)

    @classmethod
    def of(cls, box: Box3D) -> OrientedBox:
        """The same box, with no rotation."""
        return cls(box.label, box.center, box.size, box.score, box.covariance)

    @property
    def rotation(self) -> NDArray[np.float64]:
        """[3, 3]: columns are the box's own axes in its frame."""
        return rotation_of(self.quaternion)

    def corners(self) -> NDArray[np.float64]:
        """The eight corners [8, 3]."""
        return np.asarray(self.center) + (CORNERS * np.asarray(self.size)) @ self.rotation.T

    def contains(self, points: NDArray[Any], margin: float = 0.0) -> NDArray[np.bool_]:
        """Which of the points [..., 3] are inside the box or within `margin` metres of it; NaN points are not."""
        own = (np.asarray(points) - np.asarray(self.center)) @ self.rotation
        with np.errstate(invalid="ignore"):
            inside: NDArray[np.bool_] = (np.abs(own) <= np.asarray(self.size) / 2 + margin).all(axis=-1)
        return inside

    def transformed(self, rotation: NDArray[Any], translation: NDArray[Any]) -> OrientedBox:
        """The same box in another frame (`p_new = rotation @ p + translation`); its size does not change."""
        turn = np.asarray(rotation, dtype=np.float64)
        center = turn @ np.asarray(self.center) + np.asarray(translation)
        covariance = self.covariance
        if covariance is not None:
            covariance = tuple(float(v) for v in (turn @ np.reshape(covariance, (3, 3)) @ turn.T).reshape(-1))
        return replace(
            self,
            center=(float(center[0]), float(center[1]), float(center[2])),
            covariance=covariance,
            quaternion=quaternion_of(turn @ self.rotation),
        )


def pose_covariance(center: tuple[float, ...] | None) -> NDArray[np.float64]:
    """[6, 6]: a pose's covariance with that of a box's centre, row-major 3x3 in m^2.

    What is not known gets a standard deviation of 1 m and of pi, since a variance of 0 would claim certainty.
    """
    out = np.diag([1.0] * 3 + [math.pi**2] * 3)
    if center is not None:
        out[:3, :3] = np.reshape(center, (3, 3))
    return out


def quaternion_of(rotation: NDArray[Any]) -> Quaternion:
    """(x, y, z, w) with w >= 0 of a rotation matrix [3, 3]."""
    m = np.asarray(rotation, dtype=np.float64)
    # Of the four ways to start (Shepperd), the one with the largest component is stable.
    squares = np.array(
        [m[0, 0] - m[1, 1] - m[2, 2], m[1, 1] - m[0, 0] - m[2, 2], m[2, 2] - m[0, 0] - m[1, 1], np.trace(m)]
    )
    q = np.zeros(4)
    i = int(np.argmax(squares))
    q[i] = np.sqrt(1 + squares[i]) / 2
    if i == 3:
        q[:3] = np.array([m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1]]) / (4 * q[3])
    else:
        j, k = (i + 1) % 3, (i + 2) % 3
        q[j], q[k] = (m[j, i] + m[i, j]) / (4 * q[i]), (m[k, i] + m[i, k]) / (4 * q[i])
        q[3] = (m[k, j] - m[j, k]) / (4 * q[i])
    q = q / np.linalg.norm(q) * (-1 if q[3] < 0 else 1)
    return float(q[0]), float(q[1]), float(q[2]), float(q[3])


def rotation_of(quaternion: Quaternion) -> NDArray[np.float64]:
    """The rotation matrix [3, 3] of a unit quaternion (x, y, z, w)."""
    x, y, z, w = quaternion
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


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
