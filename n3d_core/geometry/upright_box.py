"""Refines a tilted camera's axis-aligned box to the upright, rotated box that the measured points show.

The model's boxes are axis-aligned in the optical frame. If the camera looks down or the object is rotated, such a box
is larger than the object. The points inside it give the object's yaw and visible faces; the hidden faces follow from
the model's box, whose extents are known sums of the object's sizes:
`extent_i = sum_j |R_ij| size_j` for a box with axes R.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from n3d_core.geometry.boxes import OrientedBox, quaternion_of

MAX_TILT_DEGREES = 65.0  # largest pitch or roll of a camera; a plane tilted further is a wall
_POINTS, _TRIPLES = 3000, 400
_TOLERANCE = 0.01  # share of a point's distance: a depth camera's noise
_LEAST_SHARE = 0.1  # of the points; a smaller plane does not count as a floor
_REFITS = 3

_LEAST_POINTS = 40
_MOST_POINTS = 1500  # enough for a yaw; more only cost time
_NOISE = 0.004, 0.006  # metres, and share of the distance: a point's noise
_SEEN_WEIGHT = 0.3  # weight of the visible extents relative to the model's
_LEAST_OVERLAP = 0.35  # IoU of the model's box and the refined one's hull; below it, the points are of other objects
_YAWS = np.radians(np.arange(0.0, 90.0, 1.0))

Floats = NDArray[np.float64]


def gravity_from_points(points: NDArray[Any]) -> NDArray[np.float64] | None:
    """Unit vector along gravity in the optical frame (x right, y down, z forward), or None if there is no such plane.

    RANSAC over planes whose normal is within `MAX_TILT_DEGREES` of the camera's own down, then least squares on the
    best plane's points; the same points give the same vector. A sloping surface (a ramp, an open laptop) counts as
    level if it is the largest such plane.

    Args:
        points: [N, 3] in metres; non-finite ones are ignored.
    """
    cloud = np.asarray(points, dtype=np.float64).reshape(-1, 3)
    cloud = cloud[np.isfinite(cloud).all(axis=1)]
    if len(cloud) < 3:
        return None
    rng = np.random.default_rng(0)
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


def upright_box(box: OrientedBox, points: NDArray[Any], gravity: NDArray[Any]) -> OrientedBox:
    """The same object's box, upright, rotated by a yaw and fitted to points.

    Args:
        box: the model's, axis-aligned in the optical frame.
        points: the image's points [N, 3] in metres, optical frame; non-finite ones are ignored.
        gravity: unit vector [3] along gravity in the optical frame.

    Returns:
        A box whose own y axis is gravity; `box` itself if too few points are inside or they do not fit it.
    """
    inside = np.asarray(points, dtype=np.float64)[box.contains(points, margin=0.01)]
    if len(inside) < _LEAST_POINTS:
        return box
    noise = _NOISE[0] + _NOISE[1] * float(np.linalg.norm(box.center))
    level = _level_axes(np.asarray(gravity, dtype=np.float64))
    own = inside @ level  # columns: right, down, forward, all level
    bottom = float(np.percentile(own[:, 1], 98))
    standing = own[own[:, 1] < bottom - 2 * noise]
    if len(standing) < _LEAST_POINTS:
        return box
    center = np.asarray(box.center) @ level
    standing = _one_object(standing, center, noise)
    if len(standing) < _LEAST_POINTS:
        return box
    axes = level @ _turn(_yaw(standing[:, [0, 2]], noise))
    refined = _fitted(box, standing @ level.T @ axes, bottom, axes)
    return refined if _overlap(box, refined) >= _LEAST_OVERLAP else box


def _level_axes(gravity: Floats) -> Floats:
    """[3, 3], columns: level right, gravity, level forward, in the optical frame."""
    down = gravity / np.linalg.norm(gravity)
    right = np.cross(down, [0.0, 0.0, 1.0])
    if np.linalg.norm(right) < 1e-6:  # a camera that looks straight down or up
        right = np.array([1.0, 0.0, 0.0])
    right /= np.linalg.norm(right)
    return np.column_stack([right, down, np.cross(right, down)])


def _turn(yaw: float) -> Floats:
    """Rotation about the second axis."""
    c, s = np.cos(yaw), np.sin(yaw)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def _one_object(points: Floats, center: Floats, noise: float) -> Floats:
    """Of the clusters of points seen from above, the one nearest to the box's centre."""
    cell = 2.5 * noise
    ground = points[:, [0, 2]]
    cells = ((ground - ground.min(axis=0)) / cell).astype(int)
    image = np.zeros(cells.max(axis=0) + 1, np.uint8)
    image[cells[:, 0], cells[:, 1]] = 1
    labels = cv2.connectedComponents(image, connectivity=8)[1][cells[:, 0], cells[:, 1]]
    away = np.linalg.norm(ground - center[[0, 2]], axis=1)
    weights = np.bincount(labels, np.exp(-((away / max(float(away.mean()), 1e-6)) ** 2)))
    chosen: Floats = points[labels == int(weights.argmax())]
    return chosen


def _yaw(ground: Floats, noise: float) -> float:
    """The yaw at which most points are close to a rectangle's sides (closeness criterion; Zhang et al., IV 2017)."""
    some = ground[:: max(1, len(ground) // _MOST_POINTS)]
    c, s = np.cos(_YAWS)[:, None], np.sin(_YAWS)[:, None]
    first, second = some[:, 0] * c - some[:, 1] * s, some[:, 0] * s + some[:, 1] * c
    gaps = [
        np.minimum(along.max(axis=1, keepdims=True) - along, along - along.min(axis=1, keepdims=True))
        for along in (first, second)
    ]
    closeness = 1.0 / np.maximum(np.minimum(*gaps), noise)
    return float(_YAWS[int(closeness.sum(axis=1).argmax())])


def _fitted(box: OrientedBox, points: Floats, bottom: float, axes: Floats) -> OrientedBox:
    """The box with the given axes around the points (in these axes), completed from the model's box."""
    low, high = np.percentile(points, (1, 99), axis=0)
    high[1] = bottom
    seen = high - low
    spread = np.abs(axes)
    # Least squares of |R| size = extents, plus size = seen, which a yaw of 45 degrees needs; the height is seen.
    across = spread[:, [0, 2]]
    rest = np.asarray(box.size) - spread[:, 1] * seen[1]
    system = np.vstack([across, _SEEN_WEIGHT * np.eye(2)])
    size = seen.copy()
    size[[0, 2]] = np.maximum(
        np.linalg.lstsq(system, np.concatenate([rest, _SEEN_WEIGHT * seen[[0, 2]]]), rcond=None)[0], seen[[0, 2]]
    )
    # The model's centre, moved so that the box still holds the visible extent.
    middle = np.clip(np.asarray(box.center) @ axes, high - size / 2, low + size / 2)
    x, y, z = (axes @ middle).tolist()
    width, height, length = size.tolist()
    return replace(box, center=(x, y, z), size=(width, height, length), quaternion=quaternion_of(axes))


def _overlap(box: OrientedBox, refined: OrientedBox) -> float:
    """Intersection over union of the model's box and the axis-aligned hull of the refined one."""
    corners = refined.corners()
    low, high = corners.min(axis=0), corners.max(axis=0)
    half = np.asarray(box.size) / 2
    inner = np.minimum(high, box.center + half) - np.maximum(low, box.center - half)
    both = float(np.prod(np.clip(inner, 0, None)))
    return both / (float(np.prod(high - low)) + float(np.prod(box.size)) - both)
