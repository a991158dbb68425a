"""Visible share of an object: pixels of its mask over pixels of its whole silhouette."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from training.scenes.layout import PlacedObject
from training.scenes.viewpoint import Viewpoint

_FINE = 4  # resolution of the grid for silhouettes, relative to the image
_LARGEST = 4  # image widths; larger silhouettes are drawn more coarsely
_NEAREST = 0.05  # metres; points nearer than this are not projected


def silhouette_area(item: PlacedObject, view: Viewpoint) -> float:
    """Pixels that the whole object would cover on an unbounded image, without occlusion."""
    hulls = [view.to_optical(points) for points in item.outline]
    points = np.concatenate(hulls)
    if (points[:, 2] < _NEAREST).any():
        return float("inf")  # reaches behind the camera: no finite silhouette
    pixels = view.camera.project(points)
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    fine = _FINE * min(1.0, _LARGEST * 64 / max(float((high - low).max()), 1.0))
    canvas = np.zeros(tuple(np.ceil((high - low)[::-1] * fine).astype(int) + 2), np.uint8)
    drawn = ((pixels - low) * fine * 16).round().astype(np.int32)
    start = 0
    for hull in hulls:
        outline = cv2.convexHull(drawn[start : start + len(hull)])
        cv2.fillConvexPoly(canvas, outline, 1, shift=4)
        start += len(hull)
    # filling includes boundary pixels, which adds half a fine pixel all around
    excess = 0.5 * _perimeter(canvas)
    return max(float(canvas.sum()) - excess, 1.0) / fine**2


def _perimeter(mask: NDArray[np.uint8]) -> float:
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return float(sum(cv2.arcLength(c, True) for c in contours))
