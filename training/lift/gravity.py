"""Upright boxes: aligned with gravity, turned about the vertical so that their footprint is smallest."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from n3d_core.geometry.boxes import OrientedBox, quaternion_of

IMAGE_DOWN = np.array([0.0, 1.0, 0.0])


def gravity_frame(down: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """Rotation [3, 3] whose rows are right, down and forward of the camera held level: y along gravity.

    Args:
        down: direction of gravity [3] in the optical frame; None takes the image's own.
    """
    y = IMAGE_DOWN if down is None else np.asarray(down, np.float64) / np.linalg.norm(down)
    forward = np.array([0.0, 0.0, 1.0]) if abs(y[2]) < 0.99 else np.array([0.0, -np.sign(y[2]), 0.0])
    z = forward - (forward @ y) * y
    z /= np.linalg.norm(z)
    return np.stack([np.cross(y, z), y, z])


def upright_box(label: str, cloud: NDArray[np.float32], down: NDArray[np.float64] | None) -> OrientedBox:
    """The upright box with the smallest footprint around points [n, 3] of the optical frame."""
    level = gravity_frame(down)
    points = cloud.astype(np.float64) @ level.T
    low, high = float(points[:, 1].min()), float(points[:, 1].max())
    hull = cv2.convexHull(np.ascontiguousarray(points[:, [0, 2]], np.float32))
    (cx, cz), (width, length), degrees = cv2.minAreaRect(hull)
    # nearest to the camera's own axes, so that equal boxes are written equally
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
