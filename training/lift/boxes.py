"""Boxes of point clouds: axis-aligned, or upright with the smallest footprint; and the overlap of 2D boxes."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from n3d_core.geometry import Box3D
from n3d_core.geometry.boxes import OrientedBox, quaternion_of
from training.lift.object_mask import Box2D

IMAGE_DOWN = np.array([0.0, 1.0, 0.0])


def box_between(label: str, low: NDArray[np.float64], high: NDArray[np.float64]) -> Box3D:
    """The box with these lowest and highest corners [3], metres in the optical frame."""
    c, s = (low + high) / 2, high - low
    return Box3D(label, (float(c[0]), float(c[1]), float(c[2])), (float(s[0]), float(s[1]), float(s[2])))


def overlap_2d(a: Box2D, b: Box2D) -> float:
    """Intersection over union of two 2D boxes."""
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    inter = max(w, 0.0) * max(h, 0.0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter
    return inter / union if union > 0 else 0.0


def _gravity_frame(down: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """Rotation [3, 3] to the levelled camera's frame; its rows are right, down (along gravity) and forward.

    Args:
        down: direction of gravity [3] in the optical frame; None takes the image's.
    """
    y = IMAGE_DOWN if down is None else np.asarray(down, np.float64) / np.linalg.norm(down)
    forward = np.array([0.0, 0.0, 1.0]) if abs(y[2]) < 0.99 else np.array([0.0, -np.sign(y[2]), 0.0])
    z = forward - (forward @ y) * y
    z /= np.linalg.norm(z)
    return np.stack([np.cross(y, z), y, z])


def upright_box(label: str, cloud: NDArray[np.float32], down: NDArray[np.float64] | None) -> OrientedBox:
    """The upright box with the smallest footprint around points [n, 3] of the optical frame."""
    level = _gravity_frame(down)
    points = cloud.astype(np.float64) @ level.T
    low, high = float(points[:, 1].min()), float(points[:, 1].max())
    hull = cv2.convexHull(np.ascontiguousarray(points[:, [0, 2]], np.float32))
    (cx, cz), (width, length), degrees = cv2.minAreaRect(hull)
    # the turn nearest to the camera's axes, so that equal boxes are written equally
    while degrees > 45:
        degrees, width, length = degrees - 90, length, width
    turn = np.radians(degrees)
    own = np.array([[np.cos(turn), 0, -np.sin(turn)], [0, 1, 0], [np.sin(turn), 0, np.cos(turn)]])
    center = level.T @ np.array([cx, (low + high) / 2, cz])
    return OrientedBox(
        label,
        (float(center[0]), float(center[1]), float(center[2])),
        (float(width), high - low, float(length)),
        quaternion=quaternion_of(level.T @ own),
    )
