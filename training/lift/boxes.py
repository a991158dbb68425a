"""Boxes from their corners: of space, and of the image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from n3d_core.geometry import Box3D
from training.lift.object_mask import Box2D


def box_between(label: str, low: NDArray[np.float64], high: NDArray[np.float64]) -> Box3D:
    """The box between its lowest and highest corner [3], metres in the optical frame."""
    c, s = (low + high) / 2, high - low
    return Box3D(label, (float(c[0]), float(c[1]), float(c[2])), (float(s[0]), float(s[1]), float(s[2])))


def overlap_2d(a: Box2D, b: Box2D) -> float:
    """Intersection over union of two 2D boxes."""
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    inter = max(w, 0.0) * max(h, 0.0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter
    return inter / union if union > 0 else 0.0
