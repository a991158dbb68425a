"""Estimates gravity from points: the normal of the largest plane that may be a floor or a table."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_TILT_DEGREES = 65.0  # largest pitch or roll of a camera; a plane tilted further is a wall
_POINTS, _TRIPLES = 3000, 400
_TOLERANCE = 0.01  # share of a point's distance: a depth camera's noise
_LEAST_SHARE = 0.1  # of the points; a smaller plane does not count as a floor
_REFITS = 3


def gravity_from_points(points: NDArray[Any], seed: int = 0) -> NDArray[np.float64] | None:
    """Unit vector along gravity in the optical frame (x right, y down, z forward), or None if there is no such plane.

    RANSAC over planes whose normal is within `MAX_TILT_DEGREES` of the camera's own down, then least squares on the
    best plane's points. A sloping surface (a ramp, an open laptop) counts as level if it is the largest such plane.

    Args:
        points: [N, 3] in metres; non-finite ones are ignored.
        seed: of the random choice of points; the same points and seed give the same vector.
    """
    cloud = np.asarray(points, dtype=np.float64).reshape(-1, 3)
    cloud = cloud[np.isfinite(cloud).all(axis=1)]
    if len(cloud) < 3:
        return None
    rng = np.random.default_rng(seed)
    cloud = cloud[rng.integers(0, len(cloud), _POINTS)]
    tolerance = _TOLERANCE * np.linalg.norm(cloud, axis=1)
    a, b, c = cloud[rng.integers(0, _POINTS, (3, _TRIPLES))]
    normals = _downwards(np.cross(b - a, c - a))
    may_be_level = normals[:, 1] >= np.cos(np.radians(MAX_TILT_DEGREES))
    normals, offsets = normals[may_be_level], (normals * a).sum(axis=1)[may_be_level]
    if not len(normals):
        return None
    near = np.abs(cloud @ normals.T - offsets) < tolerance[:, None]
    best = near[:, int(near.sum(axis=0).argmax())]
    for _ in range(_REFITS):
        normal, offset = _fit(cloud[best])
        best = np.abs(cloud @ normal - offset) < tolerance
        if best.mean() < _LEAST_SHARE:
            return None
    return normal


def _fit(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Normal (downwards) and offset of the plane with the smallest sum of squared distances."""
    middle = points.mean(axis=0)
    normal = _downwards(np.linalg.svd(points - middle, full_matrices=False)[2][-1:])[0]
    return normal, float(normal @ middle)


def _downwards(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unit vectors with y >= 0; zero where there is no direction."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: NDArray[np.float64] = vectors / np.maximum(lengths, 1e-12)
    return np.where(unit[:, 1:2] < 0, -unit, unit)
